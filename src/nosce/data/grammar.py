"""Grammars over tokens: what may be written next, as a table over states.

A model that writes under a grammar is asked for its first choice among the tokens that keep the text well formed,
so that what it means can be judged before it has learnt the form. Letters: S states, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nosce.errors import SpecError

FORBIDDEN = -1  # where a token leads that may not be written


@dataclass(frozen=True, slots=True, eq=False)
class TokenGrammar:
    """A deterministic automaton that reads tokens; writing begins in state 0.

    `then[s, v]` is the state behind token v, `FORBIDDEN` where v may not stand in state s. A text is finished by the
    end token, wherever that leads.
    """

    transitions: np.ndarray  # (S, V) int32

    def __post_init__(self) -> None:
        dead_ends = np.flatnonzero((self.transitions == FORBIDDEN).all(1))
        if len(dead_ends):
            raise SpecError(f"state {dead_ends[0]} of a grammar lets no token be written; allow at least the end.")

    @property
    def allowed(self) -> np.ndarray:
        """Which tokens may stand in each state. Shape: (S, V), bool."""
        allowed_tokens: np.ndarray = self.transitions != FORBIDDEN
        return allowed_tokens

    def accepts(self, tokens: np.ndarray) -> bool:
        """May these tokens be written, one after the other from the beginning?"""
        state = 0
        for token in tokens:
            if state == FORBIDDEN:
                return False
            state = int(self.transitions[state, token])
        return state != FORBIDDEN
