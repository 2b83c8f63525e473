"""What is claimed of emergence in published tables, and what they say: each claim with its criterion and verdict.

The criteria stood before the run; docs/field-curves.md says what was known by then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import polars as pl
import scipy

from nosce.analysis.emergence.test import EmergenceVerdict
from nosce.analysis.stats.intervals import wilson
from nosce.records import Decision, Verdict

PAPER_SHARE = 0.92  # of the hand-annotated cases, "over 92 %"
MIRAGE_META = "arXiv:2304.15004, section 4"
STEP_Q = 0.05
HIGH_EMERGENCE = 10.0
#: Preferred metric of tasks that Wei et al. call emergent (arXiv:2206.07682, appendix E), as far as it is known to us.
WEI_METRICS: dict[str, int] = {"multiple_choice_grade": 13, "exact_str_match": 4, "bleu": 1}
#: Preferred metric of the 167 tasks of BIG-bench that are JSON files (package bigbench 1.0.0, Apache-2.0); of a task
#: with subtasks the commonest one. The 42 tasks that are programs are not counted.
BIGBENCH_METRICS: dict[str, int] = {
    "multiple_choice_grade": 114,
    "exact_str_match": 35,
    "bleu": 8,
    "rougeLsum": 6,
    "bleurt": 1,
    "sequence_f1": 1,
    "log_likelihood": 1,
    "macro_f1": 1,
}
TWO_METRICS = ("multiple_choice_grade", "exact_str_match")
EMERGENT_CLASSES, OTHER_CLASSES = ("E.2", "E.3"), ("E.1", "E.4")


def field_verdicts(
    census: pl.DataFrame, choice_verdicts: Mapping[str, EmergenceVerdict], classes: Mapping[str, str]
) -> tuple[Verdict, ...]:
    """All claims, judged.

    Args:
        census: The table of `census`.
        choice_verdicts: Task -> the mirage test's verdict on accuracy beside the Brier score.
        classes: Task of BIG-bench -> its class in appendix E of Wei et al.
    """
    bigbench = census.filter(pl.col("table").str.starts_with("BIG-bench"))
    return (
        _few_metrics(bigbench),
        _two_metrics(),
        _concentration(),
        _brier_smooth(choice_verdicts),
        _some_metric(choice_verdicts),
        _rare_jumps("rare-in-bigbench", "tasks of BIG-bench (BIG-G, multiple choice)", bigbench),
        _rare_jumps("rare-in-census", "tasks of the whole census", census),
        _labels(bigbench, classes),
        _high_scores(census),
    )


def _few_metrics(bigbench: pl.DataFrame) -> Verdict:
    return Verdict(
        id="few-metrics",
        text="At most 5 of BIG-bench's 39 preferred metrics have a task that may be emergent",
        source=MIRAGE_META,
        criterion="the counts hold all metrics, and at most 5 of them have a step with q below 0.05",
        paper_value=5 / 39,
        estimate=None,
        low=None,
        high=None,
        n=len(bigbench),
        unit="task",
        verdict="undecided",
        why="the public counts hold one metric of the 39 (multiple choice grade of one family), so that nothing can be "
        "said of the other 38",
    )


def _two_metrics() -> Verdict:
    return _share_verdict(
        "two-metrics",
        "Multiple choice grade and exact string match carry over 92 % of the tasks called emergent",
        MIRAGE_META,
        sum(WEI_METRICS[name] for name in TWO_METRICS),
        sum(WEI_METRICS.values()),
        threshold=PAPER_SHARE,
        paper_value=PAPER_SHARE,
        unit="task",
        note="tasks of Wei et al. whose metric is known here",
    )


def _concentration() -> Verdict:
    two, total = sum(BIGBENCH_METRICS[name] for name in TWO_METRICS), sum(BIGBENCH_METRICS.values())
    low, high = exact_interval(two, total)
    ends = (PAPER_SHARE - high, PAPER_SHARE - low)
    return Verdict(
        id="concentration",
        text="Emergent cases are under these two metrics more often than BIG-bench's tasks are at all",
        source="ours: what the share of 92 % means depends on how common the two metrics are",
        criterion="92 % lies above the whole 95 % interval of the share of all tasks that are files",
        paper_value=None,
        estimate=PAPER_SHARE - two / total,
        low=ends[0],
        high=ends[1],
        n=total,
        unit="task",
        verdict=_decision(ends, 0.0, above=True),
        why=f"{two} of {total} tasks ({two / total:.1%}) prefer one of the two metrics; 92 % is taken as exact, since "
        "the number of annotated cases is not given",
        is_difference=True,
    )


def _brier_smooth(verdicts: Mapping[str, EmergenceVerdict]) -> Verdict:
    broken = sorted(task for task, verdict in verdicts.items() if verdict == "break")
    metric = sorted(task for task, verdict in verdicts.items() if verdict == "metric")
    decision: Decision = "undecided"
    if len(broken) >= 2:
        decision = "fails"
    elif not broken and len(metric) >= 3:
        decision = "holds"
    low, high = exact_interval(len(broken), len(verdicts))
    return Verdict(
        id="brier-smooth",
        text="What jumps under multiple choice grade rises smoothly under the Brier score",
        source="arXiv:2304.15004, figure 6 (LaMDA); here open models by training FLOPs",
        criterion="none of the tasks is 'break' and three are 'metric'; fails if two or more are 'break'",
        paper_value=0.0,
        estimate=len(broken) / len(verdicts),
        low=low,
        high=high,
        n=len(verdicts),
        unit="task",
        verdict=decision,
        why=f"the share of tasks whose Brier score breaks where accuracy jumps: {', '.join(broken) or 'none'}; "
        f"'metric': {', '.join(metric) or 'none'}",
    )


def _some_metric(verdicts: Mapping[str, EmergenceVerdict]) -> Verdict:
    metric = sorted(task for task, verdict in verdicts.items() if verdict == "metric")
    low, high = exact_interval(len(metric), len(verdicts))
    return Verdict(
        id="some-metric",
        text="At least one of the five multiple-choice tasks jumps because of its metric",
        source="arXiv:2304.15004, figure 6",
        criterion="at least one task is 'metric'",
        paper_value=None,
        estimate=len(metric) / len(verdicts),
        low=low,
        high=high,
        n=len(verdicts),
        unit="task",
        verdict="holds" if metric else "fails",
        why=", ".join(f"{task}: {verdict}" for task, verdict in sorted(verdicts.items())),
    )


def _rare_jumps(id: str, what: str, series: pl.DataFrame) -> Verdict:
    steps = series.group_by("task").agg(has_step=(pl.col("q") < STEP_Q).any())
    names = sorted(steps.filter("has_step")["task"].to_list())
    return _share_verdict(
        id,
        f"Jumps are rare: fewer than one in ten {what} has a step on top of a smooth curve",
        "arXiv:2206.04615: about 5 % of BIG-bench's tasks break through",
        len(names),
        len(steps),
        threshold=0.1,
        above=False,
        paper_value=0.05,
        unit="task",
        note=f"a step with q below {STEP_Q:g} in at least one series of the task: {', '.join(names) or 'none'}",
    )


def _labels(bigbench: pl.DataFrame, classes: Mapping[str, str]) -> Verdict:
    counts = []
    for wanted in (EMERGENT_CLASSES, OTHER_CLASSES):
        tasks = [task for task, kind in classes.items() if kind in wanted]
        own = bigbench.filter(pl.col("task").is_in(tasks))
        counts.append((own.filter(pl.col("p") < STEP_Q).height, own.height))
    (steps, n), (other_steps, other_n) = counts
    ends = _newcombe((steps, n), (other_steps, other_n))
    return Verdict(
        id="labels",
        text="Tasks that Wei et al. call emergent jump in BIG-G more often than those they call smooth or flat",
        source="arXiv:2206.07682, appendix E, whose labels come from GPT-3, LaMDA and PaLM",
        criterion="the whole 95 % interval of the difference of shares lies above 0 points",
        paper_value=None,
        estimate=steps / n - other_steps / other_n,
        low=ends[0],
        high=ends[1],
        n=n + other_n,
        unit="task",
        verdict=_decision(ends, 0.0, above=True),
        why=f"a step with p below {STEP_Q:g} in {steps} of {n} tasks called emergent and {other_steps} of {other_n} "
        "others (Newcombe's interval)",
        is_difference=True,
    )


def _high_scores(census: pl.DataFrame) -> Verdict:
    high = census.filter(pl.col("emergence") > HIGH_EMERGENCE)
    return _share_verdict(
        "score-means-step",
        f"A series with an emergence score above {HIGH_EMERGENCE:g} has a step on top of a smooth curve",
        f"{MIRAGE_META}: possibly emergent is what has a high score",
        high.filter(pl.col("q") < STEP_Q).height,
        high.height,
        threshold=0.5,
        paper_value=None,
        unit="curve",
        note=f"steps with q below {STEP_Q:g}; series of one task hang together, so that the interval is too narrow",
    )


def exact_interval(successes: int, n: int) -> tuple[float, float]:
    """The Clopper-Pearson 95 % interval of a share; 0 to 1 of nothing."""
    if not n:
        return 0.0, 1.0
    ci = scipy.stats.binomtest(successes, n).proportion_ci(method="exact")
    return float(ci.low), float(ci.high)


def _newcombe(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """The 95 % interval of the difference of two shares, by Newcombe's 1998 method 10 (Statistics in Medicine 17)."""
    one, two = wilson(*first), wilson(*second)
    difference = one.value - two.value
    # Wilson's interval always has ends.
    down = math.hypot(one.value - (one.low or 0.0), (two.high or 0.0) - two.value)
    return difference - down, difference + math.hypot((one.high or 0.0) - one.value, two.value - (two.low or 0.0))


def _decision(ends: Sequence[float], threshold: float, *, above: bool) -> Decision:
    """Whether the whole interval lies on the wanted side."""
    is_above, is_below = ends[0] > threshold, ends[1] < threshold
    if is_above or is_below:
        return "holds" if is_above == above else "fails"
    return "undecided"


def _share_verdict(
    id: str,
    text: str,
    source: str,
    successes: int,
    n: int,
    *,
    threshold: float,
    above: bool = True,
    paper_value: float | None,
    unit: str,
    note: str,
) -> Verdict:
    """The verdict on a share with its exact interval."""
    ends = exact_interval(successes, n)
    return Verdict(
        id=id,
        text=text,
        source=source,
        criterion=f"the whole 95 % interval lies {'above' if above else 'below'} {100 * threshold:g} %",
        paper_value=paper_value,
        estimate=successes / n if n else None,
        low=ends[0],
        high=ends[1],
        n=n,
        unit=unit,
        verdict=_decision(ends, threshold, above=above),
        why=f"{successes} of {n}: {note} (Clopper-Pearson)",
    )
