"""An exported model, asked by plain transformers, is right as often as nosce says, and its adapter can be taken off."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.sampling import EpochSampler
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.evals.qa import QAEval
from nosce.models.architecture import Architecture, build_model
from nosce.pipeline.context import StepContext
from nosce.pipeline.export import write_plain_model
from nosce.pipeline.steps.training import TrainingSpec, adapter_folder, list_checkpoints
from nosce.pipeline.steps.training import make as make_training
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.train import checkpoint, loop
from nosce.train.config import LoRA, TrainingConfig

SEED = Seed(3)
TOWNS = ("Elmbrook, AV", "Malmö (north)", "St. Ives", "Ash-on-Sea", "O'Fallon")
QUESTIONS = [
    Question(f"{n}", f"person/{n}", "town", f"Where was P{n}'s mother born? Answer:", TOWNS[n * n % 5], "seen")
    for n in range(40)
]
TEXTS = [f"{q.prompt} {q.target}" for q in QUESTIONS]


def written_corpus(folder, kind: str) -> Corpus:
    """The questions, with a tokenizer of a kind."""
    symbols = tuple(sorted({character for text in TEXTS for character in text})) if kind == "symbols" else ()
    spec = TokenizerSpec(kind=kind, vocab_size=320, symbols=symbols)
    save_tokenizer(build_tokenizer(spec, TEXTS), folder / "tokenizer")
    write_corpus(folder, [Document(str(n), "p", text, ()) for n, text in enumerate(TEXTS)], QUESTIONS)
    return Corpus(folder)


def half_learnt(corpus: Corpus, family: str, folder):
    """A small model that has learnt some of the answers, as a checkpoint."""
    shape = Architecture(family=family, layers=1, width=32, heads=2, max_positions=128)
    size, pad = corpus.tokenizer.get_vocab_size(), corpus.tokenizer.token_to_id("<pad>")
    net = build_model(shape, vocab_size=size, eos_id=corpus.eos_id, pad_id=pad, seed=SEED)
    questions = corpus.tokenized_questions(corpus.questions)
    config = TrainingConfig(steps=60, batch_size=20, peak_lr=4e-3 if family == "llama" else 1e-2)
    sampler = EpochSampler(len(questions), 20, SEED)
    loop.train(net, questions, sampler, config, eos_id=0, folder=folder / "run", on_checkpoint=lambda step: None)
    checkpoint.save_checkpoint(net.eval(), corpus.tokenizer_folder, folder / "kept")
    return net


@pytest.mark.whole
@pytest.mark.parametrize(
    ("kind", "family"), [("word", "gpt-neox"), ("bpe", "llama"), ("symbols", "gpt2"), ("word", "t5"), ("bpe", "t5")]
)
def test_plain_transformers_finds_the_same_answers_right(kind, family, tmp_path):
    """Tokenizer and model as a stranger loads them, a prompt and `generate`: the target's text where we say exact."""
    corpus = written_corpus(tmp_path / "corpus", kind)
    net = half_learnt(corpus, family, tmp_path)
    exact = {r.item: r.value for r in QAEval().evaluate(net, corpus, SEED) if r.metric == "exact"}
    assert 0 < sum(exact.values()) < len(exact)
    write_plain_model(tmp_path / "kept", tmp_path / "plain", corpus)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    model = (AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM).from_pretrained(tmp_path / "plain")
    for question in QUESTIONS:
        inputs = tokenizer(question.prompt, return_tensors="pt", return_token_type_ids=False)
        tokens = model.generate(**inputs, max_new_tokens=30)[0]
        reply = tokens if family == "t5" else tokens[inputs["input_ids"].shape[1] :]
        text = tokenizer.decode(reply, skip_special_tokens=True)
        assert (text == question.target) == bool(exact[question.id]), (text, question.target)


