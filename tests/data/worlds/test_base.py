"""The contract of worlds refuses each breach of it, and says which it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest

from nosce.data.worlds.base import World, check_world
from nosce.data.worlds.biographies.world import Biographies
from nosce.errors import SpecError
from nosce.records import Document, Question, Span
from nosce.seeds import Seed

CALLS = count()


@dataclass(frozen=True)
class Sound(World):
    """Two villagers with one boat each: a world that keeps the contract."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Both texts."""
        yield Document("0", "villager/0", "Ada sails the Gull.", (Span("boat", 14, 18),))
        yield Document("1", "villager/1", "Bo sails the Tern.", (Span("boat", 13, 17),))

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Both questions."""
        yield Question("0", "villager/0", "boat", "What does Ada sail?", "Gull", "seen")
        yield Question("1", "villager/1", "boat", "What does Bo sail?", "Tern", "unseen")

    def samples(self, seed: Seed) -> Iterator[str]:
        """All words."""
        yield "Ada Bo sails the Gull Tern. What does sail?"


class Thawed(Sound):
    """Not a dataclass of its own, and so not what it was checked to be."""

    __dataclass_params__ = type("Params", (), {"frozen": False})


class Forgetful(Sound):
    """Texts that differ from call to call."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """A fresh number each time."""
        yield Document("0", "villager/0", f"Ada caught {next(CALLS)} fish.", ())


class Moody(Sound):
    """Questions that differ from call to call."""

    def questions(self, seed: Seed) -> Iterator[Question]:
        """A fresh number each time."""
        yield Question("0", "villager/0", "boat", f"Question {next(CALLS)}?", "Gull", "seen")


class Twins(Sound):
    """Two documents of one id."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The same id twice."""
        yield from (replace(d, id="0") for d in super().documents(seed))


class Echo(Sound):
    """Two questions of one id."""

    def questions(self, seed: Seed) -> Iterator[Question]:
        """The same id twice."""
        yield from (replace(q, id="0") for q in super().questions(seed))


class Beyond(Sound):
    """A span that ends after its text."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """One character too far."""
        yield from (replace(d, spans=(Span("boat", 14, len(d.text) + 1),)) for d in super().documents(seed))


class Overlapping(Sound):
    """Two spans that share a character."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The last letter belongs to both."""
        yield from (replace(d, spans=(Span("name", 0, 3), Span("boat", 2, 5))) for d in super().documents(seed))


class Empty(Sound):
    """A span that holds nothing."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """From 3 to 3."""
        yield from (replace(d, spans=(Span("boat", 3, 3),)) for d in super().documents(seed))


class Lying(Sound):
    """Answers that are not what the texts say."""

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Everybody sails the Gull."""
        yield from (replace(q, target="Gull") for q in super().questions(seed))


class Leaking(Sound):
    """One villager on both sides of the split."""

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Ada is asked about twice."""
        yield from super().questions(seed)
        yield Question("2", "villager/0", "name", "Who sails the Gull?", "Ada", "unseen")


def test_a_sound_world_passes():
    """A world that keeps the contract is let through, however small."""
    check_world(Sound(), Seed(0))


@pytest.mark.parametrize(
    ("world", "breach"),
    [
        (Thawed, "not a frozen dataclass"),
        (Forgetful, "different texts on a second call"),
        (Moody, "different texts on a second call"),
        (Twins, "two documents one id"),
        (Echo, "two questions one id"),
        (Beyond, "which is not in its text"),
        (Overlapping, "which is not in its text"),
        (Empty, "which is not in its text"),
        (Lying, "contradicts its documents"),
        (Leaking, "both sides of the split"),
    ],
)
def test_each_breach_is_refused(world, breach):
    """Every way of breaking the contract is found, and one sentence names the world and the breach."""
    with pytest.raises(SpecError, match=rf"^the world {world.__name__} .*{breach}.*\.$"):
        check_world(world(), Seed(0))


def test_two_entries_that_disagree_are_refused():
    """A document that states something else than the facts is found even if a later one puts it right."""

    class Contradicting(Biographies):
        def documents(self, seed):
            for document in super().documents(seed):
                if document.id == "0/0":
                    first = document.spans[1]
                    text = "X" * (first.end - first.start)
                    document = replace(document, text=document.text[: first.start] + text + document.text[first.end :])
                yield document

    with pytest.raises(SpecError, match="contradicts its documents"):
        check_world(Contradicting(people=5, augmentation="multi2"), Seed(0))
