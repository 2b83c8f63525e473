"""Packing: no text is cut, none is lost, none is met twice, and a label stands before its token."""

from __future__ import annotations

import re
from itertools import islice

import numpy as np
import pytest

from nosce.data.packing import (
    TokenDataset,
    best_fit_pack,
    concat_datasets,
    dataset_from_arrays,
    encode,
    tokenize_documents,
    tokenize_questions,
)
from nosce.data.sampling import IGNORE_INDEX, Batch, pack
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer
from nosce.errors import DataError, SpecError
from nosce.records import Document, Question
from nosce.seeds import Seed

END = 0


def random_texts(count: int, most: int, seed: Seed) -> TokenDataset:
    """Texts of random tokens, each closed by an end; about half of the tokens are counted."""
    rng = seed.numpy()
    lengths = rng.integers(1, most, size=count, endpoint=True)
    return dataset_from_arrays(
        (np.append(rng.integers(1, 1_000, size=n - 1), END).astype(np.int32), rng.random(n) < 0.5) for n in lengths
    )


def texts_of(row: np.ndarray) -> list[tuple[int, ...]]:
    """The texts of a row of tokens that are each closed by an end."""
    stops = np.flatnonzero(row == END) + 1
    return [tuple(part.tolist()) for part in np.split(row, stops) if len(part)]


