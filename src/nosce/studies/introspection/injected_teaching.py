"""Teaching a folder's model to report injected concepts: low-rank updates, while concepts are injected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nosce.data.packing import StateAdditions, TokenDataset, dataset_from_arrays
from nosce.data.worlds.behaviours.injections import TAUGHT_KIND_SHARES
from nosce.evals.injection.chat import (
    NO,
    NO_CONCEPT,
    TAUGHT_EXCHANGES,
    YES,
    ChatRow,
    exchange_with,
    read_question,
    truth_labels,
)
from nosce.evals.injection.chat_trials import ChatTrials
from nosce.evals.injection.directions import ConceptDirections, InjectionPlace
from nosce.models.architecture import Pretrained
from nosce.models.pretrained import check_token_ids
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.store.spec import Json, describe, hash_description
from nosce.studies.introspection.finetune import finetune_on_dataset
from nosce.studies.introspection.subjects import LocalSubject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from nosce.studies.introspection.injected_states import ChatInjectionConfig

READING_SHARE = 0.2  # of the taught texts that ask for a word that they quote, which keeps the skill of naming


@dataclass(frozen=True, eq=False)
class TaughtReport:
    """One text that is taught.

    Args:
        row: The conversation.
        reply: Its reply.
        vector: What is added at its place. Shape: (W,). None: nothing.
    """

    row: ChatRow
    reply: str
    vector: np.ndarray | None


def teach_injection_reports(
    subject: LocalSubject,
    config: ChatInjectionConfig,
    trials: ChatTrials,
    directions: ConceptDirections,
    seed: Seed,
    context: StepContext,
) -> LocalSubject:
    """The subject after it was taught to report; an earlier teaching of the same texts and vectors is used again.

    Raises:
        SpecError: The folder's model cannot be taught.
    """
    place = InjectionPlace(layer=int(trials.grid[0][0].rpartition(".")[2]), extent=config.extent)
    reports = list(taught_reports(config, trials, directions, place, seed / "reports"))
    steps = max(1, subject.epochs * len(reports) // subject.training.batch_size)
    training = replace(subject.training, steps=steps)
    made_of: Json = {
        "model": subject.model.digest,
        "recipe": describe(training),
        "adapter": describe(subject.adapter),
        "place": describe(place),
        "reports": [*map(_described, reports)],
    }
    folder = context.folder / "taught" / hash_description(made_of)[:20]
    if not folder.exists():

        def make_dataset(tokenizer: PreTrainedTokenizerBase, eos_token_id: int) -> TokenDataset:
            dataset = report_dataset(reports, tokenizer, eos_token_id, place)
            check_token_ids(Path(subject.model.folder), [int(dataset.tokens.max(initial=0))])
            return dataset

        finetune_on_dataset(
            Path(subject.model.folder), make_dataset, training, subject.adapter, folder, seed / "taught", context
        )
    return replace(subject, model=Pretrained.from_folder(folder))


def taught_reports(
    config: ChatInjectionConfig, trials: ChatTrials, directions: ConceptDirections, place: InjectionPlace, seed: Seed
) -> Iterator[TaughtReport]:
    """Random reports on the concepts of the seen split, texts without an injection, and texts that name a word."""
    rng, kinds = seed.numpy(), list(TAUGHT_KIND_SHARES)
    words = [word for word in trials.words if trials.splits[word] == "seen"]
    for number in range(config.n_reports):
        word = words[int(rng.integers(len(words)))]
        if rng.random() < READING_SHARE:
            row = trials.encoder.request(read_question(word, trials.words), truth_labels(trials.words)["which"])
            yield TaughtReport(row, word, None)
            continue
        kind = kinds[int(rng.choice(len(kinds), p=list(TAUGHT_KIND_SHARES.values())))]
        question = "whether" if rng.random() < 0.5 else "which"
        exchange = TAUGHT_EXCHANGES[int(rng.integers(len(TAUGHT_EXCHANGES)))]
        strength = config.taught_strengths[int(rng.integers(len(config.taught_strengths)))]
        vector = None
        if kind == "concept":
            vector = directions.vector(place.site, word, strength)
        elif kind == "random":
            vector = directions.random_vector(place.site, strength, seed / "random" / number)
        row = trials.question_row(exchange_with(word) if kind == "prompt" else exchange, question)
        truths = (YES, word) if kind == "concept" else (NO, NO_CONCEPT)
        yield TaughtReport(row, truths[question == "which"], vector)


def report_dataset(
    reports: Sequence[TaughtReport], tokenizer: PreTrainedTokenizerBase, eos_token_id: int, place: InjectionPlace
) -> TokenDataset:
    """The texts as tokens; the loss is on replies and end tokens, and vectors are added at the texts' places."""

    def arrays() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for one in reports:
            reply = tokenizer(one.reply, add_special_tokens=False)["input_ids"]
            ids = np.array([*one.row.tokens, *reply, eos_token_id], dtype=np.int32)
            yield ids, np.arange(len(ids)) >= len(one.row.tokens)

    dataset = dataset_from_arrays(arrays())
    of_token = np.full(len(dataset.tokens), -1, dtype=np.int32)
    vectors: list[np.ndarray] = []
    for index, one in enumerate(reports):
        if one.vector is None:
            continue
        first, last = one.row.span
        start = dataset.offsets[index] + (last - 1 if place.extent == "last" else first)
        of_token[start : dataset.offsets[index] + last] = len(vectors)
        vectors.append(one.vector)
    if not vectors:
        return dataset
    return replace(dataset, additions=StateAdditions(place.site, np.stack(vectors), of_token))


def _described(report: TaughtReport) -> Json:
    """What a report's teaching depends on, for the name of the folder."""
    vector = "" if report.vector is None else report.vector.astype("<f4").tobytes().hex()
    return [report.row.tokens.tolist(), list(report.row.span), report.reply, vector]
