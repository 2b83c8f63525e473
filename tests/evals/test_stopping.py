"""Stopping behind the last entry: the decisions are the model's own."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models

from nosce.data import corpus as corpora
from nosce.data import tokenizer as tokenizers
from nosce.data.corpus import Corpus
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import DiaryScorer
from nosce.data.worlds.diaries.world import ENTRY_NUMBER_ATTRIBUTE
from nosce.errors import DataError
from nosce.evals.qa import FrequencyBaseline, RecallEval
from nosce.evals.stopping import EntryBoundaries, StopDecision, score_stop_decisions
from nosce.models.architecture import Architecture, build_model
from nosce.models.likelihood import loss_mask_spans, score_spans
from nosce.records import Question
from nosce.seeds import Seed

SEED = Seed(8)
WORLD = Diaries(
    n_diarists=300,
    name_pool_sizes=(24, 24),
    entries=(1, 4),
    attributes=(1, 3),
    n_attributes=4,
    values_per_attribute=4,
    train_share=0.6,
)


@dataclass
class Case:
    """A world with its corpus and an untrained network."""

    world: Diaries
    corpus: Corpus
    net: object

    @property
    def reader(self) -> DiaryScorer:
        """The world's judge."""
        return DiaryScorer(world=self.world)


@pytest.fixture(scope="module", params=["lean", "paper", "t5"])
def case(request, tmp_path_factory) -> Case:
    """Both encodings, and an encoder-decoder."""
    folder = tmp_path_factory.mktemp(request.param)
    world = replace(WORLD, encoding="paper" if request.param == "paper" else "lean", repeat_title=request.param == "t5")
    tokenizers.save_tokenizer(tokenizers.build_tokenizer(world.tokenizer, world.samples(SEED)), folder / "tokenizer")
    corpora.write_corpus(folder, world.documents(SEED), world.questions(SEED))
    corpus = Corpus(folder)
    family = "t5" if request.param == "t5" else "gpt-neox"
    shape = Architecture(family=family, layers=2, width=32, heads=2)
    size = corpus.tokenizer.get_vocab_size()
    return Case(
        world, corpus, build_model(shape, vocab_size=size, eos_id=corpus.eos_id, pad_id=corpus.eos_id, seed=SEED).eval()
    )


def lists(case, split="unseen"):
    """Questions of a split with where their entries end."""
    return [(q, EntryBoundaries.from_question(q, case.reader, case.corpus)) for q in case.corpus.questions_in(split)]


def test_entries_end_where_the_next_begins(case):
    """Cut there, the target falls into its entries; behind the last, what goes on is what went on before."""
    for question, at in lists(case)[:40]:
        cuts = case.reader.entry_ends(question)
        assert len(cuts) == case.reader.entry_count(question) == len(at.decision_positions)
        assert cuts[-1] == len(question.target)
        tokens = case.corpus.tokenizer.encode(question.target, add_special_tokens=False).ids
        assert at.decision_positions[-1] == len(tokens)
        for cut, place, onward in zip(cuts[:-1], at.decision_positions, at.continue_tokens, strict=False):
            assert tokens[place] == onward
            assert case.corpus.tokenizer.decode(tokens[:place]).strip() == question.target[:cut].strip()
        assert len(set(at.continue_tokens.tolist())) == 1


def test_decisions_are_those_of_the_whole_forward_pass(case):
    """The probability of the end token among the two; with the content they make up all nats."""
    told = lists(case)[:12]
    sequences = case.corpus.tokenized_questions([q for q, _ in told])
    whole = score_spans(case.net, sequences, loss_mask_spans(sequences), eos_id=case.corpus.eos_id)
    end = case.corpus.eos_id
    for number, ((stop, nats), (_, at)) in enumerate(
        zip(score_stop_decisions(case.net, case.corpus, told), told, strict=True)
    ):
        assert nats == pytest.approx(whole[number].nats, rel=1e-4)
        given, text = int(sequences.prompt_len[number]), sequences.text_tokens(number)
        with torch.no_grad():
            if case.net.config.is_encoder_decoder:
                asked = torch.from_numpy(text[:given].astype(np.int64))[None]
                said = torch.from_numpy(np.array([[end, *text[given:]]]).astype(np.int64))
                logits, first = case.net(input_ids=asked, decoder_input_ids=said).logits[0], 0
            else:
                logits = case.net(input_ids=torch.from_numpy(np.array([[end, *text]]).astype(np.int64))).logits[0]
                first = given
        for place, onward, p in zip(at.decision_positions, at.continue_tokens, stop, strict=True):
            two = logits[first + place][torch.tensor([end, int(onward)])].softmax(0)
            assert p == pytest.approx(float(two[0]), abs=1e-4)


