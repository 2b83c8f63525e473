"""A grammar lets through what an independent reading of its rule lets through, and refuses to be stuck."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nosce.data.grammar import FORBIDDEN, TokenGrammar
from nosce.errors import SpecError

END, OPEN, CLOSE, WORD = range(4)


def brackets() -> TokenGrammar:
    """Words in brackets that are closed again, at most two deep; the end only where all are."""
    then = np.full((3, 4), FORBIDDEN, dtype=np.int32)
    for depth in range(3):
        then[depth, WORD] = depth
        if depth < 2:
            then[depth, OPEN] = depth + 1
        if depth > 0:
            then[depth, CLOSE] = depth - 1
    then[0, END] = 0
    return TokenGrammar(then)


def well_formed(tokens: tuple[int, ...]) -> bool:
    """The same rule, read from how deep the text is everywhere."""
    depths = [sum({OPEN: 1, CLOSE: -1}.get(token, 0) for token in tokens[:read]) for read in range(len(tokens) + 1)]
    ends = [depths[place] for place, token in enumerate(tokens) if token == END]
    return min(depths) >= 0 and max(depths) <= 2 and not any(ends)


def test_a_grammar_accepts_what_its_rule_accepts():
    """Of all texts of up to six tokens those, and no other, also when they go on behind the mistake."""
    grammar = brackets()
    texts = [text for length in range(7) for text in product(range(4), repeat=length)]
    accepted = [grammar.accepts(np.array(text, dtype=int)) for text in texts]
    assert accepted == [well_formed(text) for text in texts]
    assert 0.05 < np.mean(accepted) < 0.5


def test_what_is_allowed_leads_somewhere():
    """A token may stand in a state where the table names the state behind it, state 0 included."""
    allowed = brackets().allowed
    assert allowed.dtype == bool
    assert allowed.astype(int).tolist() == [[1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1]]


def test_a_state_that_lets_nothing_be_written_is_refused():
    """A model that came there could choose among nothing; the sentence names the state."""
    then = brackets().transitions.copy()
    then[2] = FORBIDDEN
    with pytest.raises(SpecError, match=r"^state 2 of a grammar allows no token; .*\.$"):
        TokenGrammar(then)


def test_a_grammar_fits_a_model_with_more_tokens_than_its_tokenizer():
    """What the tokenizer lacks is forbidden; tokens that the model lacks may be left out if no state allows them."""
    grammar = TokenGrammar(np.array([[1, FORBIDDEN, FORBIDDEN], [FORBIDDEN, 0, FORBIDDEN]]))
    wider = grammar.with_vocabulary(5)
    assert wider.transitions.tolist() == [[1, -1, -1, -1, -1], [-1, 0, -1, -1, -1]]
    assert np.array_equal(wider.with_vocabulary(2).transitions, grammar.transitions[:, :2])
    with pytest.raises(SpecError, match=r"a grammar of 3 tokens does not fit a model of 1; .*\.$"):
        grammar.with_vocabulary(1)
