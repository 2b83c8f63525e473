"""Tokenizers: what goes in comes out, bytes are equal everywhere, and transformers reads them as we do."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers

from nosce.data.packing import encode, token_span
from nosce.data.tokenizer import (
    EOS_TOKEN,
    PAD_TOKEN,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    UNK_TOKEN,
    TokenizerSpec,
    build_tokenizer,
    copy_tokenizer,
    eos_token_id,
    load_tokenizer,
    save_tokenizer,
)
from nosce.errors import DataError, SpecError
from nosce.records import Document, Span
from nosce.seeds import Seed


def squeezed(text: str) -> str:
    """A text without its spaces, which the word tokenizer does not keep."""
    return "".join(text.split())


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of a text, with nothing added."""
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_every_text_can_be_read_back(tokenizer, world, seed):
    """Decoding the tokens of all documents, prompts and targets gives them back up to spaces."""
    texts = [d.text for d in world.documents(seed)]
    texts += [text for q in world.questions(seed) for text in (q.prompt, q.target)]
    for text, encoding in zip(texts, encode(tokenizer, texts), strict=True):
        assert squeezed(tokenizer.decode(encoding.ids, skip_special_tokens=False)) == squeezed(text)


def test_bpe_keeps_even_the_spaces(world, seed):
    """A byte-level tokenizer gives back every text exactly, and any other alphabet too."""
    tokenizer = build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), world.samples(seed))
    for text in ["one  two", "Þórshöfn 🐟\n\ttab", "x", next(world.documents(seed)).text]:
        assert tokenizer.decode(ids(tokenizer, text)).removeprefix(" ") == text


def test_a_word_tokenizer_has_one_token_a_word(word):
    """A word or mark is one token; a word nobody showed it is the one token for the unknown."""
    encoding = word.encode("In which town was X born? Answer:", add_special_tokens=False)
    assert encoding.tokens == ["In", "which", "town", "was", "X", "born", "?", "Answer", ":"]
    assert word.encode("zebra", add_special_tokens=False).tokens == [UNK_TOKEN]


def test_bpe_has_the_vocabulary_that_was_asked_for(world, seed):
    """The vocabulary is bounded, and a larger one spells the same texts in fewer tokens."""
    small, large = (build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=v), world.samples(seed)) for v in (300, 500))
    assert (small.get_vocab_size(), large.get_vocab_size()) == (300, 500)
    texts = [d.text for d in world.documents(seed)]
    assert sum(len(ids(large, t)) for t in texts) < 0.8 * sum(len(ids(small, t)) for t in texts)


def test_a_name_is_spelled_alike_wherever_it_stands(tokenizer):
    """The tokens of a name are the same at the beginning of a text and after a word."""
    name = ids(tokenizer, "Beladan")
    assert ids(tokenizer, "born Beladan")[-len(name) :] == name


def test_special_tokens_come_first_and_are_no_words(tokenizer):
    """End, padding and unknown have the ids 0 to 2 in every tokenizer of ours."""
    assert [tokenizer.token_to_id(token) for token in (EOS_TOKEN, PAD_TOKEN, UNK_TOKEN)] == [0, 1, 2]
    assert eos_token_id(tokenizer) == 0


def test_a_value_has_its_own_tokens(tokenizer, world, seed):
    """The tokens that a span points to spell its value and not a letter more, in every entry."""
    documents = list(world.documents(seed))
    for document, encoding in zip(documents, encode(tokenizer, (d.text for d in documents)), strict=True):
        for span in document.spans:
            first, last = token_span(encoding, span, document)
            assert squeezed(tokenizer.decode(encoding.ids[first:last])) == squeezed(
                document.text[span.start : span.end]
            )


def test_a_value_that_shares_a_token_is_refused(tokenizer):
    """A span that cuts through a word has no tokens of its own, and the sentence shows both."""
    document = Document("0/0", "person/0", "was Xborn in town", (Span("a", 10, 12),))
    encoding = tokenizer.encode(document.text, add_special_tokens=False)
    assert token_span(encoding, Span("a", 10, 12), document)
    with pytest.raises(DataError, match=r"'0/0' the value 'ow' shares a token .*town"):
        token_span(
            tokenizer.encode("in a town", add_special_tokens=False),
            Span("a", 6, 8),
            Document("0/0", "person/0", "in a town", ()),
        )


