"""Minimum description length: how many bits do labels cost, if a probe of the hidden states predicts them?

The online code encodes the labels in blocks. Those of a block cost what a probe says that was trained on all earlier
blocks. Labels of the first block cost what equally likely classes would. A probe that is accurate because it has seen
many examples, and not because the hidden states make the task easy, pays much for the early blocks.

Source: Voita and Titov 2020 (arXiv:2003.12298), section 2.2. Letters: P places (hidden states with labels), W width,
K tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nosce.evals.probing.probe import PROBE_SPLITS, UNKNOWN_LABEL, ProbeConfig, fit_probes
from nosce.seeds import Seed

CODE_FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the entities, encoded at the end of each block


def online_code_lengths(
    states: np.ndarray,
    tasks: Mapping[str, np.ndarray],
    entities: Sequence[str] | np.ndarray,
    config: ProbeConfig,
    seed: Seed,
    *,
    fractions: Sequence[float] = CODE_FRACTIONS,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The bits of each label in an online code that knows the states, and in one that knows no states.

    Args:
        states: (P, W) hidden states.
        tasks: Name -> (P,) labels counted from 0; `UNKNOWN_LABEL` leaves a place out.
        entities: (P,) what each place is about; the places of an entity are in one block.
        config: Shape and training of the probes.
        seed: Seed of the order of entities and of the probes.
        fractions: Shares of the entities that are encoded at the end of each block, the last of them 1.

    Returns:
        Task -> bits of each place by the probes, and by how often each class occurred in earlier blocks. Both (P,), NaN
        where there is no label and in the first block, which both codes encode alike. A task is left out if the first
        block has fewer than two of its classes.
    """
    block, is_validation = _blocks(np.asarray(entities), fractions, seed)
    arrays = {name: np.asarray(values) for name, values in tasks.items()}
    codable = {name: values for name, values in arrays.items() if _is_codable(values, block == 0, is_validation)}
    if not codable:
        return {}
    labels = np.stack(list(codable.values()))
    bits, prior = (np.full(labels.shape, np.nan) for _ in range(2))
    for current in range(1, len(fractions)):
        earlier, now = block < current, block == current
        # A label that is not encoded yet teaches nothing.
        splits = np.where(earlier & is_validation, PROBE_SPLITS[1], np.where(earlier, PROBE_SPLITS[0], PROBE_SPLITS[2]))
        visible_labels = np.where((earlier | now)[None], labels, UNKNOWN_LABEL)
        outputs, _ = fit_probes(states, visible_labels, splits, config, seed / current)
        for task_row, row in enumerate(visible_labels):
            in_block = now & (row != UNKNOWN_LABEL)
            counts = np.bincount(row[earlier & (row != UNKNOWN_LABEL)], minlength=labels[task_row].max() + 1) + 1.0
            bits[task_row, in_block] = outputs.nats[task_row, in_block] / math.log(2)
            prior[task_row, in_block] = -np.log2(counts / counts.sum())[row[in_block]]
    return {name: (bits[task_row], prior[task_row]) for task_row, name in enumerate(codable)}


def _blocks(entities: np.ndarray, fractions: Sequence[float], seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """The block of each place, and whether it is among the tenth that decides when training stops. (P,), (P,)."""
    unique_entities, entity_index = np.unique(entities, return_inverse=True)
    rank_of_entity = np.empty(len(unique_entities), dtype=np.int64)
    rank_of_entity[seed.numpy().permutation(len(unique_entities))] = np.arange(len(unique_entities))
    ranks = rank_of_entity[entity_index]
    block = np.searchsorted(np.asarray(fractions) * len(unique_entities), ranks, side="right")
    return block, ranks % 10 == 0


def _is_codable(labels: np.ndarray, in_first_block: np.ndarray, is_validation: np.ndarray) -> bool:
    """Has the first block two classes to train on, and a label that decides when training stops?"""
    is_labelled = labels != UNKNOWN_LABEL
    train_classes = np.unique(labels[in_first_block & ~is_validation & is_labelled])
    return len(train_classes) > 1 and bool((in_first_block & is_validation & is_labelled).any())
