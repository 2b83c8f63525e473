"""What no change of names or walls may move: texts, batches and weights of every world and model family, smoke claims.

    python tests/test_golden_results.py worlds      write tests/fixtures/golden_worlds.json anew
    python tests/test_golden_results.py claims      run every study at smoke scale, write smoke_claims.json beside it

Texts and batches are equal everywhere. Weights and claims are compared to the last digit on the processor that they
were written on, since other processors add in other orders; elsewhere weights must agree to three digits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pytest

from nosce.data.corpus import Corpus
from nosce.data.sampling import EpochSampler, pack
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies
from nosce.data.worlds.diaries.world import Diaries
from nosce.models.architecture import Architecture, Family
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps import corpus as corpus_step
from nosce.pipeline.steps import training as training_step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.training import TrainingSpec
from nosce.pipeline.study_loading import builtin_studies, load_study
from nosce.seeds import Seed
from nosce.store.spec import canonical_json
from nosce.studies.biographies.arms import augmentation_arm
from nosce.studies.biographies.scales import biographies_config
from nosce.train.config import TrainingConfig

DATA = Path(__file__).parent / "fixtures"
WORLDS, CLAIMS = DATA / "golden_worlds.json", DATA / "smoke_claims.json"
PEOPLE = Biographies(people=12, name_pool_sizes=(4, 4, 8), years=10, cities=5, universities=5, majors=5, companies=5)
SCATTERED = Diaries(n_diarists=12)
FAMILIES = get_args(Family)
#: Rows that larger scales alone train; their worlds are written down in the sizes of the scale smoke.
LARGER_ROWS = ("single+fullname", "single+permute5", "multi2+permute", "multi3+permute", "multi10+permute")
STUDIES = [name for name in builtin_studies() if name != "little"]


def machine() -> str:
    """The processor and libraries that decide the last digits of a sum or a logarithm."""
    import numpy
    import torch

    from nosce.store.provenance import cpu_model

    libraries = f"torch {torch.__version__}, numpy {numpy.__version__}"
    return f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}, {libraries}"


@cache
def arms() -> dict[str, Any]:
    """The arms of all studies at smoke scale that differ in world or tokenizer, by name, and rows of larger scales."""
    found: dict[str, Any] = {}
    seen = set()
    for name in STUDIES:
        for arm in load_study(name, "smoke").arms:
            if isinstance(arm.tokenizer, TokenizerSpec) and (key := (arm.world, arm.tokenizer)) not in seen:
                seen.add(key)
                found[f"{name}/{arm.name}"] = arm
    for row in LARGER_ROWS:
        found[f"biographies/{row}"] = augmentation_arm(biographies_config("smoke"), row)
    return found


def digest_of_records(records: Any) -> str:
    """The digest of the values of the first two hundred records, whatever their fields are called."""
    return hashlib.sha256(canonical_json([dataclasses.astuple(r) for r in islice(records, 200)]).encode()).hexdigest()[
        :20
    ]


def digests_of_arm(arm: Any) -> dict[str, str]:
    """Digests of an arm's documents, questions, tokens and first batches."""
    seed = Seed(0) / "world"
    with tempfile.TemporaryDirectory() as folder:
        corpus_step.make(
            CorpusSpec(world=arm.world, seed=seed, tokenizer=arm.tokenizer), {}, StepContext(folder=Path(folder))
        )
        corpus = Corpus(Path(folder))
        batches = hashlib.sha256()
        order = EpochSampler(len(corpus.documents), 8, Seed(0) / "order")
        for step in range(2):
            batch = pack(corpus.documents, order.batch_indices(step), window=None, eos_id=corpus.eos_id)
            for rows in (batch.inputs, batch.labels, batch.lengths):
                batches.update(repr(rows.shape).encode() + rows.astype("<i8").tobytes())
    return {
        "documents": digest_of_records(arm.world.documents(seed)),
        "questions": digest_of_records(arm.world.questions(seed)),
        "batches": batches.hexdigest()[:20],
    }


