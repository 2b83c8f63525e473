"""What a study says was chosen after readings had been seen; it is kept with the plan of every run."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """Something about a study that was chosen after readings had been seen, which its verdicts cannot tell.

    Args:
        chosen: What was chosen or changed, as a sentence without its full stop.
        after: The readings that had been seen by then, as a phrase, e.g. "seed 0 of the reported seeds".
        reported: Whether these are readings that the study reports: of its own seeds, or of its own test items.
        claims: The claims that the choice bears on: ids, or patterns as of `fnmatch`. Empty: the whole study.
    """

    chosen: str
    after: str
    reported: bool
    claims: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        which = "that this study reports" if self.reported else "that no study reports"
        return f"{self.chosen}: chosen after {self.after} (readings {which})."

    def bears_on(self, claim: str) -> bool:
        """Is the claim of this id named by an id or a pattern?"""
        return any(fnmatchcase(claim, pattern) for pattern in self.claims)
