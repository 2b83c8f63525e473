"""Model folders are looked at before anything is made, and what is switched off in them is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
import transformers

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies
from nosce.errors import SpecError
from nosce.models import folder as folders
from nosce.models.api.local import LocalChatModel
from nosce.models.architecture import Pretrained
from nosce.pipeline.context import StepContext
from nosce.pipeline.plan import build_plan
from nosce.pipeline.preflight import check_model_folders
from nosce.pipeline.step import Step
from nosce.pipeline.steps import corpus as corpus_step
from nosce.pipeline.steps.training import TrainingSpec, list_checkpoints, make
from nosce.seeds import Seed
from nosce.study import Arm, Study
from nosce.train.config import TrainingConfig

RECIPE = TrainingConfig(steps=3, batch_size=4, peak_lr=1e-3, dtype="float32")


@pytest.fixture(autouse=True)
def same_torch_after():
    """The step of training sets what holds for its whole process; here others come after it."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])
    torch.utils.deterministic.fill_uninitialized_memory = filled


@pytest.fixture
def gpt2(tmp_path, dozen):
    """A GPT-2 with the dropout that is GPT-2's default, and a tokenizer of the dozen's words."""
    folder = tmp_path / "gpt2"
    words = tokenizers.build_tokenizer(TokenizerSpec(), dozen.samples(Seed(0) / "world"))
    config = transformers.GPT2Config(
        n_layer=2,
        n_embd=16,
        n_head=2,
        n_positions=128,
        vocab_size=words.get_vocab_size(),
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizers.save_tokenizer(words, folder)
    return folder


def steps(folder, world: Biographies) -> tuple[Step, ...]:
    arm = Arm(name="only", world=world, model=Pretrained.from_folder(folder), training=RECIPE)
    study = Study(
        name="s",
        title="t",
        question="q",
        paper="none",
        scale="smoke",
        unit="person",
        arms=(arm,),
        seeds=(0,),
        evals=(),
        claims=(),
    )
    return build_plan(study).all_steps


def test_dropout_that_is_switched_off_is_said(gpt2, dozen):
    """One sentence a folder, with the values that its configuration has; none where it has no dropout."""
    (sentence,) = check_model_folders(steps(gpt2, dozen))
    config = json.loads((gpt2 / "config.json").read_text(encoding="utf-8"))
    off = dict.fromkeys(["resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout"], 0.0)
    (gpt2 / "config.json").write_text(json.dumps(config | off))

    assert sentence.startswith(f"The dropout of {gpt2} (resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1")
    assert sentence.endswith("is switched off, so that equal trainings give equal weights.")
    assert check_model_folders(steps(gpt2, dozen)) == []


def test_two_trainings_of_a_folder_with_dropout_leave_the_same_bytes(gpt2, dozen, tmp_path):
    """Equal keys mean equal bytes, whatever torch's generator held before; the provenance says what is off."""
    model = Pretrained.from_folder(gpt2)
    spec = corpus_step.CorpusSpec(world=dozen, seed=Seed(0) / "world", tokenizer=model)
    corpus_step.make(spec, {}, StepContext(folder=tmp_path / "corpus"))
    training = TrainingSpec(model=model, data="documents", training=RECIPE, adapter=None, seed=Seed(0))
    left = []
    for seed in (1, 2):
        context = StepContext(folder=tmp_path / f"training{seed}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            make(training, {"corpus": tmp_path / "corpus"}, context)
        last = list_checkpoints(context.folder).popitem()[1]
        left.append((last / "model.safetensors").read_bytes())
        assert context.extra_provenance["dropout_switched_off"]["attn_pdrop"] == 0.1

    assert left[0] == left[1]
    assert json.loads((last / "config.json").read_text(encoding="utf-8"))["attn_pdrop"] == 0.0


def test_more_tokens_than_the_model_has_are_refused_before_the_corpus(gpt2, dozen, tmp_path):
    """Here the tokenizer has words that the model has no row for."""
    more = tokenizers.build_tokenizer(TokenizerSpec(), ["entirely other words", *dozen.samples(Seed(0) / "world")])
    tokenizers.save_tokenizer(more, gpt2)

    with pytest.raises(SpecError, match=r"has \d+ tokens but its tokenizer gives its texts the token number \d+"):
        check_model_folders(steps(gpt2, dozen))
    model = Pretrained.from_folder(gpt2)
    spec = corpus_step.CorpusSpec(world=dozen, seed=Seed(0) / "world", tokenizer=model)
    with pytest.raises(SpecError, match="gives its texts the token number"):
        corpus_step.make(spec, {}, StepContext(folder=tmp_path / "corpus"))
    training = TrainingSpec(model=model, data="documents", training=RECIPE, adapter=None, seed=Seed(0))
    with pytest.raises(SpecError, match="gives its texts the token number"):
        make(training, {"corpus": tmp_path / "corpus"}, StepContext(folder=tmp_path / "training"))


def test_more_tokens_that_no_text_has_are_no_fault(gpt2, dozen, tmp_path):
    """The corpus is written, and refused only where a document or a question has such a token."""
    words = tokenizers.load_tokenizer(gpt2)
    words.add_special_tokens(["<image>"])
    words.save(str(gpt2 / "tokenizer.json"))

    assert check_model_folders(steps(gpt2, dozen))
    spec = corpus_step.CorpusSpec(world=dozen, seed=Seed(0) / "world", tokenizer=Pretrained.from_folder(gpt2))
    corpus_step.make(spec, {}, StepContext(folder=tmp_path / "corpus"))
    config = json.loads((gpt2 / "config.json").read_text(encoding="utf-8"))
    (gpt2 / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] - 20}))
    with pytest.raises(SpecError, match="gives its texts the token number"):
        corpus_step.make(spec, {}, StepContext(folder=tmp_path / "corpus"))


