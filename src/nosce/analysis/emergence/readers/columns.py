"""Which column of a table is what, by its header: said where it is plain, asked back where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import polars as pl

#: Headers by role, in the form that `plain_header` gives them.
_HEADERS = {
    "size": (
        "size params parameters n_params num_params n_parameters num_parameters model_params "
        "model_num_parameters model_size modelsize param_count parameter_count params_count tokens "
        "train_tokens training_tokens n_tokens tokens_seen step steps training_steps train_steps "
        "checkpoint flops compute training_flops train_flops"
    ),
    "sharp": (
        "sharp acc accuracy exact_match em correct is_correct acc_norm pass_1 passed success solved "
        "multiple_choice_grade exact_str_match quasi_exact_match exact acc_char accuracy_percent "
        "exact_match_accuracy mc1 hit outcome"
    ),
    "right": "right n_correct num_correct correct_count n_right hits correct_answers",
    "asked": (
        "asked n total n_items num_items n_samples num_samples count support n_questions "
        "num_questions n_total num_examples n_examples samples items"
    ),
    "continuous": (
        "continuous loglikelihood log_likelihood logprob log_prob logp target_logprob target_log_prob "
        "target_loglikelihood target_log_likelihood ll mean_logprob nll neg_log_prob loss "
        "cross_entropy ce_loss target_nll perplexity ppl brier brier_score edit_distance "
        "token_edit_distance levenshtein target_prob p_correct prob_correct correct_prob "
        "bits_per_byte calibration_multiple_choice_brier_score"
    ),
    "stderr": "stderr se std_err std_error standard_error sem",
    "item": (
        "item item_id doc_id example_id example question_id qid sample_id prompt_id instance "
        "instance_id problem_id question id"
    ),
    "seed": "seed random_seed train_seed training_seed model_seed run trial replicate",
    "length": "length target_length target_tokens n_target_tokens",
    "chance": "chance guess guessing chance_level random_baseline random_chance guess_level",
    "choices": "n_choices num_choices n_options num_options choices_count",
    "task": "task task_name dataset benchmark subject subtask",
    "model": "model model_name model_id name checkpoint_name",
    "series": "series",
    "metric": "metric metric_name",
    "value": "value score result",
}
#: Role -> the headers that it goes by; the first is its own name.
ROLE_HEADERS = {role: tuple(headers.split()) for role, headers in _HEADERS.items()}
LOWER_IS_BETTER = frozenset(
    [
        "nll",
        "neg_log_prob",
        "loss",
        "cross_entropy",
        "ce_loss",
        "target_nll",
        "perplexity",
        "ppl",
        "brier",
        "brier_score",
        "edit_distance",
        "token_edit_distance",
        "levenshtein",
        "bits_per_byte",
        "calibration_multiple_choice_brier_score",
    ]
)
#: Words of a header whose numbers fall as a model gets better, whatever stands beside them: `val_loss`, `error rate`.
LOWER_WORDS = frozenset(
    ["nll", "loss", "perplexity", "ppl", "brier", "distance", "error", "errors", "wer", "cer", "entropy"]
)
NEGATED = frozenset({"neg", "negative", "minus"})  # a negative loss rises
LOG_LIKELIHOODS = frozenset({"target_loglikelihood", "target_log_likelihood"})
MULTIPLE_CHOICE = frozenset(
    {"acc_norm", "multiple_choice_grade", "mc1", "brier", "brier_score", "calibration_multiple_choice_brier_score"}
)
_UNITS = {
    **dict.fromkeys(("k", "thousand", "thousands"), 1e3),
    **dict.fromkeys(("m", "mn", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "bn", "billion", "billions"), 1e9),
    **dict.fromkeys(("t", "trillion", "trillions"), 1e12),
}


def plain_header(name: str) -> str:
    """A header without capitals, spaces, signs and the filter that lm-eval adds: `Exact Match` is `exact_match`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).casefold().replace("%", " percent ").replace("#", " ")
    plain = re.sub(r"[^0-9a-z]+", "_", parted).strip("_")
    return plain.removesuffix("_none")


def metric_header(name: str) -> str:
    """A score's header as `plain_header` gives it, without the word that it is a mean: `Mean NLL` is `nll`."""
    return re.sub("^(mean|avg|average)_", "", plain_header(name))


def is_lower_better(name: str) -> bool:
    """Whether a score falls as a model gets better, by its header."""
    plain = metric_header(name)
    words = set(plain.split("_"))
    return plain in LOWER_IS_BETTER or bool(LOWER_WORDS & words and not NEGATED & words)


def header_unit(name: str) -> tuple[str, float]:
    """A header without the unit at its end, and that unit: `Params (B)` is ("params", 1e9)."""
    plain = plain_header(name)
    base, _, unit = plain.rpartition("_")
    base = base.removesuffix("_in")
    return (base, _UNITS[unit]) if base and unit in _UNITS else (plain, 1.0)


def is_percent_header(name: str) -> bool:
    """Whether a header says that its numbers are in percent."""
    return bool({"percent", "pct", "percentage"} & set(plain_header(name).split("_")))


def columns_by_role(names: Iterable[str]) -> dict[str, list[str]]:
    """Role -> the columns that may have it; where one has the role's own name, that column alone."""
    found: dict[str, list[str]] = {role: [] for role in ROLE_HEADERS}
    for name in names:
        plain = plain_header(name)
        for role, headers in ROLE_HEADERS.items():
            base = header_unit(name)[0] if role == "size" else re.sub("_?(percent|pct)_?", "", plain)
            plain = metric_header(name) if role in ("sharp", "continuous") else plain
            if plain in headers or (base in headers and role in ("size", "sharp")):
                found[role].append(name)
    for role, candidates in found.items():
        if role in candidates:
            found[role] = [role]
    return found


def stderr_column(names: Sequence[str], of: str) -> str | None:
    """The column of the standard error of another one, e.g. `acc_stderr,none` of `acc,none`."""
    base = plain_header(of)
    wanted = {f"{base}_{ending}" for ending in ROLE_HEADERS["stderr"]} | {f"{e}_{base}" for e in ROLE_HEADERS["stderr"]}
    return next((name for name in names if plain_header(name) in wanted), None)


def unpivoted(table: pl.DataFrame, sizes: Mapping[str, float]) -> pl.DataFrame:
    """A table with a column a size as a table with a row a size; the columns are `size` and `sharp`."""
    long = table.unpivot(
        on=list(sizes),
        index=[name for name in table.columns if name not in sizes],
        variable_name="size",
        value_name="sharp",
    )
    return long.with_columns(pl.col("size").replace_strict(dict(sizes), return_dtype=pl.Float64))
