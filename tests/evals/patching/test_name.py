"""Names exchanged inside the network: nothing moves without another person, all where the name is all there is."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tokenizers import Tokenizer, models

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.sampling import EpochSampler
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.data.worlds.biographies.world import Biographies, BiographyNameExtractor
from nosce.errors import DataError
from nosce.evals.patching.name import NamePatching
from nosce.models.architecture import Architecture, build_model
from nosce.models.hooks import layer_sites
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig

SEED = Seed(14)
WORLD = Biographies(people=30, name_pool_sizes=(8, 8, 8), cities=6, universities=6, majors=4, companies=6)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A network that has learnt by heart the answers about everybody, so that the name tells them."""
    folder = tmp_path_factory.mktemp("people") / "corpus"
    make(CorpusSpec(world=WORLD, seed=SEED, tokenizer=TokenizerSpec()), {}, StepContext(folder=folder))
    corpus = Corpus(folder)
    shape = Architecture(layers=2, width=64, heads=2, max_positions=64)
    net = build_model(shape, vocab_size=corpus.tokenizer.get_vocab_size(), eos_id=corpus.eos_id, pad_id=None, seed=SEED)
    questions = corpus.tokenized_questions(corpus.questions)
    loop.train(
        net,
        questions,
        EpochSampler(len(questions), 60, SEED),
        TrainingConfig(steps=250, batch_size=60, optimizer="muon", peak_lr=1e-2),
        eos_id=corpus.eos_id,
        folder=folder / "run",
        on_checkpoint=lambda step: None,
    )
    return corpus, net.eval()


@pytest.mark.whole
def test_answers_follow_a_name_whose_states_are_all_exchanged(learnt):
    """Below the first block a name is nothing but its tokens: exchanged whole, the answer is the donor's.

    Put back, it is what it was; behind the last block nothing reads it any more.
    """
    corpus, net = learnt
    rows = pl.concat(
        list(
            NamePatching(name_extractor=BiographyNameExtractor(), max_pairs=80).evaluate_checkpoints(
                {1: lambda: net}, corpus, SEED
            )
        )
    )
    share = dict(rows.group_by("metric").agg(pl.col("value").mean()).iter_rows())
    assert share["right"] > 0.95
    assert share["whole/follows/residual.0"] > 0.95
    assert share["whole/stays/residual.0"] < 0.05
    assert share["last/follows/residual.0"] < 0.6  # a last name alone is shared
    assert share["whole/stays/final"] == share["right"]
    for site in layer_sites(net):
        for which in ("last", "whole"):
            assert share[f"{which}/self/{site}"] == 1
    donors = rows.filter(metric="right")["item"].str.split("/person/").list.last()
    assert not (("person/" + donors) == rows.filter(metric="right")["entity"]).any()


class QuotedName:
    """The name of a prompt is what stands in front of "lives"."""

    def extract_name(self, prompt: str, attribute: str) -> str:
        return prompt.partition(" lives")[0].removeprefix("(")


def test_a_name_is_exchanged_with_all_bytes_of_its_last_letter(tmp_path):
    """Where a letter is several tokens all are the name's; a name that shares a token is refused."""
    names = ("Joë", "Zoë", "Ana")
    questions = [Question(n, n, "town", f"{n} lives in", town, "unseen") for n, town in zip(names, "xyz", strict=True)]
    save_tokenizer(
        build_tokenizer(TokenizerSpec(kind="bpe", vocab_size=300), ["Ana lives in x"] * 9), tmp_path / "tokenizer"
    )
    write_corpus(tmp_path, [Document("0", "0", "Ana lives in x", ())], questions)
    corpus, evaluation = Corpus(tmp_path), NamePatching(name_extractor=QuotedName())
    for question in questions:
        tokenized = evaluation._tokenize(question, corpus)
        first, last = tokenized.span
        assert corpus.tokenizer.decode(tokenized.tokens[first:last].tolist()) == question.entity
    with pytest.raises(DataError, match=r"in the question 'Ana' the name 'Ana' shares a token"):
        evaluation._tokenize(replace(questions[-1], prompt="(Ana lives in"), merged(tmp_path / "merged"))


def merged(folder) -> Corpus:
    """A corpus whose tokenizer joins a bracket with the letter behind it."""
    vocabulary = {piece: n for n, piece in enumerate(["<eos>", *"(Analivesn x", "(A"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("(", "A")]))
    save_tokenizer(tokenizer, folder / "tokenizer")
    return Corpus(folder)


@pytest.mark.whole
def test_attributes_can_be_chosen_and_pairs_are_of_one_attribute(learnt):
    """Only majors, each with a donor of another major."""
    corpus, _ = learnt
    evaluation = NamePatching(name_extractor=BiographyNameExtractor(), attributes=("major",))
    hosts, donors = evaluation._pair_questions(corpus, SEED)
    assert hosts
    for host, donor in zip(hosts, donors, strict=True):
        assert host.question.attribute == donor.question.attribute == "major"
        assert host.first_token != donor.first_token
        assert host.span == donor.span
