"""The step `training` decides what it computes with, says so, and keeps the answer for the other steps of a store."""

import pytest
import torch

from nosce.data.sampling import EpochSampler
from nosce.data.worlds.biographies.world import Biographies
from nosce.models import number_format
from nosce.models.architecture import Architecture
from nosce.pipeline.context import StepContext
from nosce.pipeline.plan_builder import document_schedule
from nosce.pipeline.steps.training import TrainingSpec, list_checkpoints, make
from nosce.seeds import Seed
from nosce.study import Arm
from nosce.train import checkpoint
from nosce.train.config import TrainingConfig


@pytest.fixture(autouse=True)
def same_torch_after():
    """The step sets what holds for its whole process; here others come after it."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
    torch.utils.deterministic.fill_uninitialized_memory = filled


def trained(corpus, folder, **more):
    """What the step noted, after four steps on the dozen's biographies."""
    recipe = TrainingConfig(**({"steps": 4, "batch_size": 4} | more))
    shape = Architecture(layers=2, width=32, heads=2, max_positions=128)
    spec = TrainingSpec(model=shape, data="documents", training=recipe, adapter=None, seed=Seed(0))
    job = StepContext(folder=folder)
    make(spec, {"corpus": corpus.folder}, job)
    return job.extra_provenance


def weights(folder):
    return dict(checkpoint.load_checkpoint(list_checkpoints(folder).popitem()[1]).named_parameters())


@pytest.mark.parametrize(("able", "best"), [(True, "bfloat16"), (False, "float32")])
def test_auto_computes_in_what_the_processor_multiplies_and_notes_it(corpus, tmp_path, monkeypatch, able, best):
    """The note and the weights that come out say the same precision."""
    monkeypatch.setattr(number_format, "cpu_multiplies_bfloat16", lambda: able)
    notes = trained(corpus, tmp_path / "auto", dtype="auto")
    named = trained(corpus, tmp_path / "named", dtype=best)
    kept, asked = weights(tmp_path / "auto"), weights(tmp_path / "named")

    assert notes == named == {"precision": best}
    assert {p.dtype for p in kept.values()} == {torch.float32}
    assert all(torch.equal(kept[name], asked[name]) for name in kept)


@pytest.mark.parametrize(
    "more", [{}, {"window": 80}, {"optimizer": "muon"}, {"dtype": "bfloat16"}, {"grad_accum_steps": 4}], ids=str
)
def test_a_step_made_twice_leaves_the_same_bytes(corpus, tmp_path, more):
    """Whatever the recipe, checkpoints and metrics are functions of spec and input."""
    left = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        trained(corpus, folder, **more)
        files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
        left.append({str(p.relative_to(folder)): p.read_bytes() for p in files})

    assert left[0] == left[1]
    assert "metrics.jsonl" in left[0]


def test_a_mixed_training_meets_documents_and_seen_questions_alone(corpus, tmp_path, monkeypatch):
    """As many questions as the share says, none of them about anybody unseen; the ledger knows the documents."""
    from nosce.train import loop
    from nosce.train.config import QAMixture

    given = {}
    monkeypatch.setattr(loop, "train", lambda net, texts, order, recipe, **_: given.update(texts=texts, order=order))
    shape = Architecture(layers=2, width=32, heads=2, max_positions=128)
    recipe = TrainingConfig(steps=40, batch_size=8)
    spec = TrainingSpec(model=shape, data=QAMixture(qa_fraction=0.25), training=recipe, adapter=None, seed=Seed(0))
    make(spec, {"corpus": corpus.folder}, StepContext(folder=tmp_path))
    texts, order = given["texts"], given["order"]
    documents = len(corpus.documents)
    seen = corpus.tokenized_questions(corpus.questions_in("seen"))
    assert len(texts) == documents + len(seen)
    assert all(texts.text_tokens(documents + n).tolist() == seen.text_tokens(n).tolist() for n in range(len(seen)))
    assert order.exposures(40)[documents:].sum() == 80

    alone, seed = document_schedule(
        Arm(name="a", world=Biographies(), model=shape, training=recipe, qa_mixture=QAMixture(qa_fraction=0.25)),
        Seed(0) / "order",
    )
    ledger = EpochSampler(documents, alone.batch_size, seed).exposures(alone.steps)
    assert ledger.tolist() == order.exposures(40)[:documents].tolist()
