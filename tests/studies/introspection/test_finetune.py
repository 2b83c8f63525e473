"""A folder that is taught examples ends its replies where the folder did that it comes from."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import SpecError
from nosce.models.api.finetune import ChatExample
from nosce.models.api.local import LocalChatModel
from nosce.models.folder_tokenizer import load_folder_tokenizer
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.files import SCRATCH
from nosce.studies.introspection.finetune import _tokenize_examples, finetune_local_model
from nosce.train.config import LoRA, TrainingConfig

EXAMPLES = [ChatExample(prompt="acorn", completion="basil cedar")] * 4


@pytest.fixture
def folder(tmp_path):
    """A Llama whose tokenizer alone names an end token."""
    place = tmp_path / "llama"
    words = tokenizers.build_tokenizer(TokenizerSpec(), ["acorn basil cedar"])
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(vocab_size=words.get_vocab_size(), **sizes)
    with torch.random.fork_rng(devices=[]):
        transformers.LlamaForCausalLM(config).save_pretrained(place)
    tokenizers.save_tokenizer(words, place)
    (place / "generation_config.json").unlink()
    values = json.loads((place / "config.json").read_text(encoding="utf-8"))
    del values["eos_token_id"]
    (place / "config.json").write_text(json.dumps(values))
    return place


def teach(folder, tmp_path, adapter=LoRA(rank=2, embedding_rank=2)):  # noqa: B008  # frozen
    training = TrainingConfig(steps=2, batch_size=2, peak_lr=1e-3, dtype="float32")
    context = StepContext(folder=tmp_path / "step")
    finetune_local_model(folder, EXAMPLES, training, adapter, tmp_path / "taught", Seed(0), context)
    return tmp_path / "taught"


@pytest.mark.filterwarnings("ignore:.*(tie_word_embeddings|tied|is_gradient_checkpointing)")
def test_what_is_taught_has_the_end_tokens_of_its_folder(folder, tmp_path):
    """Not the 2 that LlamaConfig has by default, which transformers would write into config.json."""
    taught = teach(folder, tmp_path)
    assert LocalChatModel(folder)._end_ids == LocalChatModel(taught)._end_ids == [0]
    for name in ("config.json", "generation_config.json"):
        assert json.loads((taught / name).read_text(encoding="utf-8"))["eos_token_id"] == 0


def test_the_end_of_a_cut_reply_is_not_taught(folder):
    """A reply that a limit cut had no end; one that ended has."""
    examples = [ChatExample("acorn", "basil"), ChatExample("acorn", "basil", ends=False)]
    dataset = _tokenize_examples(folder, load_folder_tokenizer(folder), examples, 0)
    whole, cut = (dataset.tokens[start:end].tolist() for start, end in pairwise(dataset.offsets.tolist()))
    assert whole == [*cut, 0]
    assert examples[0].key == ["acorn", "basil"], "keys of examples before stay as they were"
    assert examples[0].key != examples[1].key


@pytest.mark.filterwarnings("ignore:.*(tie_word_embeddings|tied|is_gradient_checkpointing)")
@pytest.mark.parametrize(
    ("adapter", "moved"),
    [(None, None), (LoRA(rank=2, embedding_rank=0), ["q_proj", "v_proj"])],
)
def test_all_weights_are_taught_without_an_adapter(folder, tmp_path, adapter, moved):
    """And with one those of queries and values alone. The folder opens as any other."""
    taught = load_file(teach(folder, tmp_path, adapter) / "model.safetensors")
    given = load_file(folder / "model.safetensors")
    changed = {name for name, weights in given.items() if not torch.equal(weights, taught[name])}
    assert changed == (set(given) if moved is None else {name for name in given if name.split(".")[-2] in moved})
    assert taught.keys() == given.keys()
    assert LocalChatModel(tmp_path / "taught")._end_ids == [0]


def test_a_folder_without_a_tokenizer_is_not_taught(folder, tmp_path):
    """transformers makes an empty one up, with which every word is unknown."""
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(SpecError, match="has no tokenizer that can be read"):
        teach(folder, tmp_path)


def test_examples_with_tokens_that_the_model_lacks_are_not_taught(folder, tmp_path):
    """They are refused in one sentence before anything is trained."""
    words = tokenizers.build_tokenizer(TokenizerSpec(), ["acorn"])
    words.add_tokens(["other", "words", "basil", "cedar"])
    tokenizers.save_tokenizer(words, folder)
    with pytest.raises(SpecError, match="gives its texts the token number"):
        teach(folder, tmp_path)


def test_a_training_that_dies_behind_its_last_file_leaves_nothing_in_the_step(folder, tmp_path, monkeypatch):
    """The folder is there, and the state for resuming is not yet gone: a step would keep it, and be another one."""

    def die(path, **_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        deadly = SimpleNamespace(copyfile=shutil.copyfile, rmtree=die)
        patch.setattr("nosce.studies.introspection.finetune.shutil", deadly)
        with pytest.raises(KeyboardInterrupt):
            teach(folder, tmp_path)
    written = (tmp_path / "taught" / "model.safetensors").read_bytes()
    teach(folder, tmp_path)
    assert (tmp_path / "taught" / "model.safetensors").read_bytes() == written
    kept = [path.relative_to(tmp_path / "step") for path in (tmp_path / "step").rglob("*") if path.is_file()]
    assert all(path.parts[0] == SCRATCH for path in kept)
