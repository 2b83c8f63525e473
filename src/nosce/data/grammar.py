"""Grammars over tokens: the allowed next tokens, as a table over states.

Under a grammar, a model's reply is its most likely text among the well-formed ones, so its content can be scored before
the model has learnt the format. Letters: S states, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nosce.errors import SpecError

FORBIDDEN = -1  # in place of the next state, where a token is not allowed


@dataclass(frozen=True, slots=True, eq=False)
class TokenGrammar:
    """A deterministic automaton that reads tokens. Writing begins in state 0.

    The end token finishes a text, whatever its next state is.

    Args:
        transitions: The state after token v in state s, or `FORBIDDEN` if v is not allowed in s. Shape: (S, V), int32.
    """

    transitions: np.ndarray

    def __post_init__(self) -> None:
        dead_ends = np.flatnonzero((self.transitions == FORBIDDEN).all(1))
        if len(dead_ends):
            raise SpecError(f"state {dead_ends[0]} of a grammar allows no token; allow at least the end token.")

    @property
    def allowed(self) -> np.ndarray:
        """Which tokens each state allows. Shape: (S, V), bool."""
        allowed_tokens: np.ndarray = self.transitions != FORBIDDEN
        return allowed_tokens

    def with_vocabulary(self, n_tokens: int) -> TokenGrammar:
        """The grammar over so many tokens. A model may have more than its tokenizer, or fewer, which no text needs.

        Raises:
            SpecError: The grammar allows a token that would be left out.
        """
        n_known = self.transitions.shape[1]
        if n_known > n_tokens and self.allowed[:, n_tokens:].any():
            raise SpecError(f"a grammar of {n_known} tokens does not fit a model of {n_tokens}; use its tokenizer.")
        transitions = np.full((len(self.transitions), n_tokens), FORBIDDEN, dtype=self.transitions.dtype)
        transitions[:, :n_known] = self.transitions[:, :n_tokens]
        return TokenGrammar(transitions)

    def accepts(self, tokens: np.ndarray) -> bool:
        """Whether the grammar allows these tokens, from state 0 on."""
        state = 0
        for token in tokens:
            if state == FORBIDDEN:
                return False
            state = int(self.transitions[state, token])
        return state != FORBIDDEN
