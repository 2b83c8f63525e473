"""The card of an exported model, as huggingface_hub reads it, and its logits in TransformerLens."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import ModelCard
from tests.fixtures.tool_pythons import python_with, run_tool
from tests.pipeline.exports.test_asked import smoke_target

from nosce.pipeline.export import export_checkpoint
from nosce.pipeline.exports.asked import asked_sets
from nosce.pipeline.exports.model_card import model_class

COMPARE = """
import json, sys
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, prompt = sys.argv[1:]
plain = AutoModelForCausalLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
ids = tokenizer(prompt, return_tensors="pt").input_ids
with torch.no_grad():
    ours = plain(input_ids=ids).logits.clone()
    bridge = TransformerBridge.boot_transformers(folder, hf_model=plain, tokenizer=tokenizer, device="cpu")
    theirs = bridge(ids)
    tokens = bridge.to_tokens(prompt, prepend_bos=True)
print(json.dumps({"difference": (ours - theirs).abs().max().item(), "scale": ours.abs().max().item(),
                  "ids": ids.tolist(), "tokens": tokens.tolist()}))
"""


@pytest.fixture
def folder(smoke_store, tmp_path):
    """The exported model of the smoke study."""
    export_checkpoint(smoke_target(smoke_store), tmp_path / "model", "hf", "apache-2.0")
    return tmp_path / "model"


def test_the_hub_reads_library_task_licence_and_results(folder, smoke_store):
    """The results are the shares of right answers of this checkpoint."""
    data = ModelCard.load(folder / "README.md", ignore_metadata_errors=False).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("transformers", "text-generation", "apache-2.0")
    assert "nosce" in data.tags
    found = {(one.dataset_config, one.dataset_split, one.metric_type): one.metric_value for one in data.eval_results}
    for one in asked_sets(smoke_target(smoke_store)):
        assert found["questions", one.split, "exact_match"] == pytest.approx(one.accuracy, abs=1e-6)


def test_without_a_licence_the_card_says_who_chooses_it(smoke_store, tmp_path):
    """nosce names none for anybody."""
    export_checkpoint(smoke_target(smoke_store), tmp_path / "model", "hf", "unknown")
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.license == "unknown"
    assert "whoever publishes this folder chooses it" in card.text


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"is_encoder_decoder": True, "model_type": "t5"}, "AutoModelForSeq2SeqLM"),
        ({"is_encoder_decoder": False, "model_type": "modernbert"}, "AutoModelForMaskedLM"),
        ({"is_encoder_decoder": False, "model_type": "llama"}, "AutoModelForCausalLM"),
    ],
)
def test_the_class_that_loads_a_model(config, name):
    """As the card and the command say it."""
    assert model_class(config) == name


@pytest.mark.slow
def test_transformer_lens_gives_our_logits(folder, smoke_store):
    """Its bridge on the exported folder, to 1e-4, with the opening token that it is told to put."""
    prompt = asked_sets(smoke_target(smoke_store))[0].items[0].question.prompt
    python = python_with("transformer_lens", "torch")
    found = json.loads(run_tool(python, "-c", COMPARE, folder, prompt).splitlines()[-1])
    assert found["difference"] < 1e-4
    assert found["scale"] > 1
    assert found["tokens"] == found["ids"]