def test_readings_of_stops(case):
    """One a decision and three a list; content and stops are the list's nats; retold lists keep their titles."""
    rows = pl.DataFrame(list(StopDecision(list_task=case.reader).evaluate(case.net, case.corpus, SEED)))
    questions = case.corpus.questions_in("unseen")
    assert Counter(rows["metric"].to_list())["stop/last"] == len(questions)
    counts = [case.reader.entry_count(q) for q in questions]
    assert rows.filter(metric="stop/before").height == sum(counts) - len(questions)
    assert rows.filter(metric="stopped")["value"].is_in([0.0, 1.0]).all()
    sequences = case.corpus.tokenized_questions(questions)
    nats = sum(
        one.nats for one in score_spans(case.net, sequences, loss_mask_spans(sequences), eos_id=case.corpus.eos_id)
    )
    assert rows.filter(pl.col("metric").is_in(["stops", "content"]))["value"].sum() == pytest.approx(nats, rel=1e-4)

    one, other = questions[:2]
    told = case.reader.with_entries_of(one, other)
    (judged,) = case.reader.score([one], [told], [True])
    assert judged["count"] == (1.0, "right")
    again = list(
        StopDecision(list_task=case.reader, swapped_entries=True, name="retold").evaluate(case.net, case.corpus, SEED)
    )
    assert sum(r.metric == "stop/last" for r in again) == len(questions)


class JoinedLists:
    """A list whose entries stand side by side."""

    def entry_ends(self, question: Question) -> list[int]:
        return [question.target.index(";"), len(question.target)]

    def with_extra_entry(self, question: Question) -> str:
        return question.target + "a"


def test_a_token_over_the_end_of_an_entry_is_refused(tmp_path):
    """Where no token ends with the entry there is no decision to read; the sentence shows the entry."""
    for merges in ([], [("b", ";")]):
        vocabulary = {piece: n for n, piece in enumerate(["<eos>", *"ab;", *("".join(pair) for pair in merges)])}
        folder = tmp_path / str(len(merges))
        tokenizers.save_tokenizer(Tokenizer(models.BPE(vocabulary, merges)), folder / "tokenizer")
        question = Question("list/0", "p", "list", "?", "ab;ab", "unseen")
        if not merges:
            found = EntryBoundaries.from_question(question, JoinedLists(), Corpus(folder))
            assert found.decision_positions.tolist() == [2, 5]
            continue
        with pytest.raises(DataError, match=r"'list/0' a token reaches over the end of the entry .* 'ab'; separate"):
            EntryBoundaries.from_question(question, JoinedLists(), Corpus(folder))


def test_the_number_in_a_title_costs_what_its_frequencies_say(case):
    """Without the name as often as it is; with the name, evenly among the entries there are."""
    rows = pl.DataFrame(list(FrequencyBaseline(attributes=(ENTRY_NUMBER_ATTRIBUTE,)).evaluate(None, case.corpus, SEED)))
    own = rows.filter(metric="nats/own")
    counts = {q.entity: case.reader.entry_count(q) for q in case.corpus.questions}
    for entity, value in own.select("entity", "value").iter_rows():
        assert value == pytest.approx(math.log(counts[entity]))
    assert rows.filter(metric="nats")["value"].mean() > own["value"].mean()
    if not case.net.config.is_encoder_decoder:
        heard = RecallEval(documents_per_entity=0, attributes=(ENTRY_NUMBER_ATTRIBUTE,)).evaluate(
            case.net, case.corpus, SEED
        )
        assert {r.item for r in heard} == set(rows["item"].to_list())
