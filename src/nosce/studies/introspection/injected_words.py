"""The words that stand for concepts where states are injected into models in folders."""

from __future__ import annotations

import re
from pathlib import Path

from nosce.errors import UsageError
from nosce.evals.injection.chat import NEUTRAL_EXCHANGES, NO, NO_CONCEPT, WHETHER_QUESTION, YES

#: Concrete nouns that the neutral texts do not have; most tokenizers begin each with another token.
CONCEPT_WORDS = (
    "bread",
    "candle",
    "desert",
    "engine",
    "forest",
    "garden",
    "hammer",
    "island",
    "jacket",
    "kitchen",
    "lemon",
    "mirror",
    "needle",
    "ocean",
    "piano",
    "rabbit",
    "silver",
    "tiger",
    "umbrella",
    "volcano",
)
MIN_CONCEPTS = 4  # two that are taught and two that are not, so that there is an interval over each


def concept_words(file: str) -> tuple[str, ...]:
    """The words of a text file, one a line, in small letters; those of `CONCEPT_WORDS` where no file is named.

    Raises:
        UsageError: The file cannot be read, a line is not one word, a word stands twice, is a reply or is in the
            neutral texts, or there are fewer than four words.
    """
    if not file:
        return CONCEPT_WORDS
    try:
        lines = Path(file).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"--set concepts={file} cannot be read ({reason}); name a text file of words.") from None
    words = [line.strip().lower() for line in lines if line.strip()]
    used = set(re.findall(r"\w+", " ".join([WHETHER_QUESTION, *map(" ".join, NEUTRAL_EXCHANGES)]).lower()))
    for place, word in enumerate(words):
        if not word.isalpha() or word in (YES, NO, NO_CONCEPT) or word in used or word in words[:place]:
            raise UsageError(
                f"--set concepts={file} has the line {word[:40]!r}, which is not one word, stands twice, or is in the "
                "neutral texts; write other words of letters, one a line."
            )
    if len(words) < MIN_CONCEPTS:
        raise UsageError(f"--set concepts={file} has {len(words)} words; write {MIN_CONCEPTS} or more, one a line.")
    return tuple(words)