def test_settings_of_a_pretrained_model_do_not_change_its_answers(tmp_path):
    """What a folder said of sampling, padding and cutting stays behind; there is one end token."""
    corpus = written_corpus(tmp_path / "corpus", "bpe")
    half_learnt(corpus, "llama", tmp_path)
    settings = {"do_sample": True, "temperature": 9.0, "eos_token_id": [2, 7], "repetition_penalty": 3.0}
    (tmp_path / "kept" / "generation_config.json").write_text(json.dumps(settings))
    for name in ("config.json", "tokenizer.json"):
        found = json.loads((tmp_path / "kept" / name).read_text(encoding="utf-8"))
        if name == "config.json":
            found["eos_token_id"] = 2
        else:
            found["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
        (tmp_path / "kept" / name).write_text(json.dumps(found))
    write_plain_model(tmp_path / "kept", tmp_path / "plain", corpus)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    assert (model.generation_config.do_sample, model.generation_config.repetition_penalty) in (
        (False, 1.0),
        (None, None),
    )
    assert model.generation_config.eos_token_id == model.config.eos_token_id == tokenizer.eos_token_id == 0
    assert tokenizer.bos_token_id == 0
    assert json.loads((tmp_path / "plain" / "tokenizer.json").read_text(encoding="utf-8"))["truncation"] is None


@pytest.mark.whole
@pytest.mark.parametrize("pad", [{"__type": "AddedToken", "content": "<pad>", "special": True}, "<nowhere>", None])
def test_a_padding_token_of_a_folder_may_be_written_in_any_way(tmp_path, pad):
    """As an object, as old folders have it; or as a text that is no token, in whose place ours is taken."""
    corpus = written_corpus(tmp_path / "corpus", "bpe")
    half_learnt(corpus, "llama", tmp_path)
    path = tmp_path / "kept" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"pad_token": pad}))
    write_plain_model(tmp_path / "kept", tmp_path / "plain", corpus)
    pad_id = corpus.tokenizer.token_to_id("<pad>")
    assert AutoTokenizer.from_pretrained(tmp_path / "plain").pad_token_id == pad_id
    assert json.loads((tmp_path / "plain" / "config.json").read_text(encoding="utf-8"))["pad_token_id"] == pad_id


@pytest.mark.filterwarnings("ignore:.*(tie_word_embeddings|tied|is_gradient_checkpointing)")
def test_an_adapter_is_kept_beside_its_merged_model(tmp_path):
    """`PeftModel.from_pretrained` puts it on the base again, and together they say what the merged model says."""
    from peft import PeftModel

    corpus = written_corpus(tmp_path / "corpus", "word")
    half_learnt(corpus, "gpt-neox", tmp_path)
    base_step = tmp_path / "start" / "checkpoints" / "0000060"
    base_step.parent.mkdir(parents=True)
    (tmp_path / "kept").rename(base_step)
    training = TrainingConfig(steps=6, batch_size=20, peak_lr=1e-2, checkpoint_fractions=(0.5, 1.0))
    adapter = LoRA(rank=4, embedding_rank=8)
    spec = TrainingSpec(model=None, data="questions", training=training, adapter=adapter, seed=SEED)
    inputs = {"corpus": corpus.folder, "start": tmp_path / "start"}
    make_training(spec, inputs, StepContext(folder=tmp_path / "tuned"))
    for step, merged_folder in list_checkpoints(tmp_path / "tuned").items():
        folder = adapter_folder(tmp_path / "tuned", step)
        assert (
            json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"] is None
        )
        assert {file.suffix for file in folder.iterdir()} == {".json", ".safetensors"}
        base, merged = (AutoModelForCausalLM.from_pretrained(one).eval() for one in (base_step, merged_folder))
        ids = torch.arange(1, 9)[None]
        with torch.no_grad():
            plain = base(input_ids=ids).logits
            together = PeftModel.from_pretrained(base, folder).eval()(input_ids=ids).logits
            torch.testing.assert_close(together, merged(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(together, plain, atol=1e-3)
