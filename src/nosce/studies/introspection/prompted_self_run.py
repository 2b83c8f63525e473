"""What models know about themselves beyond their answers: they do it, they are asked about it, and both are compared.

    behaviour   every model answers, answers again after "Are you sure?", and is drawn from
    reports     every model is asked about its behaviour, about given transcripts, and which of two texts is its own;
                the models as they are given are also shown texts of another author, and asked which is by this author
    tables      every model's reports against every model's behaviour

Source: Binder et al. 2024 (arXiv:2410.13787), section 4 and appendix A.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from nosce.data.worlds.behaviours.self_knowledge import (
    LATE,
    SAME,
    SelfQuestion,
    own_question,
)
from nosce.data.worlds.behaviours.self_transcripts import (
    GivenQuestion,
    given_copies_question,
    given_keep_question,
    given_length_question,
    given_own_question,
    given_property_question,
    given_surer_question,
)
from nosce.models.api.base import ChatRequest, ChatResponse
from nosce.studies.introspection.prompted_names import tested_name
from nosce.studies.introspection.prompted_requests import Questioner
from nosce.studies.introspection.prompted_self import MIN_CERTAINTY_DRAWS, SelfItems, both_own_name
from nosce.studies.introspection.prompted_self_tables import (
    Labelled,
    both_table,
    given_table,
    reader_table,
    report_table,
    texts_unlike_table,
    truth_table,
    unlike_table,
)
from nosce.studies.introspection.prompted_self_texts import AuthoredTexts, TextDuel, text_duels
from nosce.studies.introspection.prompted_self_truths import BehaviourRecorder, SelfBehaviour, self_questions
from nosce.studies.introspection.subjects import Subject
from nosce.studies.replies import RunResources


@dataclass(frozen=True, eq=False)
class SelfReports:
    """What one model said about itself and about others.

    Args:
        own: Its replies to questions about itself, by the question's id.
        given: Those to questions about given transcripts, with their labels.
        read: Those about texts of an author, by the author and the question's id.
    """

    own: Mapping[str, ChatResponse]
    given: Sequence[tuple[SelfQuestion, str, ChatResponse]]
    read: Mapping[tuple[str, str], ChatResponse]


@dataclass(frozen=True, eq=False, kw_only=True)
class SelfKnowledgeRun:
    """A run of the tasks of self-knowledge; `tables` does it.

    Args:
        items: The prompts.
        bases: The subjects as they are given, by their letters.
        tested: The names of the models that are tested, and their subjects, by their letters.
        questioner: Makes the requests.
        resources: Where replies are kept.
    """

    items: SelfItems
    bases: Mapping[str, Subject]
    tested: Mapping[str, tuple[str, Subject]]
    questioner: Questioner
    resources: RunResources

    @cached_property
    def recorder(self) -> BehaviourRecorder:
        """Makes models do what they are asked about."""
        return BehaviourRecorder(self.items, self.questioner)

    @cached_property
    def texts(self) -> AuthoredTexts:
        """The questions about texts."""
        return AuthoredTexts(self.recorder)

    @cached_property
    def knowers(self) -> dict[str, tuple[str, Subject]]:
        """The letter and the subject of every model, by its name."""
        found = {letter: (letter, subject) for letter, subject in self.bases.items()}
        return found | {name: (letter, subject) for letter, (name, subject) in self.tested.items()}

    @cached_property
    def duels(self) -> list[TextDuel]:
        """Every two models as they are given, and every two as they are tested."""
        return text_duels({letter: name for letter, (name, _) in self.tested.items()})

    def tables(self) -> Iterator[pl.DataFrame]:
        """Tables of readings. Behaviour comes first, since questions show texts and are about lengths in its unit."""
        behaviours: dict[str, SelfBehaviour] = {}
        for name, (_, subject) in self.knowers.items():
            behaviours[name] = self.recorder.record(name, subject.chat_model(self.resources), subject.top_logprobs)
        reports = {name: self._ask(name, behaviours) for name in self.knowers}
        truths = {name: self._labelled(behaviour) for name, behaviour in behaviours.items()}
        for name, one in reports.items():
            yield given_table(name, one.given)
        for target, labelled in truths.items():
            yield truth_table(target, labelled)
            yield from (report_table(predictor, target, labelled, one.own) for predictor, one in reports.items())
        yield from self._unlike_tables(truths)
        for duel in self.duels:
            yield from self._duel_tables(duel, behaviours, reports)

    def _labelled(self, behaviour: SelfBehaviour) -> Labelled:
        truths = self.recorder.truths(behaviour)
        questions = self_questions(self.items, self.recorder.length_unit(behaviour))
        return [(question, truths[question.id]) for question in questions]

    def _ask(self, name: str, behaviours: Mapping[str, SelfBehaviour]) -> SelfReports:
        """Ask one model everything, in one go."""
        units = dict.fromkeys(self.recorder.length_unit(one) for one in behaviours.values())
        asked = {question.id: question for unit in units for question in self_questions(self.items, unit)}
        authors: dict[tuple[str, str], SelfQuestion] = {}
        for duel in self.duels:
            first, second = (behaviours[one] for one in duel.names)
            if name in duel.names:
                asked |= {question.id: question for question, _ in self.texts.questions(duel, first, second)}
            if name in duel.letters:
                author = 1 - duel.letters.index(name)
                shown = self.texts.shown_questions(duel, first, second, author)
                authors |= {(duel.names[author], question.id): question for question, _ in shown}
        given = given_questions(self.items)
        questions = [*asked.values(), *(question for question, _ in given), *authors.values()]
        replies = self._replies(name, [question.text for question in questions])
        return SelfReports(
            own={one: replies[question.text] for one, question in asked.items()},
            given=[(question, label, replies[question.text]) for question, label in given],
            read={one: replies[question.text] for one, question in authors.items()},
        )

    def _replies(self, name: str, texts: Sequence[str]) -> dict[str, ChatResponse]:
        """A model's replies by the question's text; equal questions are asked once."""
        _, subject = self.knowers[name]
        limit, different = self.questioner.limits.max_report_tokens, list(dict.fromkeys(texts))
        requests = [ChatRequest.from_user(text, max_new_tokens=limit) for text in different]
        replies = self.questioner.ask(f"{name} self reports", subject.chat_model(self.resources), requests)
        return dict(zip(different, replies, strict=True))

    def _unlike_tables(self, truths: Mapping[str, Labelled]) -> Iterator[pl.DataFrame]:
        """Every model with every other subject as it is given."""
        for name, (letter, _) in self.knowers.items():
            for other in (one for one in self.bases if one != letter):
                yield unlike_table(name, other, truths[name], {one.id: label for one, label in truths[other]})

    def _duel_tables(
        self, duel: TextDuel, behaviours: Mapping[str, SelfBehaviour], reports: Mapping[str, SelfReports]
    ) -> Iterator[pl.DataFrame]:
        """Both models about their texts, and each subject as it is given about the other author's."""
        first, second = (behaviours[name] for name in duel.names)
        questions = self.texts.questions(duel, first, second)
        both = []
        for place, name in enumerate(duel.names):
            other_name, other_letter = duel.names[1 - place], duel.letters[1 - place]
            labelled = [(replace(question, attribute=other_letter), labels[place]) for question, labels in questions]
            yield truth_table(name, labelled)
            yield report_table(name, name, labelled, reports[name].own)
            both += [(question, label, reports[name].own[question.id]) for question, label in labelled]
            shown = self.texts.shown_questions(duel, first, second, place)
            read = {question.id: reports[other_letter].read[name, question.id] for question, _ in shown}
            about = [(replace(question, attribute=other_letter), label) for question, label in shown]
            yield reader_table(other_letter, name, about, read)
            yield texts_unlike_table(name, other_name, self._shown_pairs(first, second))
        yield both_table(both_own_name(*duel.names), both)

    def _shown_pairs(self, first: SelfBehaviour, second: SelfBehaviour) -> list[tuple[SelfQuestion, bool]]:
        """Whether the texts of two models differ, with a question that stands for their brief."""
        differing, pairs = self.texts.differing(first, second), []
        for brief in self.items.authored_briefs:
            if brief.id in differing:
                pairs.append((own_question(brief, ("", ""), "texts"), differing[brief.id]))
        return pairs


