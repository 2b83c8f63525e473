"""Profiles in somebody's prose: what is incomplete is asked again, what is whole is read by the world."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.prose import FreeBiographies, PrewrittenTexts, fact_phrases
from nosce.data.worlds.biographies.world import Biographies, person
from nosce.errors import DataError, SpecError
from nosce.models.api.base import ChatRequest, ChatResponse
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.seeds import Seed
from nosce.studies.biographies import write_prose
from nosce.studies.biographies.arms import WRITTEN_ARM
from nosce.studies.biographies.rewriting import Profile, RewritingConfig, rewrite_profiles
from nosce.studies.biographies.scales import biographies_config
from nosce.studies.biographies.study import study

SEED = Seed(23)
WORLD = Biographies(people=12, name_pool_sizes=(4, 4, 8))
PEOPLE = [Profile(n, (who := person(WORLD, n, SEED)).name, fact_phrases(who)) for n in range(12)]


@dataclass
class Writer:
    """Says what it was told, after it has failed in some way for so many attempts."""

    fails: int = 0
    way: str = "incomplete"
    asked: list[ChatRequest] = field(default_factory=list)
    price: float | None = None  # of a request
    model_id: str = "writer"

    @property
    def spent(self) -> float | None:
        """As an endpoint says it; None: like a model that costs nothing."""
        return None if self.price is None else self.price * len(self.asked)

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Facts as they were given, in a sentence."""
        for place, one in enumerate(requests):
            before = sum(known.messages == one.messages for known in self.asked)
            self.asked.append(one)
            facts = one.messages[0][1].partition("exactly so: ")[2].partition(". Use the full name")[0]
            finish = "stop"
            if before < self.fails:
                facts = facts.partition(";")[0] if self.way == "incomplete" else facts
                finish = {"refused": "refused", "truncated": "length"}.get(self.way, "stop")
            yield place, ChatResponse(text=f"{facts}.\n", finish_reason=finish)  # type: ignore[arg-type]


def test_texts_are_written_and_read(tmp_path):
    """Two entries a person, drawn apart; the world reads them and keeps the contract."""
    writer = Writer()
    found = rewrite_profiles(writer, PEOPLE, RewritingConfig(entries=2), SEED, tmp_path / "texts.jsonl")
    assert (found.n_texts, found.n_requests, found.incomplete) == (24, 24, 0)
    assert len({(one.messages, one.sample_index) for one in writer.asked}) == 24
    world = FreeBiographies(
        population=WORLD, entries_per_person=2, rewriter=PrewrittenTexts.from_file(tmp_path / "texts.jsonl")
    )
    check_world(world, SEED)
    assert len({d.text for d in world.documents(SEED)}) == 24  # the facts' order is each text's own


@pytest.mark.parametrize(
    ("way", "counted"), [("incomplete", "incomplete"), ("refused", "refused"), ("truncated", "truncated")]
)
def test_what_is_not_whole_is_asked_again_and_counted(tmp_path, way, counted):
    """Two attempts fail each, the third is good; nothing is asked twice where replies are kept."""
    writer = Writer(fails=2, way=way)
    known = ResponseCache(tmp_path / "replies.jsonl")
    found = rewrite_profiles(CachedChatModel(writer, known), PEOPLE, RewritingConfig(), SEED, tmp_path / "texts.jsonl")
    assert (found.n_texts, found.n_requests, getattr(found, counted)) == (12, 36, 24)
    kept = json.loads((tmp_path / "texts.jsonl.counts.json").read_text(encoding="utf-8"))
    assert kept[counted] == 24
    before = len(writer.asked)
    again = rewrite_profiles(CachedChatModel(writer, known), PEOPLE, RewritingConfig(), SEED, tmp_path / "texts.jsonl")
    assert again == found
    assert len(writer.asked) == before


def test_who_cannot_write_is_said_and_what_was_written_is_kept(tmp_path):
    """One sentence with a name; the file has those that came out."""
    with pytest.raises(DataError, match="12 of 12 texts could not be had in 2 attempts"):
        rewrite_profiles(Writer(fails=9), PEOPLE, RewritingConfig(attempts=2), SEED, tmp_path / "texts.jsonl")
    assert json.loads((tmp_path / "texts.jsonl.counts.json").read_text(encoding="utf-8"))["n_texts"] == 0
    with pytest.raises(SpecError, match="asks for nothing"):
        RewritingConfig(attempts=0)


def test_what_it_cost_is_counted_and_what_is_known_costs_nothing(tmp_path):
    """Every attempt is paid, also the vain ones; run again, nothing is; who names no price leaves it open."""
    writer, file = Writer(fails=1, price=0.25), tmp_path / "texts.jsonl"
    asks = CachedChatModel(writer, ResponseCache(tmp_path / "replies.jsonl"))
    assert rewrite_profiles(asks, PEOPLE, RewritingConfig(), SEED, file).spent == 0.25 * 24
    assert json.loads((tmp_path / "texts.jsonl.counts.json").read_text(encoding="utf-8"))["spent"] == 6.0
    assert rewrite_profiles(asks, PEOPLE, RewritingConfig(), SEED, file).spent == 0
    assert rewrite_profiles(Writer(), PEOPLE, RewritingConfig(), SEED, file).spent is None


def test_the_texts_are_read_by_the_study_at_its_first_seed(tmp_path):
    """The people are those of the study's scale, whatever their number; the arm has a text about each."""
    config, file = biographies_config("smoke", ["world.people=9"]), tmp_path / "texts.jsonl"
    replies = ResponseCache(tmp_path / "replies.jsonl")
    found = write_prose.write_texts(config.world, Writer(fails=1), replies, RewritingConfig(), file)
    assert (found.n_texts, found.n_requests) == (9, 18)
    whole = study("smoke", (f"written={file}",))
    (arm,) = (arm for arm in whole.arms if arm.name == WRITTEN_ARM)
    documents = list(arm.world.documents(Seed(whole.seeds[0]) / "world"))
    assert [d.entity for d in documents] == [f"person/{n}" for n in range(9)]


def test_the_command_takes_a_folder_or_the_endpoint(tmp_path, monkeypatch):
    """With --model no endpoint is asked; what the command says of people, attempts and temperature is done."""
    asked = {}

    def written(world, model, replies, config, file):
        asked.update(world=world, model=model, config=config, file=file)

    monkeypatch.setattr(write_prose, "write_texts", written)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    file = tmp_path / "t.jsonl"
    options = ["--people", "7", "--attempts", "3", "--temperature", "0.5", "--scale", "smoke"]
    write_prose.write_from_command_line([str(file), "--model", str(tmp_path), *options])
    assert asked["model"].folder == tmp_path
    assert asked["world"] == biographies_config("smoke", ["world.people=7"]).world
    assert (asked["config"].attempts, asked["config"].temperature, asked["file"]) == (3, 0.5, file)
    write_prose.write_from_command_line([str(file)])
    assert asked["model"].model_id.endswith("gpt-4o-mini")
    assert (asked["world"].people, asked["config"]) == (200, RewritingConfig())