def weights_of(family: str) -> dict[str, Any]:
    """The digest of a tiny model's weights after six steps on a dozen people, and the mean of their sizes."""
    from safetensors.numpy import load_file

    tokenizer = TokenizerSpec(has_mask_token=family == "modernbert")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        world = SCATTERED if family == "t5" else PEOPLE
        spec = CorpusSpec(world=world, seed=Seed(0) / "world", tokenizer=tokenizer)
        # Words lose the line breaks of these diaries, for which a corpus is refused; the weights were written down so.
        with patch("nosce.data.corpus.check_round_trip"):
            corpus_step.make(spec, {}, StepContext(folder=base / "c"))
        shape = Architecture(family=family, layers=2, width=64, heads=4)
        recipe = TrainingConfig(steps=6, batch_size=12, optimizer="muon")
        training = TrainingSpec(model=shape, data="documents", training=recipe, adapter=None, seed=Seed(0) / "pretrain")
        training_step.make(training, {"corpus": base / "c"}, StepContext(folder=base / "t"))
        tensors = load_file(base / "t" / "checkpoints" / "0000006" / "model.safetensors")
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].tobytes())
    size = sum(float(abs(t).sum()) for t in tensors.values()) / sum(t.size for t in tensors.values())
    return {"digest": whole.hexdigest()[:20], "mean_size": size}


def smoke_claims(name: str, store: Path) -> list[dict[str, Any]]:
    """The claims table of a study that was run at smoke scale, as `nosce show --json` prints it."""
    words = [sys.executable, "-m", "nosce"]
    ends = ["--scale", "smoke", "--store", str(store)]
    env = {**os.environ, "COLUMNS": "200"}
    subprocess.run([*words, "run", name, *ends], check=True, capture_output=True, env=env)
    shown = subprocess.run([*words, "show", name, *ends, "--json"], check=True, capture_output=True, env=env)
    numbers = ("id", "estimate", "low", "high", "n", "verdict")
    return [{key: claim[key] for key in numbers} for claim in json.loads(shown.stdout)["claims"]]


@pytest.mark.parametrize("name", json.loads(WORLDS.read_text(encoding="utf-8"))["arms"] if WORLDS.exists() else [])
def test_texts_and_batches_of_every_world(name):
    """The documents, questions and batches of every arm of every study at smoke scale stay as they are."""
    assert digests_of_arm(arms()[name]) == json.loads(WORLDS.read_text(encoding="utf-8"))["arms"][name]


def test_every_arm_is_written_down():
    """An arm with a world of its own has its digests, and no digest is left that no arm has."""
    assert set(arms()) == set(json.loads(WORLDS.read_text(encoding="utf-8"))["arms"])


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_every_family(family):
    """Six steps of training end with the same weights."""
    written = json.loads(WORLDS.read_text(encoding="utf-8"))
    here, there = weights_of(family), written["weights"][family]
    if machine() == written["machine"]:
        assert here == there
    assert here["mean_size"] == pytest.approx(there["mean_size"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_claims_of_every_study_at_smoke_scale(name, tmp_path):
    """Every estimate, interval, n and verdict stays as it is, to the last digit."""
    written = json.loads(CLAIMS.read_text(encoding="utf-8"))
    if machine() != written["machine"]:
        pytest.skip(f"written on {written['machine']}; write them anew here before a change")
    if name not in written["claims"]:
        pytest.skip(f"the claims of {name} were not written down on {written['machine']} yet")
    assert smoke_claims(name, tmp_path / "store") == written["claims"][name]


def main(what: str) -> None:
    """Write one of the two files anew."""
    if what == "worlds":
        found: dict[str, Any] = {
            "machine": machine(),
            "arms": {name: digests_of_arm(arm) for name, arm in arms().items()},
            "weights": {family: weights_of(family) for family in FAMILIES},
        }
        WORLDS.write_text(json.dumps(found, indent=1) + "\n")
    else:
        store = Path(os.environ.get("NOSCE_STORE", tempfile.mkdtemp()))
        found = {"machine": machine(), "claims": {name: smoke_claims(name, store) for name in STUDIES}}
        CLAIMS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
