"""Published tables as the mirage test and the census take them, from a folder that the user names.

    bigbench/scores_BIG-G_T0.jsonl.gz, counts.csv, tasks.csv    24 tasks of BIG-bench over 12 sizes of BIG-G
    emergence_extra/pythia_checkpoints.csv.gz                   nine tasks over the training of eight Pythia sizes
    emergence_extra/multichoice_acc_brier_by_model.csv.gz       accuracy and Brier score of five tasks, 65 to 70 models
    emergence_extra/obs_scaling_models.csv.gz                   sixteen scores of 84 models, over training FLOPs

Sources and licences lie beside the tables. Nothing of them is copied: only what is computed from them is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from nosce.analysis.emergence import bigbench
from nosce.analysis.emergence.census import ScoreSeries
from nosce.analysis.emergence.scores import CountOutcomes
from nosce.analysis.stats.arrays import FloatArray
from nosce.errors import UsageError
from nosce.records import read_table

LAMBADA_TEXTS = 5_153
BIGBENCH_SCORES = Path("bigbench/scores_BIG-G_T0.jsonl.gz")
BIGBENCH_COUNTS = Path("bigbench/counts.csv")
BIGBENCH_TASKS = Path("bigbench/tasks.csv")
PYTHIA = Path("emergence_extra/pythia_checkpoints.csv.gz")
CHOICES = Path("emergence_extra/multichoice_acc_brier_by_model.csv.gz")
OPEN_MODELS = Path("emergence_extra/obs_scaling_models.csv.gz")
FILES = (BIGBENCH_SCORES, BIGBENCH_COUNTS, BIGBENCH_TASKS, PYTHIA, CHOICES, OPEN_MODELS)
OPEN_MODEL_INFO = ("model", "family", "size_b", "tokens_t", "flops_1e21")  # columns that are no scores
BLEU = "ipa_transliterate_2_bleu"  # of the columns the only one out of 100, and no sharp score
#: What guessing gets, by the number of a task's questions: one of four options; by the options in the task.json of the
#: package bigbench 1.0.0 for those of 15,023, 175 and 1,050 questions.
CHANCE_BY_QUESTIONS = {15_023: 0.144988, 14_042: 0.25, 10_042: 0.25, 1_050: 0.250476, 175: 0.249524}
LOSS_WIDTHS = (1.0, 0.5, 2.0)  # nats within which points of the loss are taken together
FIRST_STEPS = (64, 256, 512)  # of Pythia's training; the verdict depends on where the axis begins


@dataclass(frozen=True, eq=False)
class PublishedCurve:
    """A curve for the mirage test.

    Args:
        table: The table that holds it; q-values are over the curves of a table.
        name: Its name within the table.
        x_label: What the size is, in words.
        outcomes: The counts.
    """

    table: str
    name: str
    x_label: str
    outcomes: CountOutcomes


def check_published_folder(data: Path) -> None:
    """Refuse a folder that lacks one of the tables.

    Raises:
        UsageError: Which tables are missing.
    """
    if missing := [str(file) for file in FILES if not (data / file).is_file()]:
        raise UsageError(
            f"{data} lacks {', '.join(missing)} of the published tables; name the folder that holds bigbench/ and "
            "emergence_extra/."
        )


def published_curves(data: Path) -> Iterator[PublishedCurve]:
    """All curves for the mirage test."""
    yield from _lambada_curves(data)
    yield from _loss_curves(data)
    yield from _choice_curves(data)
    yield from _bigbench_curves(data)


def published_series(data: Path) -> Iterator[ScoreSeries]:
    """All series of the census."""
    for curve in _bigbench_curves(data):
        yield _count_series("BIG-bench, 12 sizes of BIG-G", curve.name, curve.name, curve.outcomes)
    for curve in _choice_curves(data):
        yield _count_series("multiple choice, open models by FLOPs", curve.name, curve.name, curve.outcomes)
    yield from _open_model_series(data)
    yield from _pythia_series(data)


def lambada_table(data: Path) -> pl.DataFrame:
    """LAMBADA without examples, one row a Pythia size and step; step 0 has no place on a logarithmic axis."""
    wanted = (pl.col("shots") == 0) & pl.col("task").str.contains("lambada") & (pl.col("step") > 0)
    return _pythia_table(data).filter(wanted).sort("non_embedding_params", "step")


def wei_classes(data: Path) -> dict[str, str]:
    """Task of BIG-bench -> its class in appendix E of Wei et al. 2022 (arXiv:2206.07682)."""
    return dict(read_table(data / BIGBENCH_TASKS, "csv").select("task", "wei_appendix_e_class").iter_rows())


def _pythia_table(data: Path) -> pl.DataFrame:
    return read_table(data / PYTHIA, "csv").with_columns(pl.col("ppl", "acc_stderr").cast(pl.Float64))


def _lambada_curves(data: Path) -> Iterator[PublishedCurve]:
    """Along training, sizes as series; and along sizes, at the last step."""
    table = lambada_table(data)
    shape = (table["size"].n_unique(), table["step"].n_unique())
    right = (table["acc"].to_numpy() * LAMBADA_TEXTS).round().reshape(shape)
    smooth = -np.log(table["ppl"].to_numpy()).reshape(shape)
    tokens = table["tokens_seen"].unique().sort().to_numpy().astype(float)
    steps = table.filter(pl.col("size") == table["size"][0])["step"].to_numpy()
    asked = np.full(shape, float(LAMBADA_TEXTS))
    for first in (1, *FIRST_STEPS):
        kept = steps >= first
        part = CountOutcomes(tokens[kept], right[:, kept], asked[:, kept], smooth[:, kept])
        name = "along training" + (f" from step {first}" if first > 1 else "")
        yield PublishedCurve("lambada", name, "training tokens", part)
    sizes = table["non_embedding_params"].unique().sort().to_numpy().astype(float)
    last = CountOutcomes(sizes, right[:, -1:].T, asked[:, -1:].T, smooth[:, -1:].T)
    yield PublishedCurve("lambada", "along sizes", "parameters outside the embeddings", last)


def _loss_curves(data: Path) -> Iterator[PublishedCurve]:
    """LAMBADA with the loss for an axis in place of tokens: points of like loss as one, and each size alone.

    A log-likelihood is a straight line along itself and cannot break there: what is asked is whether accuracy jumps at
    some loss, and whether one link explains it. 12b diverges at two early steps (to a perplexity of 6e8), which
    stretches the axis; hence once without what lies a nat above a size's first step.
    """
    right = (pl.col("acc") * LAMBADA_TEXTS).round()
    table = lambada_table(data).with_columns(loss=pl.col("ppl").log(), right=right)
    calm = table.filter(pl.col("loss") < 1 + pl.col("loss").first().over("size"))
    pooled = [("", table, width) for width in LOSS_WIDTHS] + [(", no spikes", calm, 1.0)]
    for note, points, width in pooled:
        place = (pl.col("loss") / width).floor().alias("place")
        each = points.group_by(place).agg(pl.col("loss").mean(), pl.col("right").sum(), pl.len().alias("points"))
        yield _loss_curve(f"along the loss, points within {width:g} nats{note}", each)
    for (name,), part in table.group_by("size", maintain_order=True):
        once = part.unique("loss", maintain_order=True).with_columns(points=pl.lit(1))
        yield _loss_curve(f"along the loss, {name}", once)


def _loss_curve(name: str, table: pl.DataFrame) -> PublishedCurve:
    """Accuracy along a falling loss; each row stands for so many points."""
    table = table.sort("loss", descending=True)
    loss = table["loss"].to_numpy()
    asked = table["points"].to_numpy()[None] * float(LAMBADA_TEXTS)
    outcomes = CountOutcomes(np.exp(-loss), table["right"].to_numpy()[None], asked, continuous=-loss[None])
    return PublishedCurve("lambada", name, "exp(-loss)", outcomes)


def _choice_curves(data: Path) -> Iterator[PublishedCurve]:
    """Accuracy beside the target-conditioned Brier score, by training FLOPs; models of equal FLOPs as one."""
    table = read_table(data / CHOICES, "csv").filter(pl.col("flops_1e21") > 0)
    table = table.with_columns(right=(pl.col("acc") * pl.col("n_questions")).round())
    for (task, questions), part in table.group_by("task", "n_questions", maintain_order=True):
        sums = (pl.col("right", "n_questions").sum(), pl.col("tc_brier").mean())
        each = part.group_by("flops_1e21").agg(*sums).sort("flops_1e21")
        right, asked = (each[name].to_numpy()[None].astype(float) for name in ("right", "n_questions"))
        brier = each["tc_brier"].to_numpy()[None]
        outcomes = CountOutcomes(
            each["flops_1e21"].to_numpy(), right, asked, -brier, chance=CHANCE_BY_QUESTIONS[questions]
        )
        yield PublishedCurve("choices", str(task), "training FLOPs (1e21)", outcomes)


def _bigbench_curves(data: Path) -> Iterator[PublishedCurve]:
    """Multiple choice alone, with nothing continuous beside it."""
    table = bigbench.load_bigbench(data / BIGBENCH_SCORES)
    counts = read_table(data / BIGBENCH_COUNTS, "csv")
    items = dict(counts.group_by("task").agg(pl.col("n_scored").max()).iter_rows())
    for (task,), part in bigbench.to_counts(table, items).group_by("task", maintain_order=True):
        ordered = part.sort("size")
        right, asked = (ordered[name].to_numpy()[None] for name in ("right", "asked"))
        chance = float(ordered["low"][0])
        outcomes = CountOutcomes(ordered["size"].to_numpy(), right, asked, continuous=None, chance=chance)
        yield PublishedCurve("bigbench", str(task), "parameters outside the embeddings", outcomes)


def _count_series(table: str, task: str, name: str, outcomes: CountOutcomes) -> ScoreSeries:
    """The one series of counts."""
    share, asked = outcomes.n_correct[0] / outcomes.n_total[0], outcomes.n_total[0]
    return ScoreSeries(table, task, name, outcomes.sizes, share, share_errors(share, asked))


def share_errors(share: FloatArray, asked: FloatArray) -> FloatArray:
    """Standard errors of shares; of none or all right as if half an answer more were wrong or right. (J,)."""
    pulled = (share * asked + 0.5) / (asked + 1)
    return np.asarray(np.sqrt(pulled * (1 - pulled) / asked))


def _open_model_series(data: Path) -> Iterator[ScoreSeries]:
    """Scores of open models by training FLOPs, models of equal FLOPs as one; how many items there were is not known."""
    table = read_table(data / OPEN_MODELS, "csv").filter(pl.col("flops_1e21") > 0)
    for column in table.columns:
        if column in OPEN_MODEL_INFO or column == BLEU:
            continue
        known = table.filter(pl.col(column).is_not_null())
        each = known.group_by("flops_1e21").agg(pl.col(column).cast(pl.Float64).mean()).sort("flops_1e21")
        values = each[column].to_numpy()
        task = column.split("_2_")[0]
        sizes = each["flops_1e21"].to_numpy()
        yield ScoreSeries("open models by FLOPs", task, column, sizes, values, np.zeros(len(values)))


def _pythia_series(data: Path) -> Iterator[ScoreSeries]:
    """Each task and number of examples along the training of each size, and along sizes at the last step."""
    table = _pythia_table(data).filter(pl.col("step") > 0).sort("non_embedding_params", "step")
    for (task, shots), part in table.group_by("task", "shots", maintain_order=True):
        for (size,), training in part.group_by("size", maintain_order=True):
            name = f"{task}, {shots} examples, {size}"
            yield _pythia_row("Pythia along training", str(task), name, training, "tokens_seen")
        last = part.filter(pl.col("step") == part["step"].max())
        yield _pythia_row("Pythia along sizes", str(task), f"{task}, {shots} examples", last, "non_embedding_params")


def _pythia_row(table: str, task: str, name: str, part: pl.DataFrame, size_column: str) -> ScoreSeries:
    """A series; where every answer was wrong the table's standard error is 0."""
    errors = part["acc_stderr"].fill_null(0.0).to_numpy()
    sizes = part[size_column].to_numpy().astype(float)
    return ScoreSeries(table, task, name, sizes, part["acc"].to_numpy(), errors)
