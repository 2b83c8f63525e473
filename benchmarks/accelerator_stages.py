"""The stages of accelerator.py that ask whether results on a GPU are right: losses, equal bytes, whole studies."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nosce.data.packing import TokenDataset
    from nosce.models.architecture import Family
    from nosce.train.precision import Precision

ROW_MARK = "ROW "
VOCABULARY, EOS, PAD, MASK = 200, 0, 1, 2
SMOKE_STUDIES = {"emergence": 4, "karel": 4, "diaries": 4, "introspection": 4, "biographies": 8}  # --per-gpu
CPU_VERDICTS = Path(__file__).parent / "accelerator_cpu.json"


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    case: str
    measure: str
    value: float | str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Setting:
    """What a stage is asked to do."""

    out: Path
    device: str
    tiny: bool
    deadline: float  # of `time.monotonic`, after which the stage is stopped


def say(case: str, measure: str, value: float | str, unit: str = "", note: str = "") -> None:
    """Send a row to the report."""
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    print(ROW_MARK + json.dumps(asdict(Row(case, measure, value, unit, note))), flush=True)


@contextmanager
def guarded(case: str) -> Iterator[None]:
    """A fault within becomes a row, and the stage goes on."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        say(case, "failed", type(error).__name__, "", str(error).splitlines()[0][:250] if str(error) else "")


def doctor() -> list[Row]:
    """The card as its driver describes it, without torch."""
    fields = "name,driver_version,memory.total,memory.free,clocks.max.sm,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return [Row("nvidia-smi", "card", "none", "", "there is no nvidia-smi")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return [Row("nvidia-smi", "card", line.strip(), "", fields) for line in (done.stdout or done.stderr).splitlines()]


def texts(n_texts: int, shortest: int, longest: int, vocabulary: int = VOCABULARY, prompt: int = 4) -> TokenDataset:
    """Random texts whose first tokens are prompts."""
    import numpy as np

    from nosce.data.packing import dataset_from_arrays
    from nosce.seeds import Seed

    rng = Seed(0).numpy()

    def one() -> tuple[np.ndarray, np.ndarray]:
        length = int(rng.integers(shortest, longest + 1))
        tokens = np.append(rng.integers(4, vocabulary, size=length - 1), EOS).astype(np.int32)
        return tokens, np.arange(length) >= prompt

    return dataset_from_arrays(one() for _ in range(n_texts))


def small_training(
    family: Family, device: str, precision: Precision, steps: int, optimizer: str = "adamw"
) -> tuple[list[float], str]:
    """Losses of a 2x64 model by step, and the digest of its weights."""
    from nosce.data.sampling import EpochSampler
    from nosce.models.architecture import Architecture, build_model
    from nosce.seeds import Seed
    from nosce.train import loop
    from nosce.train.config import RuntimeConfig, TrainingConfig

    shape = Architecture(family=family, layers=2, width=64, heads=4, max_positions=64)
    model = build_model(shape, vocab_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=Seed(1), mask_id=MASK).to(device)
    data = texts(256, 12, 48)
    config = TrainingConfig(
        steps=steps, batch_size=64, peak_lr=2e-3, warmup_steps=0, optimizer=optimizer, grad_accum_steps=2
    )
    with tempfile.TemporaryDirectory() as folder:
        loop.train(
            model,
            data,
            EpochSampler(len(data), 64, Seed(2)),
            config,
            eos_id=EOS,
            folder=Path(folder),
            on_checkpoint=lambda _: None,
            runtime=RuntimeConfig(device=device),
            precision=precision,
        )
        lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return [json.loads(line)["nats"] for line in lines], digest.hexdigest()[:16]


def quick(setting: Setting) -> None:
    """Imports, the GPU as nosce sees it, one training twice, a sampled and a greedy reply."""
    started = time.monotonic()
    import numpy as np
    import torch

    from nosce.models.architecture import Architecture, build_model
    from nosce.models.generation import SamplingParams, generate
    from nosce.pipeline.devices import list_gpus
    from nosce.pipeline.steps.torch_setup import prepare_torch
    from nosce.seeds import Seed
    from nosce.store.commit import git_state
    from nosce.store.provenance import package_versions

    _import_everything()
    say("imports", "seconds", time.monotonic() - started, "s")
    say("versions", "packages", json.dumps(package_versions()), "", f"commit {git_state()['commit']}")
    say("list_gpus", "found", ",".join(list_gpus()) or "none", "", f"is_available {torch.cuda.is_available()}")
    prepare_torch(1)
    if setting.device != "cpu":
        free, total = torch.cuda.mem_get_info()
        bf16, cores = torch.cuda.is_bf16_supported(), len(os.sched_getaffinity(0))
        note = f"bfloat16 {bf16}, CUDA {torch.version.cuda}, {cores} CPU cores"
        say(torch.cuda.get_device_name(), "memory free", f"{free / 2**30:.1f} of {total / 2**30:.1f}", "GiB", note)
    for precision in ("float32", "bfloat16"):
        with guarded(f"gpt-neox {precision}"):
            steps = 2 if setting.tiny else 20
            started = time.monotonic()
            first, again = (small_training("gpt-neox", setting.device, precision, steps) for _ in range(2))
            say(
                f"gpt-neox {precision}", "equal bytes", str(first == again), "", f"loss {first[0][0]} to {first[0][-1]}"
            )
            say(f"gpt-neox {precision}", "seconds of both", time.monotonic() - started, "s")
    model = build_model(Architecture.named("2x64"), vocab_size=VOCABULARY, eos_id=EOS, pad_id=PAD, seed=Seed(0))
    prompts = [np.arange(4, 4 + n) for n in (3, 7, 5)]
    for case, sampling in (("greedy", None), ("sampled", SamplingParams(seeds=[Seed(n) for n in range(3)]))):
        with guarded(case):
            here, there = (
                generate(model.to(device), prompts, eos_id=EOS, max_new_tokens=20, sampling=sampling)
                for device in ("cpu", setting.device)
            )
            equal = sum(np.array_equal(a.tokens, b.tokens) for a, b in zip(here, there, strict=True))
            say(case, "replies as on the CPU", equal, "of 3")


