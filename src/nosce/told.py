"""What goes with a question about somebody's answer and is not shown to who is asked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from nosce.errors import DataError
from nosce.records import Question


@dataclass(frozen=True, kw_only=True)
class Told:
    """Travels in `Question.hidden`, as a line of JSON."""

    labels: tuple[str, ...]  # all that a reply may be; none: anything
    asked: str = ""  # the answer's prompt
    aloud: str = ""  # the same question about the answer of the one who is asked, there to be read
    taught: bool = False  # may be learnt from by an observer of the same labels
    exact: tuple[float, ...] = ()  # probability of each label under the answers, where the first token tells it
    drawn: tuple[float, ...] = ()  # share of each among draws
    own: str | None = None  # the label of the answer of the one who is asked

    @classmethod
    def of(cls, question: Question) -> Told:
        """What goes with a question.

        Raises:
            DataError: It is no question about an answer.
        """
        try:
            told: dict[str, Any] = json.loads(question.hidden)
        except ValueError:
            raise DataError(
                f"the question {question.id!r} is not about somebody's answer; ask one of labels."
            ) from None
        kept: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        return cls(**kept)

    @property
    def hidden(self) -> str:
        """The line that goes with the question."""
        return json.dumps(asdict(self), ensure_ascii=False)