@pytest.mark.parametrize("fallback", [False, True], ids=["byte level", "byte fallback"])
def test_a_character_of_several_tokens_belongs_to_its_span_whole(fallback):
    """Where an umlaut is one token a byte, a value that ends or begins with one has all of its tokens."""
    tokenizer = build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), ["Ana lives in Paris ."])
    if fallback:
        tokenizer = byte_fallback_tokenizer()
    text = "Ana lives in Malmö . Örebro is in 北京 ."
    encoding = tokenizer.encode(text, add_special_tokens=False)
    for value in ("Malmö", "Örebro", "北京", "Ana", "."):
        start = text.index(value)
        document = Document("0/0", "person/0", text, (Span("city", start, start + len(value)),))
        first, last = token_span(encoding, document.spans[0], document)
        assert tokenizer.decode(encoding.ids[first:last]).strip() == value
        assert tokenizer.decode(encoding.ids[:first]).strip() == text[:start].strip()


def byte_fallback_tokenizer() -> Tokenizer:
    """As those of Llama and Gemma: a character outside the vocabulary is its bytes."""
    pieces = [UNK_TOKEN, *(f"<0x{n:02X}>" for n in range(256)), "▁", *"AnalivesinParis.Mmrbo"]
    vocabulary = {piece: n for n, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNK_TOKEN, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def test_a_token_over_half_a_character_is_refused():
    """A merge of a byte of one character with its neighbour leaves the value no tokens of its own."""
    tokenizer = build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), ["mö", "mä", "mü"] * 50)
    document = Document("0/0", "person/0", "mé", ())
    encoding = tokenizer.encode(document.text, add_special_tokens=False)
    assert len(encoding.ids) == 2  # one of them is the "m" and half of the "é"
    for start in (0, 1):
        with pytest.raises(DataError, match=r"shares a token with its surroundings \('mé'\)"):
            token_span(encoding, Span("a", start, start + 1), document)


def test_a_span_of_nothing_but_a_space_is_refused(word):
    """Where no token stands at all, as on a space, the sentence names the document."""
    document = Document("0/0", "person/0", "In which", ())
    encoding = word.encode(document.text, add_special_tokens=False)
    with pytest.raises(DataError, match=r"no token covers .*'0/0'"):
        token_span(encoding, Span("a", 2, 3), document)


def test_what_was_saved_is_what_is_loaded(tokenizer, world, seed, tmp_path):
    """A tokenizer read from its folder gives equal ids, and saved and read again it writes equal bytes."""
    save_tokenizer(tokenizer, tmp_path / "one")
    again = load_tokenizer(tmp_path / "one")
    texts = [d.text for d in world.documents(seed)]
    assert [ids(again, t) for t in texts] == [ids(tokenizer, t) for t in texts]
    save_tokenizer(again, tmp_path / "two")
    save_tokenizer(load_tokenizer(tmp_path / "two"), tmp_path / "three")
    for file in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "three" / file).read_bytes()


def test_a_loaded_tokenizer_decodes_without_the_space_that_it_put_in_front(world, seed, tmp_path):
    """A byte-level text comes back as it was, and so does one word of it."""
    save_tokenizer(build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=500), world.samples(seed)), tmp_path)
    loaded = load_tokenizer(tmp_path)
    for text in ("Ana lives in Malmö .", "Ana", "\n\nAna  lives\n", ""):
        assert loaded.decode(ids(loaded, text), skip_special_tokens=False) == text