def _import_everything() -> None:
    """Every module of nosce, so that a missing package shows at once."""
    import importlib
    import pkgutil

    import nosce

    failed, count = [], 0
    for module in pkgutil.walk_packages(nosce.__path__, "nosce."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
            count += 1
        except Exception as error:
            failed.append(f"{module.name}: {error}")
    say("imports", "modules", count, "", "; ".join(failed)[:300] or "all of nosce")


def correctness(setting: Setting) -> None:
    """Each family: losses on the device against those on the CPU, and the bytes of two trainings."""
    from typing import get_args

    from nosce.models.architecture import Family
    from nosce.pipeline.steps.torch_setup import prepare_torch

    prepare_torch(1)
    steps = 2 if setting.tiny else 20
    families = get_args(Family) if not setting.tiny else ("gpt-neox", "t5")
    cases = [(family, "adamw") for family in families] + ([] if setting.tiny else [("gpt-neox", "muon")])
    for family, optimizer in cases:
        for precision in ("float32", "bfloat16"):
            case = f"{family} {optimizer} {precision}"
            with guarded(case):
                one, two = (small_training(family, setting.device, precision, steps, optimizer) for _ in range(2))
                cpu, _ = small_training(family, "cpu", precision, steps, optimizer)
                apart = max(abs(a - b) for a, b in zip(one[0], cpu, strict=True))
                pairs = list(zip(one[0], cpu, strict=True))[:: max(1, steps // 4)]
                by_step = " ".join(f"{a:.5f}/{b:.5f}" for a, b in pairs)
                say(case, "largest difference to the CPU", apart, "nats", f"losses device/CPU {by_step}")
                say(case, "equal bytes", str(one == two), "", one[1])


def smoke(setting: Setting) -> None:
    """All studies at scale smoke, side by side: seconds, failed steps, verdicts beside those of a CPU."""
    studies = {"emergence": 1} if setting.tiny else SMOKE_STUDIES
    threads = []
    for study, per_gpu in studies.items():
        arguments = ["run", study, "--scale", "smoke", "--per-gpu", str(per_gpu)]
        threads.append(threading.Thread(target=run_study, args=(study, arguments, setting)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def run_study(case: str, arguments: list[str], setting: Setting) -> None:
    """Run a study, and say how it went, also where it was stopped."""
    if setting.device == "cpu":
        arguments = [word for word in arguments if word != "--per-gpu" and not word.isdigit()]
    store = Path(tempfile.mkdtemp(prefix="nosce-accelerator-"))
    command = [sys.executable, "-m", "nosce", *arguments, "--device", setting.device, "--store", str(store), "--json"]
    started = time.monotonic()
    out, errors = store / "stdout.json", store / "stderr.txt"
    with out.open("w") as stdout, errors.open("w") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        try:
            code: int | None = process.wait(timeout=max(1.0, setting.deadline - time.monotonic() - 8))
        except subprocess.TimeoutExpired:
            process.terminate()  # nosce stops its workers
            code = None
    seconds = time.monotonic() - started
    text = errors.read_text(encoding="utf-8", errors="replace")
    done = re.findall(r"\[(\d+)/(\d+)\]", text)
    reached = "/".join(done[-1]) if done else "0"
    print(text[-4000:], flush=True)
    say(case, "seconds", seconds, "s", f"exit code {'none: stopped for time' if code is None else code}")
    say(case, "steps done", reached, "", " ".join(command[3:9]))
    for line in [line for line in text.splitlines() if " failed: " in line][:6]:
        say(case, "failed step", line[:300])
    if code == 0:
        _compare_claims(case, json.loads(out.read_text(encoding="utf-8"))["claims"])
    shutil.rmtree(store, ignore_errors=True)


def _compare_claims(case: str, claims: list[dict[str, Any]]) -> None:
    """The verdicts here, and how many of them a CPU gave as well."""
    for claim in claims:
        say(case, f"claim {claim['id']}", str(claim["estimate"]), "", str(claim["verdict"]))
    known = json.loads(CPU_VERDICTS.read_text(encoding="utf-8")) if CPU_VERDICTS.exists() else {}
    if case not in known:
        say(case, "claims", len(claims), "", "no verdicts of a CPU are kept to compare")
        return
    pairs = [(claim, known[case][claim["id"]]) for claim in claims if claim["id"] in known[case]]
    equal = sum(claim["verdict"] == verdict for claim, (verdict, _) in pairs)
    gaps = [abs(c["estimate"] - e) for c, (_, e) in pairs if c["estimate"] is not None and e is not None]
    other = ", ".join(str(claim["id"]) for claim, (verdict, _) in pairs if claim["verdict"] != verdict)
    say(case, "verdicts as on the CPU", f"{equal} of {len(pairs)}", "", f"other: {other}" if other else "")
    say(case, "largest difference of an estimate", max(gaps, default=0.0))


def laptop(setting: Setting) -> None:
    """One arm of a study at the scale that a laptop runs in hours."""
    if setting.tiny:
        return
    arguments = ["run", "biographies", "--scale", "laptop", "--arms", "single", "--seeds", "1", "--per-gpu", "8"]
    run_study("biographies single", arguments, setting)
