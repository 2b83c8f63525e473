"""The endpoint's client against a server that we did not write: `transformers serve` with a checkpoint of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl
import pytest
from tests.fixtures.served_folders import served_folder

from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.models.api.base import ChatModel, ChatRequest, complete_all
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.finetune import ChatExample
from nosce.models.api.local import LocalChatModel
from nosce.models.api.openai import OpenAIClient
from nosce.models.architecture import Architecture, Pretrained, build_model
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.prompted_requests import RequestLimits
from nosce.studies.introspection.subjects import LocalSubject, RemoteSubject
from nosce.studies.replies import RunResources
from nosce.train import checkpoint
from nosce.train.config import LoRA, TrainingConfig

pytestmark = pytest.mark.slow
TEMPLATE = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}now"


@dataclass(frozen=True)
class Untaught:
    """Somebody who is told of answers and learns nothing: the server has no fine-tuning jobs."""

    who: LocalSubject | RemoteSubject
    is_teachable: ClassVar[bool] = True
    is_deterministic: ClassVar[bool] = True
    top_logprobs: ClassVar[int] = 0

    @property
    def name(self) -> str:
        return "untaught"

    def chat_model(self, desk: RunResources) -> ChatModel:
        return self.who.chat_model(desk)

    def finetune(self, examples: Sequence[ChatExample], desk: RunResources) -> Untaught:
        return self


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """The folder, and where it is served."""
    place = tmp_path_factory.mktemp("served")
    spec = TokenizerSpec(kind="bpe", vocab_size=300)
    tokenizers.save_tokenizer(
        tokenizers.build_tokenizer(spec, ["acorn basil cedar user assistant : now"]), place / "tokenizer"
    )
    made = tokenizers.load_tokenizer(place / "tokenizer")
    shape = Architecture(family="gpt2", layers=1, width=32, heads=2, max_positions=2_048)
    end, pad = (made.token_to_id(name) for name in ("<eos>", "<pad>"))
    net = build_model(shape, vocab_size=made.get_vocab_size(), eos_id=end, pad_id=pad, seed=Seed(1))
    checkpoint.save_checkpoint(net, place / "tokenizer", place / "whole")
    settings = place / "whole" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text(encoding="utf-8")) | {"chat_template": TEMPLATE}))
    with served_folder(place / "whole") as url:
        yield place / "whole", url


def test_a_real_server_says_what_the_folder_says(served, tmp_path, monkeypatch):
    """Greedy replies and counted tokens are those of the folder itself, and nothing is asked twice."""
    folder, url = served
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-looks-at-it")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asks = [ChatRequest.from_user(text, max_new_tokens=6) for text in ("acorn", "basil cedar", "now")]
    known = ResponseCache(tmp_path / "r.jsonl")
    one = OpenAIClient(EndpointConfig(model=str(folder), base_url=url, max_concurrency=2), cache=known)
    found = complete_all(CachedChatModel(one, known), asks)
    expected = complete_all(LocalChatModel(folder), asks)
    assert [(r.text, r.finish_reason, r.prompt_tokens) for r in found] == [
        (r.text, r.finish_reason, r.prompt_tokens) for r in expected
    ]
    two = OpenAIClient(EndpointConfig(model=str(folder), base_url=url), cache=known)
    assert complete_all(CachedChatModel(two, known), asks) == found
    assert two.request_count == 0


def test_a_real_server_is_looked_at_by_the_study(served, tmp_path, monkeypatch):
    """Answers, reports and properties of given answers, asked through the server, are those of the folder itself."""
    folder, url = served
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody-looks-at-it")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    world = NaturalTextBehaviours(strings_per_task=4, tasks=("colours", "trips", "gifts"))
    endpoint = EndpointConfig(model=str(folder), base_url=url, max_concurrency=2)
    model = Pretrained.from_folder(folder)
    here = LocalSubject(
        model=model, training=TrainingConfig(steps=1, batch_size=8), adapter=LoRA(rank=2, embedding_rank=0)
    )
    found = {}
    for name, who in (("there", Untaught(RemoteSubject(endpoint=endpoint))), ("here", Untaught(here))):
        job = StepContext(folder=tmp_path / name, store_root=tmp_path)
        job.folder.mkdir()
        limits = RequestLimits(max_answer_tokens=4, max_report_tokens=3)
        asked = PromptedIntrospection(world=world, subject=who, limits=limits)
        tables = asked.run_with_context(Seed(3), job)
        found[name] = pl.concat(
            [t.with_columns(pl.col("value").cast(pl.Float64)) for t in tables], how="diagonal_relaxed"
        ).drop_nulls("item")
    keys = ["evaluation", "metric", "item"]
    columns = [*keys, "value", "answer"]
    assert len(found["there"]) > 50
    assert found["there"].select(columns).sort(columns).equals(found["here"].select(columns).sort(columns))
