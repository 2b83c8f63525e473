"""Log-probabilities of given targets, against one plain forward pass of transformers a text."""

import math

import pytest
import torch
from tests.fixtures.tiny_folders import tiny_folder
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from nosce.models.api.base import ChatRequest
from nosce.models.api.local import LocalChatModel

PROMPTS = ["Q: What is 3 plus 4?\nA:", "Q: What is 1234 plus 99?\nA:", "A:"]
TARGETS = [" 7", " 1333", " 12345"]


def plain_value(model, tokenizer, prompt: str, target: str) -> float:
    """The sum over the tokens behind the prompt's, one text at a time."""
    inputs = tokenizer(prompt)["input_ids"]
    if model.config.is_encoder_decoder:
        labels = tokenizer(target, add_special_tokens=False)["input_ids"]
        logits = model(input_ids=torch.tensor([inputs]), labels=torch.tensor([labels])).logits[0]
    else:
        whole = tokenizer(prompt + target)["input_ids"]
        assert whole[: len(inputs)] == inputs
        labels = whole[len(inputs) :]
        logits = model(torch.tensor([whole])).logits[0, len(inputs) - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(labels)), labels].sum())


@pytest.mark.parametrize("family", ["llama", "opt", "t5"])
def test_targets_are_scored_as_transformers_scores_them(family, tmp_path):
    """Whatever the padding of the batch; no template is used, so that its marks are in no prompt."""
    folder = tiny_folder(family, tmp_path / family)
    local = LocalChatModel(folder, uses_chat_template=False)
    found = local.target_log_likelihoods([ChatRequest.from_user(p) for p in PROMPTS], TARGETS)
    load = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    model, tokenizer = load.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        expected = [plain_value(model, tokenizer, p, t) for p, t in zip(PROMPTS, TARGETS, strict=True)]
    assert found == pytest.approx(expected, abs=1e-4)
    assert all(math.isfinite(value) and value < 0 for value in found)


def test_a_model_asked_without_its_template_is_another(tmp_path):
    """Its replies are kept under another name, and its prompts have no marks."""
    folder = tiny_folder("llama", tmp_path / "m")
    with_marks, plain = LocalChatModel(folder), LocalChatModel(folder, uses_chat_template=False)
    assert with_marks.model_id != plain.model_id
    request = ChatRequest.from_user("What?", max_new_tokens=1)
    ((_, marked),) = with_marks.complete([request])
    ((_, bare),) = plain.complete([request])
    assert marked.prompt_tokens > bare.prompt_tokens
