"""Masked words as training targets for a bidirectional model.

Each word of a document is picked with probability 15 %. A picked word becomes the mask token in 80 % of the cases,
stays in 10 % and becomes random tokens in 10 %; all its tokens are treated alike. Of a question, every token of the
answer is masked, so the model sees the length of the answer and nothing else.

Source: Allen-Zhu and Li 2023 (arXiv:2309.14316), section 7 and appendix H (after Devlin et al. 2018, with whole words).
Letters: N positions, V tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from nosce.data.sampling import IGNORE_INDEX, Batch
from nosce.data.tokenizer import EOS_TOKEN, MASK_TOKEN, PAD_TOKEN, UNK_TOKEN
from nosce.errors import SpecError
from nosce.seeds import Seed

MASK_PROB = 0.15  # probability that a word is picked
MASK_TOKEN_SHARE, UNCHANGED_SHARE = 0.8, 0.1  # shares of the picked words; the others become random
BYTE_LEVEL_SPACE = "\u0120"  # how byte-level tokenizers spell the space before a word


@dataclass(frozen=True, eq=False)
class WholeWordMasking:
    """The masking of a training run's batches. The same step is always masked alike.

    Args:
        mask_id: Id of the mask token.
        starts_word: Whether a token begins a word. Shape: (V,), bool.
        random_token_ids: Tokens that may replace a picked word: all but the special tokens.
        seed: Seed of the masks; each step has its own.
        mask_prob: Probability that a word of a document is picked. 0.15, as in the paper.
    """

    mask_id: int
    starts_word: np.ndarray
    random_token_ids: np.ndarray
    seed: Seed
    mask_prob: float = MASK_PROB

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer, seed: Seed) -> WholeWordMasking:
        """The masking for texts of this tokenizer.

        Raises:
            SpecError: The tokenizer has no mask token.
        """
        mask_token_id = tokenizer.token_to_id(MASK_TOKEN)
        if mask_token_id is None:
            raise SpecError(
                "a bidirectional model needs a mask token, but its tokenizer has none; set has_mask_token=True."
            )
        token_strings = [tokenizer.id_to_token(number) or "" for number in range(tokenizer.get_vocab_size())]
        is_byte_level = any(name.startswith(BYTE_LEVEL_SPACE) for name in token_strings)  # tokens are parts of words
        is_word_start = np.array([not is_byte_level or name.startswith(BYTE_LEVEL_SPACE) for name in token_strings])
        ordinary_ids = np.array(
            [n for n, name in enumerate(token_strings) if name not in (EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, MASK_TOKEN)]
        )
        return cls(mask_token_id, is_word_start, ordinary_ids, seed)

    def mask_batch(self, batch: Batch, step: int) -> Batch:
        """The batch of a step, with labels where a word must be predicted.

        Args:
            batch: A batch from `pack` without a window: each sequence is the opening end token, then the text without
                its end.
            step: Number of the step.
        """
        rng = (self.seed / step).numpy()
        positions = batch.positions
        is_text = positions > 0
        prompt_lens = np.zeros(len(batch.lengths), dtype=np.int64) if batch.prompt_len is None else batch.prompt_len
        in_question = np.repeat(prompt_lens > 0, batch.lengths)
        is_word_start = is_text & (self.starts_word[batch.inputs] | (positions == 1))
        word_index = np.cumsum(is_word_start)  # the number of each token's word
        draws = rng.random((2, int(word_index[-1]) + 1))
        is_target = is_text & ~in_question & (draws[0, word_index] < self.mask_prob)
        if not is_target.any() and not in_question.any():  # a step must learn something
            is_target = is_text & (word_index == word_index[is_text][0])
        replacement_draw = draws[1, word_index]
        random_tokens = self.random_token_ids[rng.integers(len(self.random_token_ids), size=len(word_index))]
        is_answer = in_question & (positions > np.repeat(prompt_lens, batch.lengths))
        inputs = np.where(is_target & (replacement_draw < MASK_TOKEN_SHARE) | is_answer, self.mask_id, batch.inputs)
        inputs = np.where(is_target & (replacement_draw >= MASK_TOKEN_SHARE + UNCHANGED_SHARE), random_tokens, inputs)
        labels = np.where(is_target | is_answer, batch.inputs, IGNORE_INDEX)
        return replace(batch, inputs=inputs, labels=labels, weights=None)
