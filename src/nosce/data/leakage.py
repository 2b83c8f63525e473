"""Guards: the ways in which studies of this kind have fooled their authors, checked before training.

Each guard returns what it found in words, and raises when what it found would make a result mean
something else. Sources: the pitfalls collected for arXiv:2309.14316 (a reproduction reached 7 % instead
of 97 % because entries of one person shared a window).
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from nosce.data.packing import Sequences, rows_of
from nosce.data.sampling import Order
from nosce.errors import GuardError
from nosce.records import Question
from nosce.seeds import Seed

STEPS = 400  # of training looked at by the window guard: enough to see a leak, seconds at most
TEXTS = 200  # rendered twice by the hash-seed guard
SHARING = "two texts about one person share a window no more than chance"
LEAST_CHANCE = 1e-6  # a guard may raise a false alarm once in a million runs


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guard looked for and what it found; it passed, or it would have raised."""

    guard: str
    found: str


def window_sharing(sequences: Sequences, about: Sequence[str], order: Order, steps: int, window: int | None) -> Guard:
    """Texts about one thing share a row no more often than chance brings them together.

    A model that sees two entries of a person in one row can copy instead of remembering.

    Raises:
        GuardError: They share rows more often than a shuffle would (one-sided binomial test).
    """
    if window is None:
        return Guard(SHARING, "every text sees only itself")
    code = np.unique(np.asarray(about), return_inverse=True)[1]
    pairs = same = 0
    for step in range(min(steps, STEPS)):
        chosen = order.step(step)
        for row in rows_of(sequences.lengths[chosen].tolist(), window):
            # A step that ends one epoch and begins the next may hold a text twice: that is no second text.
            mates = code[np.unique(chosen[row])]
            pairs += len(mates) * (len(mates) - 1) // 2
            same += sum(n * (n - 1) // 2 for n in np.unique(mates, return_counts=True)[1])
    sizes = np.bincount(code)
    chance = float((sizes * (sizes - 1)).sum() / max(1, len(code) * (len(code) - 1)))
    found = (
        f"{same:,} of {pairs:,} pairs of texts in one row are about the same thing; chance would give "
        f"{chance * pairs:,.1f}"
        if pairs
        else "every row holds a single text"
    )
    if (
        pairs
        and chance < 1
        and scipy.stats.binomtest(int(same), pairs, chance, alternative="greater").pvalue < LEAST_CHANCE
    ):
        raise GuardError(f"{found}: a model could copy instead of remembering; shuffle all texts before packing.")
    return Guard(SHARING, found)


def split_is_clean(questions: Sequence[Question]) -> Guard:
    """Nobody is on both sides of the split, and both sides hold somebody.

    Raises:
        GuardError: Somebody is, or a side is empty.
    """
    sides: dict[str, set[str]] = {}
    for question in questions:
        sides.setdefault(question.about, set()).add(question.split)
    both = [about for about, splits in sides.items() if len(splits) > 1]
    count = Counter(next(iter(s)) for s in sides.values() if len(s) == 1)
    found = f"{count['seen']:,} are seen and {count['unseen']:,} unseen; {len(both)} are on both sides"
    if both or not count["seen"] or not count["unseen"]:
        raise GuardError(
            f"of those asked about, {found}; split by whom a question is about, into two that hold somebody."
        )
    return Guard("nobody is on both sides of the split", found)


def questions_are_unique(questions: Sequence[Question]) -> Guard:
    """No two questions read alike, as those about two people of one name would.

    Raises:
        GuardError: Which prompt occurs twice.
    """
    prompt, times = Counter(q.prompt for q in questions).most_common(1)[0]
    if times > 1:
        raise GuardError(
            f"{times} questions read {prompt!r}, so no answer to it can be right for all; make names unique."
        )
    return Guard("no two people share a name", f"{len(questions):,} questions, all different")


def prompts_are_new(documents: Sequences, prompts: Sequences) -> Guard:
    """No unseen question's prompt is how a text begins that is trained on, so that its answer was never shown.

    Args:
        documents: The texts that are trained on.
        prompts: The prompts of the unseen split, as tokens.

    Raises:
        GuardError: How many are.
    """
    shown = 0
    for length in np.unique(prompts.lengths):
        asked = prompts.offsets[:-1][prompts.lengths == length]
        told = documents.offsets[:-1][documents.lengths >= length]
        place = np.arange(length)
        known = _keys(documents.tokens, told, place)
        shown += int(np.isin(_keys(prompts.tokens, asked, place), known).sum())
    found = f"{shown:,} of {len(prompts):,} prompts open one of {len(documents):,} texts"
    if shown:
        raise GuardError(f"{found}: their answers can be recited; leave what is asked out of what is trained on.")
    return Guard("no unseen question opens a text that is trained on", found)


def _keys(tokens: np.ndarray, starts: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A number for the tokens behind each start, equal where they are. Shape: (starts,), uint64."""
    keys = np.zeros(len(starts), dtype=np.uint64)
    for step in place:
        keys = (keys + tokens[starts + step].astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return keys


def majority(questions: Sequence[Question], *, most: float = 0.5, known: Sequence[str] = ()) -> Guard:
    """No answer can be guessed from the prior more often than `most`; the shares are stated.

    Args:
        most: The share from which a facet can be guessed.
        known: Facets that the world says have one answer for all.

    Raises:
        GuardError: Which facet could.
    """
    shares = {}
    for facet in dict.fromkeys(q.facet for q in questions if q.facet not in known):
        targets = Counter(q.target for q in questions if q.facet == facet)
        shares[facet] = targets.most_common(1)[0][1] / targets.total()
    found = ", ".join(f"{facet} {share:.1%}" for facet, share in shares.items())
    guessable = [facet for facet, share in shares.items() if share > most]
    if guessable and len(questions) > len(shares) * 20:  # with a handful of people any share is high
        raise GuardError(
            f"the most frequent answer alone is right too often ({found}), so an accuracy would not show knowledge; "
            "give these facets more values."
        )
    return Guard("the most frequent answer is rarely right", found)


def same_bytes_everywhere(texts: Callable[[Seed], Any], seed: Seed) -> Guard:
    """Two processes with different hash seeds render the same first texts.

    Args:
        texts: A module-level function or a bound method of a world that yields documents.

    Raises:
        GuardError: They do not.
    """
    digests = [_elsewhere(texts, seed, hash_seed) for hash_seed in ("1", "2")]
    if len(set(digests)) > 1:
        raise GuardError(
            "two processes with different hash seeds rendered different texts from one seed, so no result could be "
            "repeated; look for a set or a hash() in the world."
        )
    return Guard("two processes render the same bytes", f"both gave {digests[0][:12]} for the first {TEXTS} texts")


def _elsewhere(texts: Callable[[Seed], Any], seed: Seed, hash_seed: str) -> str:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = hash_seed  # read by the child when it starts
    try:
        child = context.Process(target=_digest, args=(texts, seed, sender))
        child.start()
    except Exception as error:  # whatever the sending of an object can raise
        raise GuardError(
            f"the world cannot be sent to a second process ({error}), so its bytes could not be compared; define its "
            "class at the top of an importable module."
        ) from error
    finally:
        os.environ.pop("PYTHONHASHSEED")
        if before is not None:
            os.environ["PYTHONHASHSEED"] = before
    sender.close()
    try:
        return str(receiver.recv())
    except EOFError:
        raise GuardError(
            "a second process could not render the world's texts (its message stands above), so its bytes could not "
            "be compared; a world must be importable by its module's name."
        ) from None
    finally:
        child.join()


def _digest(texts: Callable[[Seed], Any], seed: Seed, sender: Any) -> None:
    whole = hashlib.sha256()
    for document in itertools.islice(texts(seed), TEXTS):
        whole.update(repr(document).encode())
    with suppress(BrokenPipeError):  # the run that asked was stopped
        sender.send(whole.hexdigest())
