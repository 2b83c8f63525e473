"""What the study emergence claims of models of one's own, and what would refute it."""

from __future__ import annotations

from collections.abc import Iterator

from nosce.analysis.claims import Claim, Precondition, needs_of_few
from nosce.analysis.jackknife import Slope
from nosce.analysis.measures import Mean
from nosce.studies.emergence.asked.problems import ArithmeticTask, WordProblems
from nosce.studies.emergence.asked.selections import asked_scores, task_curves
from nosce.studies.emergence.asked.sizes import AskedLadder
from nosce.studies.emergence.claims import jump_claim, smooth_claim

MIN_ACCURACY = 0.1  # of a task; a model that can do none of it cannot do less of it with longer targets
MIN_LARGEST_ACCURACY = 0.5  # of the largest size on the curve; else the curve has not risen


def asked_claims(problems: WordProblems, ladder: AskedLadder) -> tuple[Claim, ...]:
    """The claims that make sense of the models: of each alone, and of enough sizes."""
    return (
        *(_length_claim(problems, task, name) for task in problems.tasks for name in ladder.names),
        *(claim for task in problems.tasks for claim in _size_claims(problems, ladder, task)),
    )


def _length_claim(problems: WordProblems, task: ArithmeticTask, name: str) -> Claim:
    """Each length of the target counts once, however many problems it has."""
    lengths = problems.target_lengths(task)
    points = tuple((float(n), asked_scores(task, name, problems.attributes_by_length(task, n))) for n in lengths)
    accuracy = Mean(selection=asked_scores(task, name))
    return Claim(
        id=f"{task}-falls/{name}",
        text=f"The accuracy of {name} in {task} falls with each further digit of the target",
        source="arXiv:2304.15004, section 2 and 3: exact match needs every token of the target, so longer ones are "
        "right less often",
        measure=Slope(points=points),
        threshold=0.0,
        direction="below",
        preconditions=needs_of_few(
            Precondition(text=f"accuracy of {name} in {task}", measure=accuracy, above=MIN_ACCURACY)
        ),
    )


def _size_claims(problems: WordProblems, ladder: AskedLadder, task: ArithmeticTask) -> Iterator[Claim]:
    """The task jumps by exact match, and rises smoothly by other scores of the same replies."""
    curves = task_curves(problems, ladder, task)
    if not curves:
        return
    need = Precondition(
        text=f"exact match of the largest size in {task}",
        measure=Mean(selection=asked_scores(task, ladder.names[-1], problems.hardest_attributes(task))),
        above=MIN_LARGEST_ACCURACY,
    )
    learned = needs_of_few(need)
    yield jump_claim(curves[0], f"Exact match in {task}", *learned, id=f"{task}-exact-jumps")
    for curve in curves:
        score = "log-likelihood" if curve.log_likelihood else "edit distance"
        yield smooth_claim(curve, f"The {score} in {task}", *learned)
