"""Checks before training against the leakage and the artefacts that have misled studies of this kind.

Each check returns its finding in words, and raises an error if the finding would change the meaning of a result. One
reason for the first check: a reproduction of Allen-Zhu and Li 2023 (arXiv:2309.14316) reached 7 % instead of 97 %,
because entries of one person shared a window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from nosce.data.packing import TokenDataset, best_fit_pack
from nosce.data.rendering_process import digest_in_other_process
from nosce.data.sampling import EpochSampler
from nosce.errors import LeakageError
from nosce.records import Document, Question
from nosce.seeds import Seed

CHECKED_STEPS = 400  # training steps in the window check: enough to detect leakage, within seconds
CHECKED_TEXTS = 200  # texts that the hash-seed check renders twice
WINDOW_SHARING_CHECK = "two texts about one entity share a window no more often than by chance"
FALSE_ALARM_RATE = 1e-6  # a check may raise a false alarm once in a million runs


@dataclass(frozen=True, slots=True)
class LeakageCheck:
    """A passed check; a failed check raises an error.

    Args:
        guard: The property that was checked.
        found: The finding in words.
    """

    guard: str
    found: str


def check_window_sharing(
    sequences: TokenDataset, entities: Sequence[str], sampler: EpochSampler, steps: int, window: int | None
) -> LeakageCheck:
    """Texts about one entity share a row no more often than by chance.

    A model that sees two entries of a person in one row can copy a value instead of recalling it.

    Raises:
        LeakageError: They share rows more often than under a shuffle (one-sided binomial test).
    """
    if window is None:
        return LeakageCheck(WINDOW_SHARING_CHECK, "every text sees only itself")
    entity_codes = np.unique(np.asarray(entities), return_inverse=True)[1]
    pairs = same_entity_pairs = 0
    for step in range(min(steps, CHECKED_STEPS)):
        batch = sampler.batch_indices(step)
        for row in best_fit_pack(sequences.lengths[batch].tolist(), window):
            # A step that ends one epoch and begins the next may have a text twice, which is no second text.
            row_entities = entity_codes[np.unique(batch[row])]
            pairs += len(row_entities) * (len(row_entities) - 1) // 2
            same_entity_pairs += sum(n * (n - 1) // 2 for n in np.unique(row_entities, return_counts=True)[1])
    sizes = np.bincount(entity_codes)
    chance_rate = float((sizes * (sizes - 1)).sum() / max(1, len(entity_codes) * (len(entity_codes) - 1)))
    finding = (
        f"{same_entity_pairs:,} of {pairs:,} pairs of texts in one row are about the same thing; chance would give "
        f"{chance_rate * pairs:,.1f}"
        if pairs
        else "every row holds a single text"
    )
    if (
        pairs
        and chance_rate < 1
        and scipy.stats.binomtest(int(same_entity_pairs), pairs, chance_rate, alternative="greater").pvalue
        < FALSE_ALARM_RATE
    ):
        raise LeakageError(f"{finding}: a model could copy instead of recalling; shuffle all texts before packing.")
    return LeakageCheck(WINDOW_SHARING_CHECK, finding)


def check_disjoint_splits(questions: Sequence[Question]) -> LeakageCheck:
    """No entity is in both splits, and no split is empty.

    Raises:
        LeakageError: An entity is in both splits, or a split is empty.
    """
    splits_by_entity: dict[str, set[str]] = {}
    for question in questions:
        splits_by_entity.setdefault(question.entity, set()).add(question.split)
    in_both_splits = [entity for entity, splits in splits_by_entity.items() if len(splits) > 1]
    count = Counter(next(iter(s)) for s in splits_by_entity.values() if len(s) == 1)
    finding = f"{count['seen']:,} are seen and {count['unseen']:,} unseen; {len(in_both_splits)} are on both sides"
    if in_both_splits or not count["seen"] or not count["unseen"]:
        raise LeakageError(
            f"of the entities with questions, {finding}; choose the split by entity, with entities on both sides."
        )
    return LeakageCheck("no entity is in both splits", finding)


def check_unique_prompts(questions: Sequence[Question]) -> LeakageCheck:
    """No two questions have the same prompt, as two people with one name would cause.

    Raises:
        LeakageError: Two questions have the same prompt.
    """
    prompt, times = Counter(q.prompt for q in questions).most_common(1)[0]
    if times > 1:
        raise LeakageError(
            f"{times} questions have the prompt {prompt!r}, so no answer can be correct for all; make names unique."
        )
    return LeakageCheck("no two questions have the same prompt", f"{len(questions):,} questions, all different")


def check_prompt_contamination(documents: TokenDataset, prompts: TokenDataset) -> LeakageCheck:
    """No training text begins with the prompt of an unseen question, because its answer would follow.

    Args:
        documents: The training texts.
        prompts: The prompts of the unseen split, as tokens.

    Raises:
        LeakageError: A training text begins with such a prompt.
    """
    n_contaminated = 0
    for length in np.unique(prompts.lengths):
        prompt_starts = prompts.offsets[:-1][prompts.lengths == length]
        document_starts = documents.offsets[:-1][documents.lengths >= length]
        positions = np.arange(length)
        document_hashes = _prefix_hashes(documents.tokens, document_starts, positions)
        n_contaminated += int(np.isin(_prefix_hashes(prompts.tokens, prompt_starts, positions), document_hashes).sum())
    finding = f"{n_contaminated:,} of {len(prompts):,} prompts open one of {len(documents):,} texts"
    if n_contaminated:
        raise LeakageError(
            f"{finding}: their answers can be recited; leave the unseen questions out of the training texts."
        )
    return LeakageCheck("no training text begins with the prompt of an unseen question", finding)


def _prefix_hashes(tokens: np.ndarray, starts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """One number for the tokens after each start, equal for equal tokens. Shape: (starts,), uint64."""
    keys = np.zeros(len(starts), dtype=np.uint64)
    for step in positions:
        keys = (keys + tokens[starts + step].astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def check_majority_share(
    questions: Sequence[Question], *, max_share: float = 0.5, constant_attributes: Sequence[str] = ()
) -> LeakageCheck:
    """No attribute surely has one answer for more than `max_share` of its questions. The finding lists the shares.

    Surely: Wilson's 95 % interval of the share lies above. Of a few questions a share a little above is luck.

    Args:
        questions: All questions.
        max_share: Largest share of the most frequent answer, 0 to 1.
        constant_attributes: Attributes that have one answer by design, which are not checked.

    Raises:
        LeakageError: An attribute surely has a larger share.
    """
    shares, low_ends = {}, {}
    for attribute in dict.fromkeys(q.attribute for q in questions if q.attribute not in constant_attributes):
        targets = Counter(q.target for q in questions if q.attribute == attribute)
        most, total = targets.most_common(1)[0][1], targets.total()
        shares[attribute] = most / total
        low_ends[attribute] = scipy.stats.binomtest(most, total).proportion_ci(method="wilson").low
    finding = ", ".join(f"{attribute} {share:.1%}" for attribute, share in shares.items())
    too_frequent = [attribute for attribute, low_end in low_ends.items() if low_end > max_share]
    if too_frequent and len(questions) > len(shares) * 20:  # with few people any share is high
        raise LeakageError(
            f"the most frequent answer is correct too often ({finding}), so an accuracy would not show knowledge; "
            "give these attributes more values."
        )
    return LeakageCheck("the most frequent answer is rarely right", finding)


def check_deterministic_rendering(render_documents: Callable[[Seed], Iterable[Document]], seed: Seed) -> LeakageCheck:
    """Two processes with different hash seeds render the same first texts.

    Args:
        render_documents: A module-level function or a bound method of a world that yields documents.
        seed: Seed of the world.

    Raises:
        LeakageError: The texts differ, or a process could not render them.
    """
    digests = [digest_in_other_process(render_documents, seed, hash_seed, CHECKED_TEXTS) for hash_seed in ("1", "2")]
    if len(set(digests)) > 1:
        raise LeakageError(
            "two processes with different hash seeds rendered different texts from one seed, so no result could be "
            "repeated; look for a set or a hash() in the world."
        )
    return LeakageCheck(
        "two processes render the same bytes", f"both gave {digests[0][:12]} for the first {CHECKED_TEXTS} texts"
    )
