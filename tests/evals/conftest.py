"""What the tests of evaluations share: a small world of programs, numbered lists, and a network that is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel

from nosce.data.corpus import Corpus, write_corpus
from nosce.data.packing import TokenDataset
from nosce.data.sampling import EpochSampler
from nosce.data.tokenizer import EOS_TOKEN, PAD_TOKEN, UNK_TOKEN, TokenizerSpec, build_tokenizer, save_tokenizer
from nosce.data.worlds.karel import Karel
from nosce.data.worlds.karel.scoring import KarelScorer
from nosce.data.worlds.karel.tokens import fit_to_tokenizer
from nosce.evals.generation import Completion
from nosce.evals.probing.programs import ProgramDataset
from nosce.models.architecture import Architecture, build_model
from nosce.records import Document, Question
from nosce.seeds import Seed
from nosce.train import loop
from nosce.train.config import TrainingConfig

KAREL_SEED = Seed(41)
COUNT_WORDS = ("one", "two", "three", "four")
LIST_NAMES = tuple(f"person{letter}" for letter in "abcdefghijklmnopqrst")


@dataclass(frozen=True)
class NumberedLists:
    """Questions `<name> <number> :`, answered by so many equal entries; numbers are shown and names tell nothing."""

    def entry_count(self, question: Question) -> int | None:
        return len(question.target.split())

    def entry_ends(self, question: Question) -> list[int]:
        return [2 * number - 1 for number in range(1, len(question.target.split()) + 1)]

    def with_extra_entry(self, question: Question) -> str:
        return question.target + " x"

    def with_entries_of(self, question: Question, donor: Question) -> str:
        return question.target

    def count_probe_texts(self, question: Question) -> Mapping[str, str]:
        return {"number": question.prompt.removesuffix(" :"), "question": question.prompt, "name": question.entity}


@pytest.fixture(scope="session")
def numbered_lists() -> NumberedLists:
    """The world's knowledge of numbered lists."""
    return NumberedLists()


@pytest.fixture(scope="session")
def numbered_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twenty names with each of four numbers; names are split into seen, validation and unseen ones."""
    splits = {name: ("unseen", "seen", "seen", "validation")[index % 4] for index, name in enumerate(LIST_NAMES)}
    questions = []
    for name, split in splits.items():
        for count, word in enumerate(COUNT_WORDS, 1):
            entries = " ".join(["x"] * count)
            questions.append(Question(f"{name}/{word}", name, "list", f"{name} {word} :", entries, split))
    folder = tmp_path_factory.mktemp("numbered")
    save_tokenizer(
        build_tokenizer(TokenizerSpec(), [f"{q.prompt} {q.target}" for q in questions]), folder / "tokenizer"
    )
    write_corpus(folder, [Document("d/0", "d/0", "x x", ())], questions)
    return Corpus(folder)


@pytest.fixture(scope="session")
def train_small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Corpus, TokenDataset], PreTrainedModel]:
    """A function that trains a small network on texts until it knows them by heart."""

    def train(corpus: Corpus, dataset: TokenDataset, steps: int = 150) -> PreTrainedModel:
        shape = Architecture(layers=2, width=32, heads=2, max_positions=16)
        size, seed = corpus.tokenizer.get_vocab_size(), Seed(8)
        net = build_model(shape, vocab_size=size, eos_id=corpus.eos_id, pad_id=None, seed=seed)
        folder: Path = tmp_path_factory.mktemp("run")
        config = TrainingConfig(steps=steps, batch_size=32, optimizer="muon", peak_lr=1e-2)
        sampler = EpochSampler(len(dataset), 32, seed)
        loop.train(net, dataset, sampler, config, eos_id=corpus.eos_id, folder=folder, on_checkpoint=lambda step: None)
        return net.eval()

    return train


def _byte_pairs() -> Tokenizer:
    """As of a pretrained model: a word behind a space has other tokens, and `turnLeft` begins as `turnRight` does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special, alphabet = [EOS_TOKEN, PAD_TOKEN, UNK_TOKEN], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["a move , a turn , Left , Right , a put , a pick , Marker"] * 4, trainer)
    return tokenizer


@pytest.fixture(scope="session", params=["lean", "official", "own"])
def karel_corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Specifications of a small world, in both encodings, and in the tokens of a tokenizer made for other texts."""
    folder = tmp_path_factory.mktemp(request.param)
    world = Karel(
        board_shape=(3, 3),
        n_examples=2,
        n_heldout_examples=1,
        records=20,
        lengths=(2, 6),
        asked_lengths=(3, 6),
        seen_questions=240,
        unseen_questions=120,
        encoding="official" if request.param == "official" else "lean",
    )
    if request.param == "own":
        tokenizer = _byte_pairs()
        world = fit_to_tokenizer(world, tokenizer)
    else:
        tokenizer = build_tokenizer(world.tokenizer, world.samples(KAREL_SEED))
    save_tokenizer(tokenizer, folder / "tokenizer")
    write_corpus(folder, world.documents(KAREL_SEED), world.questions(KAREL_SEED))
    return Corpus(folder)


@pytest.fixture(scope="session")
def karel_scorer(karel_corpus: Corpus) -> KarelScorer:
    """The world's interpreter, for the encoding that the questions have."""
    encoding = "official" if "Examples" in karel_corpus.questions[0].prompt else "lean"
    world = Karel(board_shape=(3, 3), n_examples=2, n_heldout_examples=1, encoding=encoding)
    return KarelScorer(world=fit_to_tokenizer(world, karel_corpus.tokenizer), max_operations=8)


@pytest.fixture(scope="session")
def reference_completions(karel_corpus: Corpus) -> list[Completion]:
    """The reference programs, as if a model had written them."""
    replies = [question.target for question in karel_corpus.questions]
    encodings = karel_corpus.tokenizer.encode_batch(replies, add_special_tokens=False)
    return [Completion(np.array(e.ids), reply) for e, reply in zip(encodings, replies, strict=True)]


@pytest.fixture(scope="session")
def karel_programs(
    karel_corpus: Corpus, karel_scorer: KarelScorer, reference_completions: list[Completion]
) -> ProgramDataset:
    """The reference programs with their states."""
    programs = ProgramDataset.from_completions(
        karel_scorer, karel_corpus, karel_corpus.questions, reference_completions
    )
    assert programs is not None
    return programs


@pytest.fixture(scope="session")
def untrained_model(karel_corpus: Corpus) -> PreTrainedModel:
    """A network that was never trained."""
    shape = Architecture(layers=2, width=32, heads=2, max_positions=512)
    size = karel_corpus.tokenizer.get_vocab_size()
    return build_model(shape, vocab_size=size, eos_id=karel_corpus.eos_id, pad_id=None, seed=KAREL_SEED)