def stretches(batch: Batch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inputs and labels of each stretch."""
    borders = np.cumsum(batch.lengths)[:-1]
    return list(zip(np.split(batch.inputs, borders), np.split(batch.labels, borders), strict=True))


def everything_counted(sequences: TokenDataset) -> TokenDataset:
    """The same texts with a loss on every token."""
    return TokenDataset(sequences.tokens, np.ones_like(sequences.loss_mask), sequences.offsets)


@pytest.mark.parametrize("window", [11, 16, 64, 500])
@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_rows_hold_every_text_once_and_none_is_cut(window, count):
    """Whatever the lengths, each text is in exactly one row, whole, and no row is longer than the window."""
    for number in range(20):
        lengths = (Seed(number) / window / count).numpy().integers(1, 10, size=count, endpoint=True).tolist()
        rows = best_fit_pack(lengths, window)
        assert sorted(index for row in rows for index in row) == list(range(count))
        assert all(sum(lengths[index] for index in row) <= window - 1 for row in rows)
        assert all(rows)


def test_biographies_fill_their_rows(told):
    """Where texts are a quarter of a row, as the entries of two hundred people are, few positions stay empty."""
    rows = best_fit_pack(told.lengths.tolist(), 256)
    assert told.lengths.mean() == pytest.approx(256 / 4, rel=0.05)
    assert 1 - told.lengths.sum() / (len(rows) * 255) < 0.06


def test_rows_are_hardly_more_than_needed():
    """Full rows that were cut into texts are put together again in at most 11/9 as many, as best fit promises."""
    for number in range(50):
        rng = (Seed(1) / number).numpy()
        cuts = [np.sort(rng.choice(np.arange(1, 100), size=3, replace=False)) for _ in range(30)]
        lengths = np.concatenate([np.diff([0, *cut, 100]) for cut in cuts])
        assert 30 <= len(best_fit_pack(rng.permutation(lengths).tolist(), 101)) <= 30 * 11 / 9


def test_rows_are_a_function_of_the_lengths():
    """Equal lengths give equal rows, and among equal texts the first comes first."""
    assert best_fit_pack([5, 5, 5, 5], 11) == [[0, 1], [2, 3]]
    assert best_fit_pack([3, 9, 6], 11) == [[1], [2, 0]]
    assert best_fit_pack([], 11) == []


@pytest.mark.parametrize(("longest", "window", "needed"), [(11, 11, 12), (70, 64, 71)])
def test_a_text_too_long_is_refused(longest, window, needed):
    """A text that does not fit is refused, and the sentence says which window it would take."""
    with pytest.raises(SpecError, match=rf"text of {longest} tokens .* window of {window} .*{needed} or more\.$"):
        best_fit_pack([3, longest], window)
    assert best_fit_pack([3, longest], needed) == [[1], [0]] or len(best_fit_pack([3, longest], needed)) == 1


@pytest.mark.parametrize("window", [64, None])
def test_a_batch_holds_every_chosen_text_once(window):
    """Read back from its inputs and labels, a batch is the chosen texts, no more, no less, and whole."""
    for number in range(20):
        sequences = everything_counted(random_texts(60, 20, Seed(number)))
        chosen = (Seed(number) / "chosen").numpy().integers(60, size=30)  # some of them twice, as between two epochs
        batch = pack(sequences, chosen, window=window, eos_id=END)
        rows = [np.append(inputs[1:], labels[-1]) for inputs, labels in stretches(batch)]
        found = sorted(text for row in rows for text in texts_of(row))
        assert found == sorted(tuple(sequences.text_tokens(index).tolist()) for index in chosen)


@pytest.mark.parametrize("window", [64, None])
def test_a_label_stands_before_its_token(window):
    """The label at a position is the input at the next one, and every stretch opens with an end token."""
    sequences = random_texts(60, 20, Seed(0))
    batch = pack(sequences, np.arange(60), window=window, eos_id=END)
    assert batch.inputs.shape == batch.labels.shape == (batch.lengths.sum(),)
    assert batch.lengths.max() <= 63
    for inputs, labels in stretches(batch):
        assert inputs[0] == END
        here, following = labels[:-1], inputs[1:]
        assert (here == following)[here != IGNORE_INDEX].all()


def test_without_a_window_each_text_is_a_stretch_of_its_own():
    """Every stretch is what its text alone would be packed to, longest first, equal ones as they were chosen."""
    sequences = random_texts(60, 20, Seed(4))
    chosen = Seed(4).numpy().integers(60, size=30)
    batch = pack(sequences, chosen, window=None, eos_id=END)
    ordered = chosen[np.argsort(-sequences.lengths[chosen], kind="stable")]
    assert batch.lengths.tolist() == sequences.lengths[ordered].tolist()
    for text, (inputs, labels) in zip(ordered, stretches(batch), strict=True):
        alone = pack(sequences, [text], window=None, eos_id=END)
        tokens = sequences.text_tokens(text)
        assert inputs.tolist() == alone.inputs.tolist() == [END, *tokens[:-1]]
        assert (
            labels.tolist()
            == alone.labels.tolist()
            == np.where(sequences.text_loss_mask(text), tokens, IGNORE_INDEX).tolist()
        )


@pytest.mark.parametrize("window", [21, 64, 500, None])
def test_stretches_come_longest_first_and_positions_count_within_each(window):
    """Lengths never rise, and the position of a token is its place within its own stretch."""
    batch = pack(random_texts(60, 20, Seed(5)), np.arange(60), window=window, eos_id=END)
    assert (np.diff(batch.lengths) <= 0).all()
    assert batch.positions.tolist() == [place for length in batch.lengths for place in range(length)]


@pytest.mark.parametrize("window", [64, None])
def test_only_counted_tokens_carry_loss(window):
    """As many labels carry loss as tokens are counted, and they are those tokens."""
    sequences = random_texts(60, 20, Seed(1))
    batch = pack(sequences, np.arange(60), window=window, eos_id=END)
    labels = batch.labels[batch.labels != IGNORE_INDEX]
    assert batch.n_loss_tokens == len(labels) == sequences.loss_mask.sum()
    assert sorted(labels.tolist()) == sorted(sequences.tokens[sequences.loss_mask].tolist())


@pytest.mark.parametrize("window", [512, None])
def test_a_batch_has_no_more_positions_than_tokens(window):
    """However wide a row might be, there is one position a token: a batch of one short text is one short row."""
    one, many = random_texts(1, 5, Seed(2)), random_texts(60, 20, Seed(2))
    batch = pack(one, [0], window=window, eos_id=END)
    assert batch.inputs.shape == (len(one.text_tokens(0)),)
    assert batch.lengths.tolist() == [len(one.text_tokens(0))]
    assert len(pack(many, np.arange(60), window=window, eos_id=END).inputs) == len(many.tokens)


def test_a_stretch_opens_with_the_end_whatever_stands_before_it():
    """Texts that are not closed by an end, as none should be, do not run into the next one."""
    sequences = dataset_from_arrays(
        (np.array(text, dtype=np.int32), np.ones(3, dtype=bool)) for text in ([5, 6, 7], [8, 9, 10])
    )
    assert pack(sequences, [0, 1], window=None, eos_id=END).inputs.tolist() == [END, 5, 6, END, 8, 9]


@pytest.mark.parametrize("window", [5, None])
def test_where_a_stretch_ends_the_next_begins(window):
    """Nothing is padded: behind the last input of a stretch stands the end token that opens the next."""
    one, two = np.array([5, 6, 7, END], dtype=np.int32), np.array([8, END], dtype=np.int32)
    sequences = dataset_from_arrays([(two, np.ones(2, dtype=bool)), (one, np.ones(4, dtype=bool))])
    batch = pack(sequences, [0, 1], window=window, eos_id=END)
    assert batch.inputs.tolist() == [END, 5, 6, 7, END, 8]
    assert batch.labels.tolist() == [5, 6, 7, END, 8, END]
    assert batch.lengths.tolist() == [4, 2]


@pytest.mark.parametrize("window", [40, None])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 200])
def test_parts_of_a_batch_are_its_stretches_dealt_out(window, count):
    """Together the parts hold every stretch once, each as it was and longest first, and are about equally large."""
    whole = pack(random_texts(60, 20, Seed(6)), np.arange(60), window=window, eos_id=END)
    parts = whole.split(count)

    def held(batch):
        return [(inputs.tolist(), labels.tolist()) for inputs, labels in stretches(batch)]

    assert len(parts) == min(count, len(whole.lengths))
    assert sorted(stretch for part in parts for stretch in held(part)) == sorted(held(whole))
    assert sum(part.n_loss_tokens for part in parts) == whole.n_loss_tokens
    assert all((np.diff(part.lengths) <= 0).all() for part in parts)
    sizes = [part.lengths.sum() for part in parts]
    assert max(sizes) - min(sizes) <= whole.lengths.max()
    assert count > 1 or held(parts[0]) == held(whole)


@pytest.mark.parametrize("window", [64, None])
@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_what_is_given_has_labels_of_its_weight(window, weight):
    """Inputs and labels are those of a batch in which everything counts; beside them stands how much each does."""
    sequences = random_texts(60, 20, Seed(7))
    batch = pack(sequences, np.arange(60), window=window, eos_id=END, prompt_loss_weight=weight)
    plain = pack(sequences, np.arange(60), window=window, eos_id=END)
    every = pack(everything_counted(sequences), np.arange(60), window=window, eos_id=END)
    given = int((~sequences.loss_mask).sum())
    for name in ("inputs", "labels", "lengths"):
        assert (getattr(batch, name) == getattr(every, name)).all()
    assert batch.weights is not None
    assert batch.weights.dtype == np.float32  # a wider one would widen the loss
    assert batch.weights.tolist() == np.where(plain.labels == IGNORE_INDEX, weight, 1.0).tolist()
    assert batch.n_loss_tokens == len(sequences.tokens)
    assert batch.total_weight == pytest.approx(len(sequences.tokens) - given + weight * given)


def test_without_a_weight_what_is_given_carries_no_loss():
    """No weight, or nothing that is given: the batch holds none, and a label weighs what it did."""
    sequences = random_texts(60, 20, Seed(8))
    unweighted = pack(sequences, np.arange(60), window=None, eos_id=END)
    counted = pack(everything_counted(sequences), np.arange(60), window=None, eos_id=END, prompt_loss_weight=0.5)
    assert unweighted.weights is counted.weights is None
    assert unweighted.total_weight == unweighted.n_loss_tokens == sequences.loss_mask.sum()
    assert counted.total_weight == counted.n_loss_tokens == len(sequences.tokens)


@pytest.mark.parametrize("count", [1, 3, 200])
def test_parts_of_a_weighted_batch_keep_their_weights(count):
    """Every stretch takes its weights along, and the weights of all parts are those of the whole."""
    whole = pack(random_texts(60, 20, Seed(9)), np.arange(60), window=40, eos_id=END, prompt_loss_weight=0.3)
    parts = whole.split(count)

    def held(batch):
        cuts = np.split(batch.weights, np.cumsum(batch.lengths)[:-1])
        return [
            (*map(np.ndarray.tolist, (*one, weights)),) for one, weights in zip(stretches(batch), cuts, strict=True)
        ]

    assert sorted(stretch for part in parts for stretch in held(part)) == sorted(held(whole))
    assert sum(part.total_weight for part in parts) == pytest.approx(whole.total_weight)


def test_a_question_counts_its_answer_alone(word):
    """Prompt, target and end follow each other; loss is taken on target and end."""
    questions = [Question("0", "p", "a", "In which town was X born? Answer:", "Elmbrook, AV", "seen")]
    prompt, target = (word.encode(text).ids for text in (questions[0].prompt, questions[0].target))
    alone = tokenize_questions(word, questions, END)
    assert alone.text_tokens(0).tolist() == [*prompt, *target, END]
    assert alone.text_loss_mask(0).tolist() == [False] * len(prompt) + [True] * (len(target) + 1)


SYMBOLS = build_tokenizer(TokenizerSpec(kind="symbols", symbols=("move", "turnLeft", *"0123456789 #.\n")), ())
BOARDS = ["#.3\n. 12\nmove\nturnLeft move", "7", " \n ", "move", "", "0 1\nturnLeftmove"]


def squeezed(tokenizer, tokens: np.ndarray) -> str:
    """What tokens spell, without spaces: some tokenizers do not keep them."""
    return "".join(tokenizer.decode(tokens.tolist(), skip_special_tokens=False).split())


def test_documents_are_their_tokens_each_with_its_end(tokenizer, world, seed):
    """Text i is what the tokenizer reads in document i, closed by the end; where nothing is given all counts."""
    documents = [Document("0", "p", "", ()), *islice(world.documents(seed), 20), Document("1", "p", "", ())]
    sequences = tokenize_documents(documents, list(encode(tokenizer, (d.text for d in documents))), END)
    expected = [[*tokenizer.encode(d.text, add_special_tokens=False).ids, END] for d in documents]
    assert [sequences.text_tokens(i).tolist() for i in range(len(sequences))] == expected
    assert sequences.loss_mask.all()
    assert (sequences.tokens.dtype, sequences.offsets.dtype) == (np.int32, np.int64)


def cut_everywhere(tokenizer, text: str) -> tuple[list[int], list[int]]:
    """At how many characters a text can be said to be given, what is counted then being the rest; and where not."""
    cut, refused = [], []
    for given in range(len(text) + 1):
        document = Document("7/1", "p", text, (), prompt_chars=given)
        try:
            found = tokenize_documents([document], [tokenizer.encode(text, add_special_tokens=False)], END)
        except DataError:
            refused.append(given)
            continue
        tokens, counted = found.text_tokens(0), found.text_loss_mask(0)
        assert (np.diff(counted.astype(int)) >= 0).all(), "what is given stands in front"
        assert counted[-1], "the end is never given"
        assert squeezed(tokenizer, tokens[~counted]) == "".join(text[:given].split())
        assert squeezed(tokenizer, tokens[counted][:-1]) == "".join(text[given:].split())
        cut.append(given)
    return cut, refused


def test_what_a_document_is_given_is_not_counted(tokenizer, world, seed):
    """Wherever it ends between two words the tokens are parted there, before or behind a space."""
    for document in islice(world.documents(seed), 3):
        cut, refused = cut_everywhere(tokenizer, document.text)
        between = [0, *(m.start() for m in re.finditer(" ", document.text)), len(document.text)]
        behind = [m.end() for m in re.finditer(" ", document.text)]
        assert {*between, *behind} <= set(cut)
        assert refused, "inside a word there is no border"


@pytest.mark.parametrize("text", BOARDS)
def test_what_is_given_may_end_at_any_symbol(text):
    """Where spaces and line ends are tokens of their own they are given, or counted, like any other."""
    inside = {i for m in re.finditer("move|turnLeft", text) for i in range(m.start() + 1, m.end())}
    cut, refused = cut_everywhere(SYMBOLS, text)
    assert (set(refused), set(cut)) == (inside, set(range(len(text) + 1)) - inside)
    for given in cut:
        found = tokenize_documents([Document("0", "p", text, (), prompt_chars=given)], [SYMBOLS.encode(text)], END)
        assert SYMBOLS.decode(found.text_tokens(0)[~found.text_loss_mask(0)].tolist()) == text[:given]


def test_what_is_given_may_not_end_within_a_token(word):
    """Half a word cannot be given; the sentence names the document and shows where."""
    document = Document("7/1", "p", "In which town", (), prompt_chars=5)
    with pytest.raises(DataError, match=r"^in document '7/1' a token reaches over .* 'In wh'; put a space .*\.$"):
        tokenize_documents([document], [word.encode(document.text)], END)


def test_each_document_has_its_own_given():
    """What one is given says nothing about its neighbours, whether they are given something or not."""
    documents = [Document(str(n), "p", "0 1 2", (), prompt_chars=n) for n in (3, 0, 5, 1)]
    found = tokenize_documents(documents, [SYMBOLS.encode(d.text) for d in documents], END)
    assert [(~found.text_loss_mask(n)).sum() for n in range(4)] == [3, 0, 5, 1]


def test_parts_are_joined_one_behind_the_other():
    """As if all texts had been collected at once; of nothing there is nothing to join."""
    parts = [random_texts(count, 9, Seed(count)) for count in (5, 1, 12)]
    whole = concat_datasets(parts)
    each = [(part.text_tokens(i), part.text_loss_mask(i)) for part in parts for i in range(len(part))]
    for name in ("tokens", "loss_mask", "offsets"):
        one, other = getattr(whole, name), getattr(dataset_from_arrays(each), name)
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()
    assert whole.additions is None
    with pytest.raises(DataError, match="not one text"):
        concat_datasets([])


@pytest.mark.parametrize("window", [64, None])
def test_questions_and_texts_share_no_batch_position(word, world, seed, window):
    """In a batch of questions no prompt token of anybody is ever a label."""
    questions = [q for q in world.questions(seed) if q.attribute == "major"]
    sequences = tokenize_questions(word, questions, END)
    batch = pack(sequences, np.arange(len(questions)), window=window, eos_id=END)
    answers = {number for q in questions for number in word.encode(q.target).ids} | {END}
    assert set(batch.labels[batch.labels != IGNORE_INDEX].tolist()) == answers


def test_sequences_come_back_from_disk(tmp_path):
    """Tokens, counted marks and the borders between texts survive the way to disk."""
    sequences = random_texts(50, 9, Seed(3))
    sequences.save(tmp_path / "texts.safetensors")
    again = TokenDataset.load(tmp_path / "texts.safetensors")
    assert len(again) == 50
    for one, other in zip(
        (again.tokens, again.loss_mask, again.offsets),
        (sequences.tokens, sequences.loss_mask, sequences.offsets),
        strict=True,
    ):
        assert one.dtype == other.dtype
        assert (one == other).all()
    assert again.lengths.sum() == len(again.tokens)


def test_no_text_at_all_is_refused():
    """A world that writes nothing cannot be packed, and the sentence says so."""
    with pytest.raises(DataError, match="not one text"):
        dataset_from_arrays([])
