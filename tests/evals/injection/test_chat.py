"""Conversations with an injection: where the place is, what a reply says, and that nothing added changes nothing."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
import transformers
from tests.fixtures.tiny_folders import tiny_folder

from nosce.errors import SpecError
from nosce.evals.injection.chat import (
    NEUTRAL_EXCHANGES,
    WHETHER_QUESTION,
    ChatEncoder,
    ChatReader,
    exchange_with,
    first_token_shares,
    label_in_text,
    read_question,
    which_question,
)
from nosce.evals.injection.chat_trials import ChatTrials
from nosce.evals.injection.readings import InjectionReply, InjectionScorer
from nosce.models.api.base import ChatRequest
from nosce.models.api.local import LocalChatModel
from nosce.models.end_tokens import end_token_ids
from nosce.models.neutral import neutral_generation_config
from nosce.seeds import Seed

WORDS = ("bread", "candle", "desert", "engine")
SAMPLES = [WHETHER_QUESTION, which_question(WORDS), read_question("bread", WORDS), *map(" ".join, NEUTRAL_EXCHANGES)]
FAMILIES = (
    "llama",
    "gpt_neox",
    *(pytest.param(n, marks=pytest.mark.slow) for n in ("opt", "codegen", "gemma", "qwen2")),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Makes the folder of a family once."""
    made = {}

    def of(family):
        if family not in made:
            made[family] = tiny_folder(family, tmp_path_factory.mktemp(family), SAMPLES, 600)
        return made[family]

    return of


def reader_of(folder, **more):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    model.generation_config = neutral_generation_config(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return ChatReader(model=model, tokenizer=tokenizer, end_ids=end_token_ids(folder, tokenizer), **more)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_place_is_the_neutral_answer_and_nothing_else(family, folders):
    """In the format of the chat template, or as plain lines where the folder has none."""
    tokenizer = reader_of(folders(family)).tokenizer
    encoder = ChatEncoder(tokenizer)
    for exchange in (*NEUTRAL_EXCHANGES, exchange_with("bread")):
        row = encoder.row(exchange, WHETHER_QUESTION, ("yes", "no"))
        first, last = row.span
        shown = tokenizer.decode(row.tokens[first:last]).strip()
        assert exchange[1].startswith(shown)  # a plain line's last sign may share a token with the line break
        assert len(shown) >= len(exchange[1]) - 1
        assert exchange[0] in tokenizer.decode(row.tokens[:first])
        assert "Was one?" in tokenizer.decode(row.tokens[last:])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reply_with_nothing_added_is_the_reply_of_a_plain_generation(family, folders):
    """Strength 0 changes no byte; a strong vector changes probabilities; replies do not depend on their batch."""
    reader = reader_of(folders(family), max_new_tokens=4)
    encoder = ChatEncoder(reader.tokenizer)
    rows = [encoder.row(exchange, WHETHER_QUESTION, ("yes", "no")) for exchange in NEUTRAL_EXCHANGES[:4]]
    plain = reader.replies(rows)
    width = reader.model.config.hidden_size
    nothing, much = np.zeros((4, width), np.float32), Seed(0).numpy().normal(size=(4, width)).astype(np.float32) * 5
    assert reader.replies(rows, "residual.1", nothing) == plain
    assert reader.replies(rows, "residual.1", much) != plain
    alone = [reader.replies([row], "residual.1", much[n : n + 1])[0] for n, row in enumerate(rows)]
    together = reader.replies(rows, "residual.1", much)
    for one, other in zip(alone, together, strict=True):
        assert one.probabilities["yes"] == pytest.approx(other.probabilities["yes"], rel=1e-4)


def test_a_plain_request_is_answered_as_the_local_chat_model_answers_it(folders):
    """The same tokens, template and ends, so that injected and other replies can be compared."""
    folder = folders("llama")
    reader = reader_of(folder, max_new_tokens=6)
    row = ChatEncoder(reader.tokenizer).request("What is bread?", ("yes", "no"))
    ((_, response),) = LocalChatModel(folder).complete([ChatRequest.from_user("What is bread?", max_new_tokens=6)])
    assert reader.replies([row])[0].text == f"? {response.text}"


def test_vectors_stay_with_their_rows_when_rows_are_sorted_by_length(folders):
    """Rows of several lengths are read in batches of one length each."""
    reader = reader_of(folders("llama"), max_new_tokens=1)
    encoder = ChatEncoder(reader.tokenizer)
    rows = [encoder.row(one, WHETHER_QUESTION, ("yes", "no")) for one in NEUTRAL_EXCHANGES[:3] * 2]
    vectors = np.zeros((6, 32), np.float32)
    vectors[4] = 9
    changed = [a != b for a, b in zip(reader.replies(rows, "residual.1", vectors), reader.replies(rows), strict=True)]
    assert changed == [False, False, False, False, True, False]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Yes.", "yes"),
        ("no", "no"),
        ("Yes and no", "? Yes and no"),
        ("maybe", "? maybe"),
        ("", "? "),
        ("yesterday", "? yesterday"),
    ],
)
def test_the_label_of_a_text(text, label):
    """One label as a word; none or several are a reply of another form."""
    assert label_in_text(text, ("yes", "no")) == label


