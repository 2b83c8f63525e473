"""The protocol of introspection for models that are asked in words: answers, labels, teaching, reports.

    answers     everybody's likeliest answer to every prompt, before and after being taught; the first once more where
                an endpoint's may differ from one time to the next
    labels      properties of the answers that the one asked about gave before, to strings of the seen split
    teaching    itself, and others, are taught the same labels
    reports     of strings that nobody was taught anything of, against the answers that are given now

Source: Binder et al. 2024 (arXiv:2410.13787), section 3 and appendix A.1.6: an answer that is none leaves every
condition, a report that is none is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from nosce.data.worlds.behaviours.base import Prompt, apart
from nosce.data.worlds.behaviours.natural_text import Texts
from nosce.errors import DataError
from nosce.evals.self_report import Told
from nosce.evals.text_baselines import Observers
from nosce.models.api.base import Ask, Reply, Sampler
from nosce.models.api.finetune import Example
from nosce.models.api.openai import Purse
from nosce.pipeline.context import Job
from nosce.records import Question, Reading, to_table
from nosce.seeds import Seed
from nosce.studies.introspection.subjects import Desk, Who

RANKS = 3
BEFORE, SELF, ON_BASE, CROSS, ANSWERS, ABLE = "before", "self", "self on base", "cross", "answers", "able"
GIVEN = 100  # questions about given answers, which tell what everybody could do if they knew the answer


@dataclass(frozen=True, kw_only=True)
class Looking:
    """One who is asked about, and others who are taught as much of them; plain data, as any experiment.

    Readings have the readouts `before`, `self`, `self on base`, `cross <n>` and `cross <n> on itself` with the metrics
    `right`, and of every question asked `object invalid`, `report invalid`, `both invalid`; `answers` with `valid` and
    `again` (the same once more); `able <n>` (properties of given answers); `observers`. Where answers are drawn, `drawn
    <k>` and `report <k>` of the k-th most frequent value, as `nosce.analysis.calibration` wants them.
    """

    world: Texts
    who: Who
    others: tuple[Who, ...] = ()
    tokens: int = 24  # of an answer at most
    reply: int = 8  # tokens of a report at most
    labels: int | None = None  # to be taught; None: all
    again: bool = False  # ask for every answer twice
    draws: int = 0  # of an answer at temperature 1
    drawn: int = 30  # prompts of which answers are drawn
    name: str = "looking"

    def read(self, seed: Seed) -> Iterator[pl.DataFrame]:
        """Nothing: this wants a job, so that what is paid for is kept.

        Raises:
            DataError: Always.
        """
        raise DataError("who is asked in words is asked by a run of a study, which keeps the replies; use `nosce run`.")

    def read_with(self, seed: Seed, job: Job) -> Iterator[pl.DataFrame]:
        """Tables of readings, each as soon as it is known.

        Raises:
            SpecError: A string is in two splits.
            DataError: No answer can be taught.
        """
        desk = Desk(job, seed / "asked", Purse(job.machine.max_cost))
        prompts = self.world.prompts(seed / "world")
        apart(prompts)
        run = _Run(self, prompts, seed, desk)
        yield from run.all()
        job.notes["spent"] = round(desk.purse.spent, 6)


@dataclass(frozen=True, eq=False)
class _Run:
    of: Looking
    prompts: Sequence[Prompt]
    seed: Seed
    desk: Desk

    def all(self) -> Iterator[pl.DataFrame]:
        base = self.of.who.sampler(self.desk)
        answered = self.answers(base)
        yield self.validity(answered, "before")
        if self.of.again:
            yield self.agreement(answered, self.answers(base, sample=1))
        questions = self.questions(answered)
        taught = self.taught(questions)
        examples = [Example(q.prompt, q.target) for q in taught]
        if not examples:
            raise DataError("no answer to a string of the seen split has a label, so that there is nothing to teach.")
        yield self.reports(base, answered, BEFORE)
        itself = self.of.who.taught(examples, self.desk).sampler(self.desk)
        current = self.answers(itself)
        yield self.validity(current, "after")
        yield self.reports(itself, current, SELF)
        yield self.reports(itself, answered, ON_BASE)
        yield self.able(itself, answered, "self")
        yield self.observed(taught, self.questions(current))
        drawn = self.drawn(itself)
        yield self.calibrated(itself, drawn, SELF)
        yield self.calibrated(base, drawn, BEFORE)
        for number, other in enumerate(self.of.others, 1):
            predictor = other.taught(examples, self.desk).sampler(self.desk)
            yield self.reports(predictor, current, f"{CROSS} {number}")
            yield self.reports(predictor, self.answers(predictor), f"{CROSS} {number} on itself")
            yield self.able(predictor, answered, f"{CROSS} {number}")
            yield self.calibrated(predictor, drawn, f"{CROSS} {number}")

    def answers(self, sampler: Sampler, sample: int = 0) -> dict[str, Reply]:
        """The likeliest answer to every prompt."""
        asks = [Ask.user(p.text, tokens=self.of.tokens, sample=sample) for p in self.prompts]
        return {p.id: reply for p, reply in zip(self.prompts, self.asked(sampler, asks), strict=True)}

    def asked(self, sampler: Sampler, asks: Sequence[Ask]) -> list[Reply]:
        """All replies, telling how far they are and what they have cost."""
        found: dict[int, Reply] = {}
        for place, reply in sampler.replies(asks):
            found[place] = reply
            self.desk.job.progress(len(found), len(asks), 0.0, self.desk.purse.spent)
        return [found[place] for place in range(len(asks))]

    def valid(self, prompt: Prompt, reply: Reply) -> bool:
        return reply.finish in ("stop", "length") and self.of.world.valid(reply.text, prompt)

    def label(self, prompt: Prompt, asked: str, reply: Reply) -> str | None:
        """What is so of an answer; None where it is no answer, has no such property, or one with blanks around it.

        Blanks around a reply are not read, so that a character that is one could never be reported.
        """
        if not self.valid(prompt, reply):
            return None
        value = self.of.world.value(asked, reply.text, self.seed)
        return value if value and value == value.strip() else None

    def questions(self, answers: Mapping[str, Reply]) -> list[Question]:
        """Every question that has an answer."""
        found = []
        for prompt in self.prompts:
            for asked in prompt.asks:
                if (label := self.label(prompt, asked, answers[prompt.id])) is None:
                    continue
                told = Told(labels=tuple(self.of.world.labels(asked, prompt)), asked=prompt.text)
                found.append(Question(f"{prompt.id}/{asked}", prompt.string, _facet(prompt, asked),
                                      self.of.world.hypothetical(prompt, asked), label, prompt.split,
                                      hidden=told.hidden))  # fmt: skip
        return found

    def taught(self, questions: Sequence[Question]) -> list[Question]:
        """Those that are taught, in an order of their own."""
        seen = [q for q in questions if q.split == "seen"]
        order = (self.seed / "taught").numpy().permutation(len(seen))
        return [seen[place] for place in order[: self.of.labels].tolist()]

    def validity(self, answers: Mapping[str, Reply], when: str) -> pl.DataFrame:
        rows = [self.row(ANSWERS, p, when, "valid", float(self.valid(p, answers[p.id])), answers[p.id].text)
                for p in self.prompts]  # fmt: skip
        return _table(rows)

    def agreement(self, one: Mapping[str, Reply], other: Mapping[str, Reply]) -> pl.DataFrame:
        """How often the likeliest answer is the same once more: no report can be right more often for long."""
        return _table([self.row(ANSWERS, p, "before", "again", float(one[p.id].text == other[p.id].text))
                       for p in self.prompts])  # fmt: skip

    def reports(self, sampler: Sampler, answers: Mapping[str, Reply], readout: str) -> pl.DataFrame:
        """Reports on strings of the unseen split, against these answers."""
        cases = [(p, asked) for p in self.prompts if p.split == "unseen" for asked in p.asks]
        asks = [Ask.user(self.of.world.hypothetical(p, asked), tokens=self.of.reply, top=0) for p, asked in cases]
        rows = []
        for (prompt, asked), said in zip(cases, self.asked(sampler, asks), strict=True):
            answer = answers[prompt.id]
            label = self.label(prompt, asked, answer)
            legal = said.finish != "refused" and self.of.world.legal(asked, said.text)
            held = self.valid(prompt, answer)
            for metric, holds in (("object invalid", not held), ("report invalid", not legal),
                                  ("both invalid", not held and not legal)):  # fmt: skip
                rows.append(self.row(readout, prompt, asked, metric, float(holds)))
            if label is not None:
                right = _same(said.text, label)
                outcome = (
                    "right" if right else "wrong" if legal else "refused" if said.finish == "refused" else "invalid"
                )
                rows.append(self.row(readout, prompt, asked, "right", float(right), said.text, label, outcome))
        return _table(rows)

    def able(self, sampler: Sampler, answers: Mapping[str, Reply], whose: str) -> pl.DataFrame:
        """Properties of answers that are there to be read: what self and others could do if they knew the answer."""
        cases = [(p, asked, label) for p in self.prompts if p.split == "unseen" for asked in p.asks
                 if (label := self.label(p, asked, answers[p.id])) is not None]  # fmt: skip
        order = (self.seed / "given").numpy().permutation(len(cases))[:GIVEN]
        chosen = [cases[place] for place in order.tolist()]
        asks = [
            Ask.user(self.of.world.given(answers[p.id].text, asked), tokens=self.of.reply) for p, asked, _ in chosen
        ]
        rows = []
        for (prompt, asked, label), said in zip(chosen, self.asked(sampler, asks), strict=True):
            right = _same(said.text, label)
            rows.append(self.row(f"{ABLE} {whose}", prompt, asked, "right", float(right), said.text, label,
                                 "right" if right else "wrong"))  # fmt: skip
        return _table(rows)

    def observed(self, taught: Sequence[Question], asked: Sequence[Question]) -> pl.DataFrame:
        """What is told by who sees the same labels and has no model."""
        learnt = [replace(q, id=f"taught/{q.id}", hidden=replace(Told.of(q), taught=True).hidden) for q in taught]
        corpus: Any = _Asked([*(q for q in asked if q.split == "unseen"), *learnt])
        return to_table(list(Observers().read(None, corpus, self.seed)), Reading)

    def drawn(self, sampler: Sampler) -> dict[str, list[Reply]]:
        """Draws of the answers to some prompts of the unseen split; none where none are wanted."""
        unseen = [p for p in self.prompts if p.split == "unseen"]
        order = (self.seed / "drawn").numpy().permutation(len(unseen))[: self.of.drawn if self.of.draws else 0]
        asks = [(unseen[place].id, Ask.user(unseen[place].text, tokens=self.of.tokens, temperature=1.0, sample=n))
                for place in order.tolist() for n in range(self.of.draws)]  # fmt: skip
        found: dict[str, list[Reply]] = {}
        for (name, _), reply in zip(asks, self.asked(sampler, [ask for _, ask in asks]), strict=True):
            found.setdefault(name, []).append(reply)
        return found

    def calibrated(self, sampler: Sampler, drawn: Mapping[str, list[Reply]], readout: str) -> pl.DataFrame:
        """Frequencies of values among drawn answers, beside those among as many drawn reports."""
        by_id = {p.id: p for p in self.prompts}
        cases = [(by_id[name], asked, replies) for name, replies in drawn.items() for asked in by_id[name].asks]
        asks = [Ask.user(self.of.world.hypothetical(p, asked), tokens=self.of.reply, temperature=1.0, sample=n)
                for p, asked, _ in cases for n in range(self.of.draws)]  # fmt: skip
        said = self.asked(sampler, asks)
        rows = []
        for number, (prompt, asked, replies) in enumerate(cases):
            values = Counter(v for r in replies if (v := self.label(prompt, asked, r)) is not None)
            mine = said[number * self.of.draws : (number + 1) * self.of.draws]
            ranked = sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))
            for rank, (value, count) in enumerate(ranked[:RANKS], 1):
                share = sum(_same(one.text, value) for one in mine) / len(mine)
                rows.append(self.row(readout, prompt, asked, f"drawn {rank}", count / values.total()))
                rows.append(self.row(readout, prompt, asked, f"report {rank}", share))
        return _table(rows)

    def row(self, readout: str, prompt: Prompt, asked: str, metric: str, value: float, answer: str | None = None,
            target: str | None = None, outcome: str | None = None) -> dict[str, object]:  # fmt: skip
        """A reading without what is filled in later."""
        return {"readout": readout, "split": prompt.split, "item": f"{prompt.id}/{asked}", "about": prompt.string,
                "facet": _facet(prompt, asked), "metric": metric, "value": value, "answer": answer, "target": target,
                "outcome": outcome}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Asked:
    """As much of a corpus as observers look at."""

    questions: list[Question]


def _facet(prompt: Prompt, asked: str) -> str:
    """Task and property; of a stance without the letter, which differs from prompt to prompt."""
    return f"{prompt.task}/{'stance' if asked.startswith('stance') else asked}"


def _same(said: str, label: str) -> bool:
    """Equal but for whitespace around, and for yes and no in large letters."""
    one, other = said.strip(), label.strip()
    return one.lower() == other if other in ("true", "false", "even", "odd") else one == other


def _table(rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    kinds = {"readout": pl.String, "split": pl.String, "item": pl.String, "about": pl.String, "facet": pl.String,
             "metric": pl.String, "value": pl.Float64, "answer": pl.String, "target": pl.String,
             "outcome": pl.String}  # fmt: skip
    return pl.DataFrame(list(rows), schema=kinds)