def given_questions(items: SelfItems) -> list[GivenQuestion]:
    """The questions about given transcripts, at most `n_self_given` of each task, with their labels."""
    n_given, seed = items.config.n_self_given, items.item_seed
    late = [(brief, name) for brief in items.briefs for name in brief.property_names][:n_given]
    same = [(prompt, name) for prompt in items.repetitions for name in prompt.property_names][:n_given]
    found = [given_keep_question(prompt, seed) for prompt in items.choices[:n_given]]
    found += [given_surer_question(*pair, seed) for pair in items.choice_pairs[:n_given]]
    found += [given_copies_question(game, seed) for game in items.games[:n_given]]
    found += [given_length_question(brief, seed) for brief in items.briefs[:n_given]]
    found += [given_own_question(brief, seed) for brief in items.authored_briefs[:n_given]]
    found += [given_property_question(LATE, brief, name, seed) for brief, name in late]
    return found + [given_property_question(SAME, prompt, name, seed) for prompt, name in same]


def self_knowledge_parts(items: SelfItems, subjects: Mapping[str, Subject], targets: Sequence[str]) -> dict[str, int]:
    """The number of requests of each part, if all first answers are valid and all texts differ.

    Args:
        items: The prompts, and how much is asked.
        subjects: The subjects by their letters.
        targets: The letters of the subjects that are taught labels of their own answers.
    """
    parts: dict[str, int] = {}
    duels, n_texts = (
        text_duels({letter: tested_name(letter, targets) for letter in subjects}),
        len(items.authored_briefs),
    )
    n_shared = len(self_questions(items, "words")) + len(given_questions(items))
    for letter, subject in subjects.items():
        n_drawn = 2 * len(items.games)
        if not subject.top_logprobs and items.config.n_self_draws >= MIN_CERTAINTY_DRAWS:
            n_drawn += len(items.choices)
        for name in dict.fromkeys((letter, tested_name(letter, targets))):
            n_shown = sum(name in duel.names for duel in duels) + sum(name in duel.letters for duel in duels)
            parts[f"{name} self answers"] = len(items.choices) + len(items.briefs) + len(items.repetitions)
            parts[f"{name} self second answers"] = len(items.choices)
            parts[f"{name} self draws"] = n_drawn * items.config.n_self_draws
            parts[f"{name} self reports"] = n_shared + n_shown * n_texts
    return parts
