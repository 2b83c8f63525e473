"""Which text is whose: two models' answers to one brief, side by side, shown to both and to others.

Two models are shown the same two texts in the same order, so that a preference for one of the texts makes one model
right and the other wrong. A model that is not the author is shown other texts of the author, and needs no self for it.

Source: Panickssery et al. 2024 (arXiv:2404.13076), section 2, for the choice between two texts; examples of the author
for a reader without a self are our own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from nosce.data.worlds.behaviours.base import BehaviourPrompt
from nosce.data.worlds.behaviours.self_knowledge import ONE_OR_TWO, SelfQuestion, own_question, shown_text
from nosce.studies.introspection.prompted_self_truths import BehaviourRecorder, SelfBehaviour

MAX_EXAMPLES = 3  # texts of an author that a reader is shown


@dataclass(frozen=True)
class TextDuel:
    """Two models whose texts are compared.

    Args:
        letters: The letters of the two subjects.
        names: The models: both as they are given, or both as they are tested.
    """

    letters: tuple[str, str]
    names: tuple[str, str]


def text_duels(tested: Mapping[str, str]) -> list[TextDuel]:
    """Every two models as they are given, and every two as they are tested.

    Args:
        tested: The model that is tested in each subject's place, by the subject's letter.
    """
    found = []
    for letters in combinations(tested, 2):
        names = (tested[letters[0]], tested[letters[1]])
        found += [TextDuel(letters, pair) for pair in dict.fromkeys((letters, names))]
    return found


@dataclass(frozen=True, eq=False)
class AuthoredTexts:
    """The questions of the task `own`.

    Args:
        recorder: The briefs, and what a valid answer is.
    """

    recorder: BehaviourRecorder

    def differing(self, first: SelfBehaviour, second: SelfBehaviour) -> dict[str, bool]:
        """Whether the two texts differ as they are shown, by the brief's id, where both models answered."""
        found = {}
        for brief in self.recorder.items.authored_briefs:
            texts = [shown_text(self.recorder.text_of(brief, one)) for one in (first, second)]
            if all(texts):
                found[brief.id] = texts[0] != texts[1]
        return found

    def questions(
        self, duel: TextDuel, first: SelfBehaviour, second: SelfBehaviour
    ) -> list[tuple[SelfQuestion, tuple[str, str]]]:
        """Which text is yours? With the label of each of the two models."""
        name = " and ".join(duel.names)
        pairs = self._pairs(name, first, second)
        return [(own_question(brief, texts, name), labels) for brief, texts, labels in pairs]

    def shown_questions(
        self, duel: TextDuel, first: SelfBehaviour, second: SelfBehaviour, author: int
    ) -> list[tuple[SelfQuestion, str]]:
        """Which text is by the author of other texts? With its label.

        Args:
            duel: The two models.
            first: What the first did.
            second: What the second did.
            author: 0: the first is the author. 1: the second.
        """
        name, behaviour = " and ".join(duel.names), (first, second)[author]
        questions = []
        for brief, texts, labels in self._pairs(name, first, second):
            if examples := self._examples(brief, behaviour):
                questions.append((own_question(brief, texts, name, examples), labels[author]))
        return questions

    def _pairs(
        self, name: str, first: SelfBehaviour, second: SelfBehaviour
    ) -> Iterator[tuple[BehaviourPrompt, tuple[str, str], tuple[str, str]]]:
        """Each brief with two texts that differ, in random order, and the labels of both models."""
        differing = self.differing(first, second)
        for brief in self.recorder.items.authored_briefs:
            if differing.get(brief.id):
                texts = (self.recorder.text_of(brief, first), self.recorder.text_of(brief, second))
                is_swapped = bool((self.recorder.items.item_seed / "order" / name / brief.id).numpy().integers(2))
                one, two = ONE_OR_TWO
                yield (brief, texts[::-1], (two, one)) if is_swapped else (brief, texts, (one, two))

    def _examples(self, brief: BehaviourPrompt, behaviour: SelfBehaviour) -> Sequence[str]:
        """The author's texts in reply to the next briefs."""
        briefs = self.recorder.items.authored_briefs
        place = briefs.index(brief)
        texts = [self.recorder.text_of(other, behaviour) for other in (*briefs[place + 1 :], *briefs[:place])]
        return [text for text in texts if text][:MAX_EXAMPLES]