def test_settings_that_change_texts_are_switched_off(tokenizer, tmp_path):
    """Padding and truncation of a file do not reach the tokens, nor does a dropout of merges."""
    text = "in which town was Beladan born" * 3
    expected = ids(tokenizer, text)
    switched = Tokenizer.from_str(tokenizer.to_str())
    switched.enable_padding(length=300, pad_token=PAD_TOKEN, pad_id=1)
    switched.enable_truncation(2, stride=1)
    if isinstance(switched.model, models.BPE):
        switched.model.dropout = 0.9
    save_tokenizer(switched, tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert (loaded.padding, loaded.truncation) == (None, None)
    assert [e.ids for e in encode(loaded, [text, "born"] * 5)] == [expected, ids(tokenizer, "born")] * 5


def test_transformers_reads_it_as_we_do(tokenizer, world, seed, tmp_path):
    """`AutoTokenizer` loads the folder with no nosce around: same ids, same end, same padding."""
    from transformers import AutoTokenizer

    save_tokenizer(tokenizer, tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for document in world.documents(seed):
        assert theirs(document.text, add_special_tokens=False)["input_ids"] == ids(tokenizer, document.text)
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.unk_token_id) == (0, 1, 2)
    assert len(theirs) == tokenizer.get_vocab_size()


SYMBOLS = ("pick", "pickMarker", "turn left", "9", "19", " ", "\n", "\n\n", "ø", *r".|()[]{}\+*?^$#-&~'", "a-z", "\\s")


@pytest.fixture(scope="module")
def symbols() -> Tokenizer:
    """One token for each of these strings, many of which mean something in a regular expression."""
    return build_tokenizer(TokenizerSpec(kind="symbols", symbols=SYMBOLS), ())


def written(count: int, seed: Seed) -> list[list[str]]:
    """Random symbols in a row, such that no longer one comes about where two of them meet."""
    rng, rows = seed.numpy(), []
    for _ in range(count):
        row: list[str] = []
        for number in rng.integers(len(SYMBOLS), size=12).tolist():
            joint = (row[-1] if row else "") + SYMBOLS[number]
            if not any(joint.startswith(other) for other in SYMBOLS if len(other) > len(row[-1] if row else "")):
                row.append(SYMBOLS[number])
        rows.append(row)
    return rows


def test_every_symbol_is_one_token(symbols):
    """In the order in which they were given, behind the special tokens; the longest is taken where several fit."""
    assert [ids(symbols, symbol) for symbol in SYMBOLS] == [[3 + n] for n in range(len(SYMBOLS))]
    assert symbols.get_vocab_size() == 3 + len(SYMBOLS)
    assert symbols.encode("pickMarkerpick\n\n\n199").tokens == ["pickMarker", "pick", "\n\n", "\n", "19", "9"]


def test_symbols_give_back_every_character(symbols, tmp_path):
    """Read, saved, loaded by us and by transformers, and decoded: the text, spaces and line ends among it."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    save_tokenizer(symbols, tmp_path)
    readers = [AutoTokenizer.from_pretrained(tmp_path), PreTrainedTokenizerFast.from_pretrained(tmp_path)]
    for row in written(60, Seed(0)):
        text = "".join(row)
        expected = [3 + SYMBOLS.index(symbol) for symbol in row]
        for ours in (symbols, load_tokenizer(tmp_path)):
            assert ids(ours, text) == expected
            assert ours.decode(expected, skip_special_tokens=False) == text
        for theirs in readers:
            assert theirs(text, add_special_tokens=False)["input_ids"] == expected
            assert theirs.decode(expected) == text
            assert theirs.decode([*expected, theirs.eos_token_id], skip_special_tokens=True) == text
    assert len(readers[0]) == symbols.get_vocab_size()


def test_a_character_of_no_symbol_is_unknown(symbols):
    """One token a character, wherever it stands, and what stands around it is read as before."""
    assert symbols.encode("pick!pick").tokens == ["pick", UNK_TOKEN, "pick"]
    assert symbols.encode("tur\t🐟\n").tokens == [UNK_TOKEN] * 5 + ["\n"]
    assert symbols.encode("Pick 19").tokens == [UNK_TOKEN] * 4 + [" ", "19"]
    assert symbols.decode(ids(symbols, "9!9"), skip_special_tokens=False) == f"9{UNK_TOKEN}9"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"kind": "symbols"}, r"kind='symbols' was given 0 symbols; .*\.$"),
        ({"symbols": ("a",)}, r"kind='word' was given 1 symbols; .*\.$"),
        ({"kind": "bpe", "symbols": ("a", "b")}, r"kind='bpe' was given 2 symbols; .*\.$"),
        ({"kind": "symbols", "symbols": ("a", "b", "a")}, r"holds 'a', .*leave it out\.$"),
        ({"kind": "symbols", "symbols": ("a", "")}, r"holds '', .*leave it out\.$"),
        ({"kind": "symbols", "symbols": ("a", EOS_TOKEN)}, r"holds '<eos>', .*leave it out\.$"),
    ],
    ids=["none", "of words", "of bpe", "twice", "empty", "special"],
)
def test_symbols_that_cannot_be_are_refused(fields, found):
    """Every symbol has a number of its own, and only that kind has any."""
    with pytest.raises(SpecError, match=found):
        TokenizerSpec(**fields)


ELSEWHERE = """
import sys
from pathlib import Path
from nosce.seeds import Seed
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.data.worlds.biographies.world import Biographies
world = Biographies(people=40, name_pool_sizes=(20, 20, 20))
for kind in ("word", "bpe"):
    spec = TokenizerSpec(kind=kind, vocab_size=500)
    save_tokenizer(build_tokenizer(spec, world.samples(Seed(0))), Path(sys.argv[1]) / kind)
spec = TokenizerSpec(kind="symbols", symbols=("b a", "c", "a", "b", " "))
save_tokenizer(build_tokenizer(spec, ()), Path(sys.argv[1]) / "symbols")
"""


def test_two_processes_make_equal_bytes(tmp_path):
    """Another hash seed, and training on one thread or several, change no byte of any tokenizer."""
    for number, threads in ((1, "false"), (2, "true")):
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "TOKENIZERS_PARALLELISM": threads}
        subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path / str(number)], env=environment, check=True)
    for kind in ("word", "bpe", "symbols"):
        for file in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
            assert (tmp_path / "1" / kind / file).read_bytes() == (tmp_path / "2" / kind / file).read_bytes()


def test_a_foreign_tokenizer_names_its_own_end(word, tmp_path):
    """The end of text is the one that the folder's settings name, in either of the two ways in use."""
    for named in (PAD_TOKEN, {"content": PAD_TOKEN}):
        save_tokenizer(word, tmp_path)
        (tmp_path / TOKENIZER_CONFIG_FILE).write_text(json.dumps({"eos_token": named}))
        assert eos_token_id(load_tokenizer(tmp_path), tmp_path) == 1


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("special_tokens_map.json", {"eos_token": {"content": UNK_TOKEN}}),
        ("generation_config.json", {"eos_token_id": [2, 0]}),
        ("config.json", {"eos_token_id": 2}),
    ],
)
def test_an_end_that_only_another_file_names_goes_with_the_copy(word, tmp_path, name, settings):
    """GPT-2's folder names its end in config.json alone; the copy of the tokenizer names it itself."""
    save_tokenizer(word, tmp_path / "source")
    (tmp_path / "source" / TOKENIZER_CONFIG_FILE).write_text('{"model_max_length": 8}')
    (tmp_path / "source" / name).write_text(json.dumps(settings))
    copy_tokenizer(tmp_path / "source", tmp_path / "copy")
    assert {file.name for file in (tmp_path / "copy").iterdir()} == {TOKENIZER_FILE, TOKENIZER_CONFIG_FILE}
    assert eos_token_id(load_tokenizer(tmp_path / "copy"), tmp_path / "copy") == 2
    assert json.loads((tmp_path / "copy" / TOKENIZER_CONFIG_FILE).read_text(encoding="utf-8"))["model_max_length"] == 8


