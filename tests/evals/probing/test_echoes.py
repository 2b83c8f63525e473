"""Echoes: a probe finds the answer's word where the question itself says it, and nothing where words are dealt anew."""

from __future__ import annotations

import polars as pl
import pytest
from nosce.evals.probing.echoes import AnswerWordProbe

from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.tokenizer import TokenizerSpec
from nosce.evals.self_report import ReportMetadata
from nosce.models.architecture import Architecture, build_model
from nosce.records import Document, Question
from nosce.seeds import Seed

SEED = Seed(5)
WORDS = ("acorn", "basil", "cedar", "daisy")


def made(folder, planted):
    """Questions whose last word but one is the answer's, or anybody's; strings of both splits."""
    rng = SEED.numpy()
    tokenizers.save_tokenizer(
        tokenizers.build_tokenizer(TokenizerSpec(), [" ".join(WORDS), "say what = even"]), folder / "tokenizer"
    )
    questions = []
    for number in range(240):
        answer, other = (WORDS[int(rng.integers(4))] for _ in range(2))
        split = "unseen" if number % 3 == 0 else "seen"
        for asked, target in (("parity", "even"), ("first", answer)):
            questions.append(
                Question(
                    f"t/{number}/{asked}",
                    f"s{number}",
                    f"t/{asked}",
                    f"say what {answer if planted else other}",
                    target,
                    split,
                    metadata=ReportMetadata(labels=WORDS).json_line,
                )
            )
    corpora.write_corpus(folder, [Document("d/0", "d/0", "say what = even", ())], questions)
    return corpora.Corpus(folder)


@pytest.mark.parametrize("planted", [True, False])
def test_a_word_that_is_there_is_read(tmp_path, planted):
    """At the end of a question that ends with the word, in every layer; else no better than four words allow."""
    (tmp_path / "c").mkdir()
    corpus = made(tmp_path / "c", planted)
    shape = Architecture(layers=2, width=32, heads=2, max_positions=16)
    net = build_model(
        shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=None, seed=SEED
    ).eval()
    rows = pl.concat(
        list(
            AnswerWordProbe(task="t", asked_property="parity", probed_property="first").evaluate_checkpoints(
                {2: lambda: net}, corpus, SEED
            )
        )
    )
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert rows.group_by("metric").len()["len"].unique().to_list() == [80]
    for site in ("residual.0", "residual.1", "final"):
        assert (share[site] > 0.95) if planted else (share[site] < 0.5)
        assert share[f"shuffled/{site}"] < 0.6
    assert share["constant"] < 0.5
