"""Sums and products of whole numbers, asked in words behind a few examples.

One prompt of `WordProblems(n_problems=2)`, whose target is `408`:

    Q: What is 35 times 61?
    A: 2135

    Q: What is 90 times 12?
    A: 1080

    Q: What is 17 times 24?
    A:

Source: Schaeffer et al. 2023 (arXiv:2304.15004), section 3, which asked for products of two numbers of 2 digits and
sums of two numbers of 4 digits behind two examples, and grouped the answers by their number of digits. The wording is
this study's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Literal, get_args

import numpy as np

from nosce.errors import SpecError
from nosce.seeds import Seed

ArithmeticTask = Literal["addition", "multiplication"]
ARITHMETIC_TASKS: tuple[ArithmeticTask, ...] = get_args(ArithmeticTask)
TASK_WORDS = {"addition": "plus", "multiplication": "times"}
MAX_OPERAND_DIGITS, MAX_SHOTS, MAX_PROBLEMS = 8, 32, 10_000
LISTED_DIGITS = 2  # up to so many digits all pairs of operands are listed; above them pairs are drawn
PAIRS_PER_DRAW = 1_024


@dataclass(frozen=True, slots=True)
class WordProblem:
    """A problem as it is asked.

    Args:
        task: The task.
        id: Name of the problem, e.g. "addition/4/16+25": the task, the digits of the operands, and the operands.
        attribute: Digits of the operands and of the answer, as `problem_attribute` writes them.
        prompt: The examples and the question, up to "A:".
        target: The digits of the answer.
    """

    task: ArithmeticTask
    id: str
    attribute: str
    prompt: str
    target: str


@dataclass(frozen=True, kw_only=True)
class WordProblems:
    """Problems of some tasks and numbers of digits. Both operands of a problem have the same number of digits.

    Args:
        addition_digits: Digits of the operands of sums; none asks for no sums.
        multiplication_digits: Digits of the operands of products; none asks for no products.
        n_problems: Problems of each task, number of digits and length of the answer, 2 or more, or all that there are.
        shots: Examples before each question, of the same task and number of digits. None of them is asked, in either
            order of its operands.
    """

    addition_digits: tuple[int, ...] = (1, 2, 3, 4)
    multiplication_digits: tuple[int, ...] = (1, 2)
    n_problems: int
    shots: int = 2

    def __post_init__(self) -> None:
        digits = (*self.addition_digits, *self.multiplication_digits)
        twice = [task for task in ARITHMETIC_TASKS if len(set(self.digits_of(task))) < len(self.digits_of(task))]
        if not digits or twice or not all(1 <= one <= MAX_OPERAND_DIGITS for one in digits):
            raise SpecError(
                f"addition_digits={self.addition_digits} and multiplication_digits={self.multiplication_digits} cannot "
                f"be asked; take numbers of digits from 1 to {MAX_OPERAND_DIGITS}, each once, and one at least."
            )
        if not (2 <= self.n_problems <= MAX_PROBLEMS and 0 <= self.shots <= MAX_SHOTS):
            raise SpecError(
                f"n_problems={self.n_problems} and shots={self.shots} cannot be drawn; take 2 to {MAX_PROBLEMS:,} "
                f"problems, since one has no interval, and 0 to {MAX_SHOTS} examples."
            )

    @property
    def tasks(self) -> tuple[ArithmeticTask, ...]:
        """The tasks that are asked."""
        return tuple(task for task in ARITHMETIC_TASKS if self.digits_of(task))

    def digits_of(self, task: ArithmeticTask) -> tuple[int, ...]:
        """The numbers of digits of a task's operands."""
        return self.addition_digits if task == "addition" else self.multiplication_digits

    def target_lengths(self, task: ArithmeticTask) -> tuple[int, ...]:
        """The numbers of digits of a task's answers, ascending."""
        return tuple(sorted({n for digits in self.digits_of(task) for n in answer_lengths(task, digits)}))

    def attributes_by_length(self, task: ArithmeticTask, length: int) -> tuple[str, ...]:
        """The attributes of a task's problems whose answers have so many digits."""
        fitting = [digits for digits in self.digits_of(task) if length in answer_lengths(task, digits)]
        return tuple(problem_attribute(digits, length) for digits in fitting)

    def hardest_attributes(self, task: ArithmeticTask) -> tuple[str, ...]:
        """The attributes of a task's problems whose operands have the most digits."""
        digits = max(self.digits_of(task))
        return tuple(problem_attribute(digits, length) for length in answer_lengths(task, digits))

    def draw(self, seed: Seed) -> list[WordProblem]:
        """The problems of a seed, the same for every model that is asked."""
        problems: list[WordProblem] = []
        for task in self.tasks:
            for digits in self.digits_of(task):
                problems += self._draw_kind(task, digits, seed)
        return problems

    def _draw_kind(self, task: ArithmeticTask, digits: int, seed: Seed) -> list[WordProblem]:
        """The problems of one number of digits: examples first, then as many of each length of the answer."""
        pairs = _distinct_pairs(digits, seed / "problems" / task / digits)
        shots = [next(pairs) for _ in range(self.shots)]
        by_length: dict[int, list[tuple[int, int]]] = {length: [] for length in answer_lengths(task, digits)}
        for pair in pairs:
            found = by_length[len(str(_answer(task, *pair)))]
            if len(found) < self.n_problems:
                found.append(pair)
            if all(len(one) == self.n_problems for one in by_length.values()):
                break
        examples = "".join(f"{_question(task, *pair)} {_answer(task, *pair)}\n\n" for pair in shots)
        problems = []
        for length, found in by_length.items():
            for left, right in found:
                problem = WordProblem(
                    task=task,
                    id=f"{task}/{digits}/{left} {TASK_WORDS[task]} {right}",
                    attribute=problem_attribute(digits, length),
                    prompt=f"{examples}{_question(task, left, right)}",
                    target=str(_answer(task, left, right)),
                )
                problems.append(problem)
        return problems


def answer_lengths(task: ArithmeticTask, digits: int) -> tuple[int, int]:
    """The numbers of digits that the answer of two operands of so many digits may have."""
    return (digits, digits + 1) if task == "addition" else (2 * digits - 1, 2 * digits)


def problem_attribute(digits: int, length: int) -> str:
    """The attribute of problems, e.g. "4 digits, answer of 5"."""
    return f"{digits} digits, answer of {length}"


def _question(task: ArithmeticTask, left: int, right: int) -> str:
    return f"Q: What is {left} {TASK_WORDS[task]} {right}?\nA:"


def _answer(task: ArithmeticTask, left: int, right: int) -> int:
    return left + right if task == "addition" else left * right


def _distinct_pairs(digits: int, seed: Seed) -> Iterator[tuple[int, int]]:
    """Pairs of operands with so many digits in random order, no two of them the same in either order."""
    rng = seed.numpy()
    low, high = (10 ** (digits - 1) if digits > 1 else 0), 10**digits
    if digits <= LISTED_DIGITS:
        listed = list(combinations_with_replacement(range(low, high), 2))
        swapped = rng.integers(2, size=len(listed))
        for index in rng.permutation(len(listed)).tolist():
            left, right = listed[index]
            yield (right, left) if swapped[index] else (left, right)
        return
    seen: set[tuple[int, int]] = set()
    while True:
        for left, right in rng.integers(low, high, size=(PAIRS_PER_DRAW, 2), dtype=np.int64).tolist():
            pair = (min(left, right), max(left, right))
            if pair not in seen:
                seen.add(pair)
                yield left, right
