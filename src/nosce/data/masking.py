"""Words that are masked and to be told: how a model learns that sees both ways.

Of a text that is only to be learnt, each word is picked with a probability of 15 %. A picked word becomes the mask in
80 % of the cases, stays in 10 % and becomes random tokens in 10 %; all its tokens share that fate. Of a question all
of the answer is masked, so that its length is told and nothing else.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), section 7 and appendix H (after Devlin et al. 2018, with whole words).
Letters: N positions, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from nosce.data.sampling import IGNORED, Batch
from nosce.data.tokenizer import END, MASK, PAD, UNKNOWN
from nosce.errors import SpecError
from nosce.seeds import Seed

PICKED = 0.15  # probability of a word
MASKED, KEPT = 0.8, 0.1  # shares of the picked words; the others become random
BLANK = "\u0120"  # how byte-level tokenizers spell the space before a word


@dataclass(frozen=True, eq=False)
class Masking:
    """How batches of one training are masked; the same step is always masked alike."""

    mask: int
    begins: np.ndarray  # (V,) bool: does this token begin a word?
    ordinary: np.ndarray  # tokens that may stand in a text
    seed: Seed
    picked: float = PICKED

    @classmethod
    def of(cls, tokenizer: Tokenizer, seed: Seed) -> Masking:
        """For texts of this tokenizer.

        Raises:
            SpecError: It has no mask.
        """
        mask = tokenizer.token_to_id(MASK)
        if mask is None:
            raise SpecError(
                "a model that sees both ways was to be trained, but its tokenizer has no mask; say mask=True."
            )
        names = [tokenizer.id_to_token(number) or "" for number in range(tokenizer.get_vocab_size())]
        spelt = any(name.startswith(BLANK) for name in names)  # tokens are parts of words
        begins = np.array([not spelt or name.startswith(BLANK) for name in names])
        ordinary = np.array([n for n, name in enumerate(names) if name not in (END, PAD, UNKNOWN, MASK)])
        return cls(mask, begins, ordinary, seed)

    def masked(self, batch: Batch, step: int) -> Batch:
        """The batch of a step with its labels where a word is to be told.

        Args:
            batch: As `pack` makes it of texts that stand alone: the opening end token, then the text without its end.
        """
        rng = (self.seed / step).numpy()
        places = batch.positions
        text = places > 0
        given = np.zeros(len(batch.lengths), dtype=np.int64) if batch.given is None else batch.given
        asked = np.repeat(given > 0, batch.lengths)
        word = np.cumsum(text & (self.begins[batch.inputs] | (places == 1)))  # the number of each token's word
        draws = rng.random((2, int(word[-1]) + 1))
        told = text & ~asked & (draws[0, word] < self.picked)
        if not told.any() and not asked.any():  # a step must learn something
            told = text & (word == word[text][0])
        fate = draws[1, word]
        random = self.ordinary[rng.integers(len(self.ordinary), size=len(word))]
        answer = asked & (places > np.repeat(given, batch.lengths))
        inputs = np.where(told & (fate < MASKED) | answer, self.mask, batch.inputs)
        inputs = np.where(told & (fate >= MASKED + KEPT), random, inputs)
        labels = np.where(told | answer, batch.inputs, IGNORED)
        return replace(batch, inputs=inputs, labels=labels, weights=None)