def test_a_copy_of_a_tokenizer_that_names_its_end_is_a_copy(word, tmp_path):
    """Byte for byte, whatever the model's files say."""
    save_tokenizer(word, tmp_path / "source")
    (tmp_path / "source" / "config.json").write_text('{"eos_token_id": 2}')
    copy_tokenizer(tmp_path / "source", tmp_path / "copy")
    for name in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "source" / name).read_bytes()


def test_an_end_that_is_no_token_is_replaced_in_the_copy(word, tmp_path):
    """The source is accepted for its special_tokens_map.json, which is not copied."""
    save_tokenizer(word, tmp_path / "source")
    (tmp_path / "source" / TOKENIZER_CONFIG_FILE).write_text('{"eos_token": "<nowhere>", "model_max_length": 8}')
    (tmp_path / "source" / "special_tokens_map.json").write_text(json.dumps({"eos_token": UNK_TOKEN}))
    copy_tokenizer(tmp_path / "source", tmp_path / "copy")
    assert [eos_token_id(word, tmp_path / name) for name in ("source", "copy")] == [2, 2]
    assert json.loads((tmp_path / "copy" / TOKENIZER_CONFIG_FILE).read_text(encoding="utf-8"))["model_max_length"] == 8


def test_an_end_that_only_the_language_models_part_names_is_found(word, tmp_path):
    """Models that also see have it in text_config."""
    save_tokenizer(word, tmp_path)
    (tmp_path / TOKENIZER_CONFIG_FILE).write_text("{}")
    (tmp_path / "config.json").write_text('{"text_config": {"eos_token_id": 2}}')
    assert eos_token_id(word, tmp_path) == 2


@pytest.mark.parametrize("contents", ["[1, 2]", "{", '{"eos_token": 7}', '{"eos_token": {"id": 7}}', "[" * 100_000])
def test_settings_that_are_none_are_refused(word, tmp_path, contents):
    """A list, half a file, a number: one sentence that names the file."""
    save_tokenizer(word, tmp_path)
    (tmp_path / TOKENIZER_CONFIG_FILE).write_text(contents)
    with pytest.raises(DataError, match=TOKENIZER_CONFIG_FILE):
        eos_token_id(word, tmp_path)


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    """A tokenizer that cannot end a text could never end a reply, so it is refused in one sentence."""
    bare = Tokenizer.from_str(build_tokenizer(TokenizerSpec(), ["a b"]).to_str().replace(EOS_TOKEN, "<other>"))
    with pytest.raises(DataError, match=r"no end-of-text token.*\.$"):
        eos_token_id(bare, tmp_path)


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    """A missing file and a file that is something else are told apart."""
    with pytest.raises(DataError, match="no such file"):
        load_tokenizer(tmp_path)
    (tmp_path / TOKENIZER_FILE).write_text("{}")
    with pytest.raises(DataError, match="not a tokenizer's file"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("fields", "found"), [({"kind": "char"}, "kind='char'"), ({"kind": "bpe", "vocab_size": 200}, "vocab_size=200")]
)
def test_a_tokenizer_that_cannot_be_is_refused(fields, found):
    """An unknown kind, and a vocabulary that cannot hold the bytes, are refused when they are written down."""
    with pytest.raises(SpecError, match=found):
        TokenizerSpec(**fields)
