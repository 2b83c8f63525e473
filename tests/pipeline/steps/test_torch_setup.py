"""Steps give the same bytes each time, whichever steps their process has made before."""

import os
import re
from pathlib import Path

import torch

import nosce
from nosce.pipeline.steps.torch_setup import prepare_torch

STEPS = Path(nosce.__file__).parent / "pipeline" / "steps"


def test_torch_is_asked_for_equal_bytes(monkeypatch):
    """cuBLAS refuses its products in that mode unless its workspace is fixed as well."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads, asked = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        prepare_torch(1)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 1
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(asked)


def test_every_step_that_runs_a_model_asks_for_equal_bytes():
    """Else a reading would depend on whether its worker had trained before."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in STEPS.glob("*.py")}
    running = {name: text for name, text in sources.items() if re.search(r"runtime\.device|run_with_context", text)}
    assert set(running) == {"training.py", "evaluation.py", "answers.py", "experiment.py"}
    assert not [name for name, text in running.items() if "prepare_torch(context.runtime.threads)" not in text]