def test_a_first_token_of_several_labels_favours_none(folders):
    """A byte-level tokenizer begins words that it does not know with their first letters."""
    tokenizer = reader_of(folders("llama")).tokenizer
    shares = first_token_shares(tokenizer, ("zebra", "zither", "oboe"))
    assert set(shares[0]) & set(shares[1])
    for token in set().union(*shares):
        own = [one[token] for one in shares if token in one]
        assert own == pytest.approx([1 / len(own)] * len(own))


def test_a_template_that_changes_messages_is_refused(folders):
    """The place would be guessed."""
    tokenizer = reader_of(folders("llama")).tokenizer
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(SpecError, match="does not hold messages as they are"):
        ChatEncoder(tokenizer).row(NEUTRAL_EXCHANGES[0], WHETHER_QUESTION, ())
    tokenizer.chat_template = "{{ raise_exception('one message only') }}"
    with pytest.raises(SpecError, match="cannot write a conversation"):
        ChatEncoder(tokenizer).row(NEUTRAL_EXCHANGES[0], WHETHER_QUESTION, ())


class ScriptedReader:
    """Replies by a rule to what is added and to what is quoted, without a network."""

    def __init__(self, rule, directions, tokenizer):
        self.rule, self.directions, self.tokenizer = rule, directions, tokenizer

    def replies(self, rows, site=None, vectors=None):
        return [self._reply(row, site, None if vectors is None else vectors[n]) for n, row in enumerate(rows)]

    def _reply(self, row, site, vector):
        quoted = re.search(r"thinking of (\w+)", self.tokenizer.decode(row.tokens))
        named = quoted[1] if quoted else self._named(site, vector)
        if self.rule == "always":
            named = named or row.labels[0]
        asks_whether = row.labels == ("yes", "no")
        said = ("yes" if named else "no") if asks_whether else named or "none"
        return InjectionReply(said, {label: float(label == said) for label in row.labels})

    def _named(self, site, vector):
        """The concept along whose direction the vector lies; none where it is none's, and for who is deaf."""
        if vector is None or self.rule == "deaf":
            return None
        along = {word: float(vector @ unit) for word, unit in self.directions.units[site].items()}
        best = max(along, key=along.__getitem__)
        return best if along[best] > 0.99 * np.linalg.norm(vector) else None


@pytest.mark.parametrize(("rule", "yes"), [("reads", (1, 0)), ("deaf", (0, 0)), ("always", (1, 1))])
def test_planted_replies_come_out_as_planted(rule, yes, folders):
    """Who reads the direction reports concepts and nothing else; false alarms give away who always says yes."""
    base = reader_of(folders("llama"))
    splits = {word: "seen" if n < 2 else "unseen" for n, word in enumerate(WORDS)}
    grid = [("residual.1", 1.0), ("residual.1", 2.0)]
    trials = ChatTrials(
        words=WORDS,
        splits=splits,
        exchanges_per_concept=2,
        grid=grid,
        encoder=ChatEncoder(base.tokenizer),
        seed=Seed(0),
    )
    directions = trials.directions(base)
    reader = ScriptedReader(rule, directions, base.tokenizer)
    scorer = InjectionScorer(evaluation="injected", yes="yes", no="no", none="none")
    table = scorer.table(one for part in trials.run(reader, directions) for one in part)

    def share(metric, kind):
        return table.filter(pl.col("metric") == metric, pl.col("attribute").str.starts_with(kind))["value"].mean()

    assert (share("yes", "concept"), share("yes", "none")) == yes
    assert share("yes", "random") == share("yes", "prompt") == share("names any", "random") == yes[1]
    assert share("reported", "concept") == {"reads": 1, "deaf": 0, "always": 1}[rule]
    assert share("names", "read") == 1
    assert share("constant", "concept") == 0.5