def test_a_folder_without_an_end_token_is_no_chat_model(gpt2):
    """It is refused before anything is asked of it."""
    (gpt2 / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    for name in ("config.json", "generation_config.json"):
        values = json.loads((gpt2 / name).read_text(encoding="utf-8"))
        (gpt2 / name).write_text(json.dumps({key: value for key, value in values.items() if key != "eos_token_id"}))

    with pytest.raises(SpecError, match="has no end token"):
        LocalChatModel(gpt2).check_folder()


def test_memory_of_this_machine_decides_only_where_it_makes_the_steps(gpt2, dozen, monkeypatch):
    """A cluster's machines have their own, and NOSCE_ANY_SIZE=1 turns the check off."""
    monkeypatch.setattr(folders, "physical_memory", lambda: 1_000)
    planned = steps(gpt2, dozen)
    with pytest.raises(SpecError, match=r"GB of memory; .* or set NOSCE_ANY_SIZE=1"):
        check_model_folders(planned)
    assert check_model_folders(planned, made_here=False)
    monkeypatch.setenv("NOSCE_ANY_SIZE", "1")
    assert check_model_folders(planned)


def test_a_missing_tokenizer_is_refused_before_the_corpus(gpt2, dozen):
    """The sentence names the folder and not a place where it was copied to."""
    (gpt2 / "tokenizer.json").unlink()

    with pytest.raises(SpecError, match=str(gpt2)):
        check_model_folders(steps(gpt2, dozen))


def test_a_folder_that_changed_after_planning_is_refused(gpt2, dozen, tmp_path):
    """What was named is not what would be read."""
    planned = steps(gpt2, dozen)
    (gpt2 / "generation_config.json").write_text("{}")

    with pytest.raises(SpecError, match="have changed since"):
        check_model_folders(planned)
    shutil.rmtree(gpt2)
    with pytest.raises(SpecError, match="is no folder"):
        check_model_folders(planned)


def test_texts_longer_than_the_models_positions_are_refused(gpt2, dozen, tmp_path):
    """A model with a table of positions says so before it looks a position up that it does not have."""
    config = json.loads((gpt2 / "config.json").read_text(encoding="utf-8")) | {"n_positions": 20}
    shutil.rmtree(gpt2)
    with torch.random.fork_rng(devices=[]):
        transformers.GPT2LMHeadModel(transformers.GPT2Config(**config)).save_pretrained(gpt2)
    words = tokenizers.build_tokenizer(TokenizerSpec(), dozen.samples(Seed(0) / "world"))
    tokenizers.save_tokenizer(words, gpt2)
    model = Pretrained.from_folder(gpt2)
    spec = corpus_step.CorpusSpec(world=dozen, seed=Seed(0) / "world", tokenizer=model)
    corpus_step.make(spec, {}, StepContext(folder=tmp_path / "corpus"))
    training = TrainingSpec(model=model, data="documents", training=RECIPE, adapter=None, seed=Seed(0))

    with pytest.raises(SpecError, match="but the model reads 20 positions"):
        make(training, {"corpus": tmp_path / "corpus"}, StepContext(folder=tmp_path / "training"))
    windowed = replace(training, training=replace(RECIPE, window=80))
    with pytest.raises(SpecError, match="the longest text or row has 80 tokens"):
        make(windowed, {"corpus": tmp_path / "corpus"}, StepContext(folder=tmp_path / "training"))
