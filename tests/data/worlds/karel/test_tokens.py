"""Programs in the tokens of tokenizers that were made for other texts: places are where the words are, or none."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from nosce.data import tokenizer as tokenizers
from nosce.data.packing import concat_datasets, encode, tokenize_documents, tokenize_questions
from nosce.data.worlds.karel.language import KAREL_OPERATIONS, program_words
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.data.worlds.karel.tokens import OperationTokens, check_program_tokens, fit_to_tokenizer, uniform_layout
from nosce.errors import DataError, SpecError

END = "</s>"
TEXTS = ["turn the robot to the right, move it and put a marker down", "IN . . # OUT CODE move", "pick it up again"] * 9


def _trained(tokenizer: Tokenizer, texts: list[str], vocab_size: int) -> Tokenizer:
    special = [END, *(f"<0x{byte:02X}>" for byte in range(256))]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_level(texts: list[str] = TEXTS, vocab_size: int = 620) -> Tokenizer:
    """As of GPT-2 and CodeGen: a word behind a space has other tokens than the same word at the start of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, texts, vocab_size)


def llama_like() -> Tokenizer:
    """As of Llama 2: a sign for the space is put in front of every text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token=END))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    return _trained(tokenizer, ["move turn right left"[n : n + 4] for n in range(16)], 560)


def gemma_like() -> Tokenizer:
    """As of Gemma: a sign for each space, and none in front."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token=END))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _trained(tokenizer, ["move", "turn", "right", " "], 540)


KINDS = {"byte-level": byte_level, "llama": llama_like, "gemma": gemma_like}
PREFIXES = {"byte-level": " ", "llama": "", "gemma": " "}


@pytest.fixture(params=KINDS, ids=str)
def fitted(request, micro):
    """A world in the tokens of each kind of tokenizer."""
    tokenizer = KINDS[request.param]()
    world = fit_to_tokenizer(micro, tokenizer)
    assert world.target_prefix == PREFIXES[request.param]
    return world, tokenizer


def test_a_question_has_the_tokens_of_a_document(fitted, place):
    """What is trained on and what is asked are the same tokens, whatever the tokenizer does at the start of a text."""
    world, tokenizer = fitted
    end = tokenizer.token_to_id(END)
    questions = list(islice(world.questions(place), 30))
    asked = tokenize_questions(tokenizer, questions, end)
    texts = [question.prompt + " " + question.target.strip() for question in questions]
    for index, encoding in enumerate(encode(tokenizer, texts)):
        assert asked.text_tokens(index).tolist() == [*encoding.ids, end]


def test_places_are_the_tokens_that_tell_the_operation(fitted, place):
    """Up to and with the telling token only one operation is possible, and without it several are."""
    world, tokenizer = fitted
    scorer, ids = KarelScorer(world=world), OperationTokens.of(world, tokenizer).ids
    for question in islice(world.questions(place), 30):
        words = list(program_words(world.record_encoding.parse_reply(question.target)))
        tokens = np.array(tokenizer.encode(question.target, add_special_tokens=False).ids)
        starts = np.cumsum([0, *(len(ids[KAREL_OPERATIONS.index(word)]) for word in words)])
        for word, start, position in zip(words, starts, scorer.operation_positions(tokenizer, tokens), strict=False):
            written = tuple(tokens[start : position + 1])
            assert [
                name for name, one in zip(KAREL_OPERATIONS, ids, strict=True) if one[: len(written)] == written
            ] == [word]
            assert sum(one[: len(written) - 1] == written[:-1] for one in ids) > 1
        assert (
            scorer.opening_positions(tokenizer, tokens) == starts[:-1] + len(scorer.shared_opening(tokenizer))
        ).all()


def test_left_and_right_are_told_apart_late(micro):
    """Both begin with the tokens of `turn`: the place is the position that has read `turn`."""
    tokenizer = byte_level()
    world = fit_to_tokenizer(micro, tokenizer)
    ids = tokenizer.encode(" turnLeft", add_special_tokens=False)
    (place,) = KarelScorer(world=world).operation_positions(tokenizer, np.array(ids.ids))
    assert tokenizer.decode(ids.ids[:place]) == " turn"


def test_the_grammar_writes_these_tokens(fitted, place):
    """Every author's program can be written under it, and every reply is read back."""
    world, tokenizer = fitted
    scorer = KarelScorer(world=world, max_operations=8)
    for question in islice(world.questions(place), 30):
        ids = tokenizer.encode(question.target, add_special_tokens=False).ids
        text = tokenizer.decode(ids)
        assert len(ids) < scorer.max_new_tokens(tokenizer)
        (metrics,) = scorer.score([question], [text], [True])
        assert metrics["strict"] == (1.0, "right")
        assert metrics["reference"] == (1.0, "right") or not world.target_prefix
        assert len(scorer.operation_positions(tokenizer, np.array(ids))) == metrics["length"][0]


def test_texts_of_unequal_cells_are_read_as_texts(fitted, place):
    """A world writes tokens itself only where every cell and operation has equally many."""
    world, tokenizer = fitted
    own = world.encoded_documents(place, tokenizer, tokenizer.token_to_id(END))
    assert (own is None) == (uniform_layout(world, tokenizer) is None)
    if own is not None:
        documents = list(world.documents(place))
        read = tokenize_documents(
            documents, list(encode(tokenizer, (d.text for d in documents))), tokenizer.token_to_id(END)
        )
        assert np.array_equal(concat_datasets(list(own)).tokens, read.tokens)


def test_a_token_over_two_words_is_refused(micro, place):
    """A tokenizer that merges over spaces has no places for words, with either prefix."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.Fuse()
    _trained(tokenizer, ["CODE move move turnLeft turnRight move"] * 50, 700)
    for prefix in ("", " "):
        with pytest.raises(DataError, match=r"(other tokens than its words have behind|decode to).*\.$"):
            check_program_tokens(replace(micro, target_prefix=prefix), tokenizer)
    with pytest.raises(DataError, match=r"in this tokenizer|this tokenizer gives"):
        fit_to_tokenizer(micro, tokenizer)


def test_a_target_with_the_wrong_prefix_is_refused(micro, place):
    """The corpus is not written with questions whose tokens no document has."""
    with pytest.raises(DataError, match=r"ends in 'CODE move move' .* other tokens .*\.$"):
        micro.encoded_documents(place, byte_level(), 0)


def test_an_operation_that_begins_as_another_is_refused():
    """Or the end of one could not be found."""
    with pytest.raises(DataError, match=r"cannot be told apart"):
        OperationTokens.of(_Prefixes(), tokenizers.build_tokenizer(tokenizers.TokenizerSpec(), ["a b"]))


class _Prefixes:
    """A world whose words are all unknown to a tokenizer of words, and so have one token."""

    control_flow = False

    encoding, target_prefix = "lean", ""


def test_the_official_text_has_no_prefix(micro):
    """Its programs begin with an indentation anyway."""
    with pytest.raises(SpecError, match=r"target_prefix is for the lean encoding"):
        replace(micro, encoding="official", target_prefix=" ")
