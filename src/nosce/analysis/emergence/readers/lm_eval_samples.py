"""Samples of lm-evaluation-harness, `samples_<task>_<date>.jsonl`: a line an item, with requests, replies and scores.

A line of multiple choice has a request an option, and its log-likelihoods in `resps`, as texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nosce.analysis.emergence.readers.base import MAX_FILE_BYTES, ColumnChoice, json_list, json_number, json_object
from nosce.errors import DataError, UsageError
from nosce.store.files import JsonObject
from nosce.store.table_text import utf8_content


def sample_rows(path: Path, sharp: str, output_type: str, choice: ColumnChoice) -> list[dict[str, object]]:
    """One row an item with `item` and `sharp`, and where known `continuous` and `chance`.

    Raises:
        UsageError: The file cannot be read.
        DataError: A sample has no score, or none has the metric's filter.
    """
    name, _, filter_ = sharp.partition(",")
    rows = []
    try:
        for number, line in enumerate(utf8_content(path, MAX_FILE_BYTES).splitlines(), 1):
            if not line.strip():
                continue
            sample = json_object(json.loads(line))
            if sample.get("filter", filter_) != filter_:
                continue
            score = json_number(sample.get(name))
            if score is None or "doc_id" not in sample:
                raise DataError(
                    f"line {number} of {path} has no number in {name!r}; missing is not zero, so mend or drop the item "
                    "for all models."
                )
            item = f"{sample['doc_id']} {str(sample.get('doc_hash', ''))[:8]}"  # other texts are no pairs
            rows.append({"item": item, "sharp": score, **_continuous(sample, output_type, choice)})
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as samples of lm-eval ({str(error)[:200]}); look at it.") from None
    if not rows:
        raise DataError(f"{path} has no sample with the filter {filter_!r}; run the task again with samples logged.")
    return rows


def _continuous(sample: JsonObject, output_type: str, choice: ColumnChoice) -> dict[str, object]:
    """The item's continuous score, and what guessing gets."""
    found: dict[str, object] = {}
    replies = json_list(sample.get("resps"))
    options = json_list(sample.get("filtered_resps")) or replies
    if output_type == "multiple_choice" and len(options) > 1:
        found["chance"] = 1 / _n_options(sample, len(options))
    if choice.continuous == "none":
        return found
    if choice.continuous is not None:
        return found | {"continuous": json_number(sample.get(choice.continuous.split(",")[0]))}
    if output_type not in ("multiple_choice", "loglikelihood"):
        return found
    index = 0 if output_type == "loglikelihood" else _target_index(sample, len(options))
    return found | {"continuous": None if index is None else _log_likelihood(replies, index)}


def _n_options(sample: JsonObject, n_replies: int) -> int:
    """The number of options: mutual information asks each twice, and where contexts differ the texts are the same."""
    requests = json_object(sample.get("arguments"))
    texts = {str(json_object(request).get("arg_1", "")) for request in requests.values()}
    return len(texts) if 1 < len(texts) < n_replies and n_replies % len(texts) == 0 else n_replies


def _target_index(sample: JsonObject, n_options: int) -> int | None:
    """Which option is the target: by its number, or by its text among the requests."""
    target = str(sample.get("target")).strip()
    if target.isdigit() and int(target) < n_options:
        return int(target)
    requests = json_object(sample.get("arguments"))
    texts = [str(json_object(request).get("arg_1", "")).strip() for request in requests.values()][:n_options]
    return texts.index(target) if texts.count(target) == 1 else None


def _log_likelihood(replies: Sequence[object], index: int) -> float | None:
    """The log-likelihood of a reply as lm-eval nests it: [[["-1.5", "False"]], ...]."""
    value: object = replies[index] if index < len(replies) else None
    while isinstance(value, list) and value:
        value = value[0]
    return json_number(value)
