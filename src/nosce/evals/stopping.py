"""The read-out `Stops`: behind each entry of a list that was told right, does the model go on or stop?

Whoever knows how much there is stops behind the last entry and nowhere else. The true list is given, so that what is
read is the decision alone, and not the content before it; or the list with other contents in its entries, to see
whether the decision hangs on them.

Source: proposed in the sheet for arXiv:2502.19573, section 7.3; the paper scores whole replies.
Letters: k entries of a list, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from nosce.data.corpus import Corpus
from nosce.evals.base import blank
from nosce.records import Question, Reading, Split
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Lister(Protocol):
    """What a world knows whose questions ask for everything there is of something."""

    def count(self, question: Question) -> int | None:
        """How many entries the true list has; None where none is asked for."""
        ...

    def cuts(self, question: Question) -> list[int]:
        """Where in the target, in characters, each entry ends."""
        ...

    def further(self, question: Question) -> str:
        """The target and the beginning of an entry that does not exist."""
        ...

    def retold(self, question: Question, other: Question) -> str:
        """The target with the contents of another list's entries."""
        ...

    def openings(self, question: Question) -> Mapping[str, str]:
        """Texts at whose end the number of entries could be known, by name; the question is one of them."""
        ...


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Where a list's entries end in the tokens of its target, and what would stand there if it went on."""

    places: np.ndarray  # (k,) tokens of the target before each decision
    onward: np.ndarray  # (k,) the token that goes on

    @classmethod
    def of(cls, question: Question, lister: Lister, corpus: Corpus) -> Boundaries | None:
        """None where the list is empty, or where going on would change the tokens before."""
        cuts = lister.cuts(question)
        told, more = (corpus.tokenizer.encode(text, add_special_tokens=False)
                      for text in (question.target, lister.further(question)))  # fmt: skip
        if not cuts or more.ids[: len(told.ids)] != told.ids or len(more.ids) == len(told.ids):
            return None
        begin = np.array([first for first, _ in told.offsets])
        places = np.array([int((begin < cut).sum()) for cut in cuts])
        return cls(places, np.array(more.ids)[places])


@dataclass(frozen=True, kw_only=True)
class Stops:
    """The decision behind each entry, and what the list costs to tell, in nats.

    Readings a decision, with the metric `stop/last` or `stop/before`: the probability of stopping, of stopping and
    going on. Readings a list: `stopped` (is the last entry the first behind which stopping is the likelier?), `stops`
    (nats of the k decisions) and `content` (nats of everything else).
    """

    needs_model: ClassVar[bool] = True
    lister: Lister
    split: Split = "unseen"
    retold: bool = False  # with the contents of another list
    name: str = "stops"

    def read(self, model: PreTrainedModel | None, corpus: Corpus, seed: Seed) -> Iterator[Reading]:
        """The readings of one checkpoint."""
        assert model is not None
        asked = [q for q in corpus.asked(self.split) if self.lister.count(q)]
        if self.retold:
            asked = _retold(asked, self.lister, seed / "retold")
        found = [(q, b) for q in asked if (b := Boundaries.of(q, self.lister, corpus)) is not None]
        for (question, at), (stop, nats) in zip(found, decisions(model, corpus, found), strict=True):
            yield from self._readings(question, stop, nats, len(at.places))

    def _readings(self, question: Question, stop: np.ndarray, nats: float, count: int) -> Iterator[Reading]:
        where = {"readout": self.name, "split": question.split, "about": question.about, "facet": question.facet,
                 "answer": None, "target": None}  # fmt: skip
        last = np.arange(count) == count - 1
        for number, (p, here) in enumerate(zip(stop.tolist(), last.tolist(), strict=True), 1):
            metric = "stop/last" if here else "stop/before"
            yield blank(**where, item=f"{question.id}/{number}", metric=metric, value=p, outcome=None)
        right = bool(((stop > 0.5) == last).all())
        yield blank(**where, item=question.id, metric="stopped", value=float(right),
                    outcome="right" if right else "wrong")  # fmt: skip
        spent = float(-np.log(np.maximum(np.where(last, stop, 1 - stop), 1e-12)).sum())
        yield blank(**where, item=question.id, metric="stops", value=spent, outcome=None)
        yield blank(**where, item=question.id, metric="content", value=nats - spent, outcome=None)


def decisions(
    model: PreTrainedModel, corpus: Corpus, lists: Sequence[tuple[Question, Boundaries]]
) -> Iterator[tuple[np.ndarray, float]]:
    """For each list the probabilities of stopping behind its entries, (k,), and the nats of all its tokens."""
    import torch

    from nosce.models.likelihood import counted_spans, passes

    sequences = corpus.question_sequences([q for q, _ in lists])
    found: dict[int, tuple[np.ndarray, float]] = {}
    for one in passes(model, sequences, counted_spans(sequences), end=corpus.end):
        logs = one.logits.log_softmax(-1)
        true = torch.from_numpy(one.true.astype(np.int64)).to(logs.device)
        nats = -logs.gather(1, true[:, None])[:, 0].double().cpu().numpy()
        for number, cut in zip(one.numbers, one.cuts, strict=True):
            at = lists[number][1]
            here = logs[cut][torch.from_numpy(at.places).to(logs.device)].double().cpu().numpy()
            odds = here[np.arange(len(at.places)), at.onward] - here[:, corpus.end]  # of going on
            found[number] = (1 / (1 + np.exp(np.clip(odds, -500, 500))), float(nats[cut].sum()))
    return (found[number] for number in range(len(lists)))


def _retold(questions: Sequence[Question], lister: Lister, seed: Seed) -> list[Question]:
    """Every list with the contents of another's entries, drawn at random."""
    drawn = seed.numpy().permutation(len(questions))
    found = []
    for place, question in enumerate(questions):
        other = questions[int(drawn[place])]
        other = questions[(int(drawn[place]) + 1) % len(questions)] if other is question else other
        found.append(replace(question, target=lister.retold(question, other)))
    return found
