"""Whole words are masked as often as is said, and answers whole; what is to be told is what stood there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from nosce.data import tokenizer as tokenizers
from nosce.data.masking import WholeWordMasking
from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import IGNORE_INDEX, Batch, pack
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import SpecError
from nosce.seeds import Seed

SAMPLES = ["the unhurried gardener of Northfield counts seventeen unripe tomatoes every morning before breakfast"] * 9
SURE = 1e-6  # a false alarm in a million runs


def made(kind: str):
    """A tokenizer with a mask; byte pairs are few, so that words have several tokens."""
    return tokenizers.build_tokenizer(TokenizerSpec(kind=kind, vocab_size=300, has_mask_token=True), SAMPLES)


def batch(tokenizer, texts: int = 400, given: int = 0) -> Batch:
    """Texts of the samples' words in any order, of which the first tokens are given."""
    rng = np.random.default_rng(3)
    words = SAMPLES[0].split()
    parts = []
    for _ in range(texts):
        ids = tokenizer.encode(" ".join(rng.choice(words, 12)), add_special_tokens=False).ids
        parts.append((np.array([*ids, 0], dtype=np.int32), np.arange(len(ids) + 1) >= given))
    return pack(dataset_from_arrays(parts), np.arange(texts), window=None, eos_id=0)


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_words_are_masked_whole_and_as_often_as_is_said(kind):
    """15 % of words; of these 80 % become the mask, 10 % stay, 10 % become anything; all tokens of a word alike."""
    tokenizer = made(kind)
    whole = batch(tokenizer)
    masked = WholeWordMasking.from_tokenizer(tokenizer, Seed(1)).mask_batch(whole, 5)
    names = [tokenizer.id_to_token(n) for n in range(tokenizer.get_vocab_size())]
    words, fates = [], []
    first = 0
    for length in whole.lengths:
        for at in range(first + 1, first + length):  # the opening end is no word
            if kind == "word" or names[whole.inputs[at]].startswith("Ġ") or at == first + 1:
                words.append([])
            words[-1].append(at)
        first += length
    for word in words:
        told = masked.labels[word] != IGNORE_INDEX
        assert told.all() or not told.any()
        assert (masked.labels[word][told] == whole.inputs[word][told]).all()
        if told.all():
            fates.append((masked.inputs[word] == tokenizer.token_to_id("<mask>")).all())
        else:
            assert (masked.inputs[word] == whole.inputs[word]).all()
    assert binomtest(len(fates), len(words), 0.15).pvalue > SURE
    assert binomtest(sum(map(int, fates)), len(fates), 0.8).pvalue > SURE
    others = [
        w
        for w in words
        if masked.labels[w[0]] != IGNORE_INDEX and masked.inputs[w[0]] != tokenizer.token_to_id("<mask>")
    ]
    kept = sum((masked.inputs[w] == whole.inputs[w]).all() for w in others)
    assert binomtest(int(kept), len(others), 0.5 + 0.5 / len(names)).pvalue > SURE
    assert (masked.labels[np.cumsum(whole.lengths) - whole.lengths] == IGNORE_INDEX).all()
    if kind == "bpe":
        assert max(map(len, words)) > 1


def test_answers_are_masked_whole_and_prompts_not_at_all():
    """Of a question everything behind the prompt is hidden and nothing else."""
    tokenizer = made("word")
    whole = batch(tokenizer, texts=50, given=8)
    masked = WholeWordMasking.from_tokenizer(tokenizer, Seed(1)).mask_batch(whole, 0)
    answer = whole.positions > 8
    assert (masked.inputs[answer] == tokenizer.token_to_id("<mask>")).all()
    assert (masked.labels[answer] == whole.inputs[answer]).all()
    assert (masked.inputs[~answer] == whole.inputs[~answer]).all()
    assert (masked.labels[~answer] == IGNORE_INDEX).all()


def test_a_step_is_masked_alike_and_another_otherwise():
    """The draws are the seed's and the step's; no step learns nothing."""
    tokenizer = made("word")
    whole, masking = batch(tokenizer, texts=3), WholeWordMasking.from_tokenizer(tokenizer, Seed(1))
    assert (masking.mask_batch(whole, 4).inputs == masking.mask_batch(whole, 4).inputs).all()
    assert (masking.mask_batch(whole, 4).labels != masking.mask_batch(whole, 5).labels).any()
    few = batch(tokenizer, texts=1)
    assert all(masking.mask_batch(few, step).n_loss_tokens for step in range(60))


def test_a_tokenizer_without_a_mask_is_refused():
    """The message says what to do."""
    plain = tokenizers.build_tokenizer(TokenizerSpec(), SAMPLES)
    with pytest.raises(SpecError, match="has_mask_token=True"):
        WholeWordMasking.from_tokenizer(plain, Seed(1))
