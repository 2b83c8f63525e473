"""Problems in words: right, distinct, balanced over lengths, and never one of their own examples."""

import re

import pytest

from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.studies.emergence.asked.problems import WordProblems


def asked(prompt: str) -> list[tuple[int, str, int]]:
    """Operands and operation of every question of a prompt, the tested one last."""
    found = re.findall(r"What is (\d+) (plus|times) (\d+)\?", prompt)
    return [(int(left), word, int(right)) for left, word, right in found]


def unordered(problem: tuple[int, str, int]) -> tuple[int, int, str]:
    left, word, right = problem
    return min(left, right), max(left, right), word


def test_targets_and_examples_are_right_and_no_example_is_asked():
    """In either order of the operands, whatever the seed; each length of the answer has as many problems."""
    world = WordProblems(n_problems=12, shots=3)
    problems = world.draw(Seed(4))
    tested = [unordered(asked(p.prompt)[-1]) for p in problems]
    examples = {unordered(one) for p in problems for one in asked(p.prompt)[:-1]}
    assert len(set(tested)) == len(tested) == len({p.id for p in problems}) == 12 * 2 * 6
    assert not examples & set(tested)
    for problem in problems:
        *_, (left, word, right) = asked(problem.prompt)
        assert int(problem.target) == (left + right if word == "plus" else left * right)
        digits, length = map(int, re.findall(r"\d+", problem.attribute))
        assert len(str(left)) == len(str(right)) == digits
        assert len(problem.target) == length
        assert problem.attribute in world.attributes_by_length(problem.task, length)
        for one, word, two, answer in re.findall(r"What is (\d+) (\w+) (\d+)\?\nA: (\d+)\n", problem.prompt):
            assert int(answer) == (int(one) + int(two) if word == "plus" else int(one) * int(two))
        assert len(asked(problem.prompt)) == 4
        assert problem.prompt.endswith("?\nA:")
    assert world.draw(Seed(4)) == problems
    assert {p.id for p in world.draw(Seed(5))} != {p.id for p in problems}


def test_where_there_are_fewer_problems_all_are_asked():
    """One digit has 55 unordered pairs."""
    problems = WordProblems(addition_digits=(1,), multiplication_digits=(), n_problems=500, shots=2).draw(Seed(0))
    assert len(problems) == 53


@pytest.mark.parametrize(
    "changes",
    [
        {"addition_digits": (), "multiplication_digits": ()},
        {"addition_digits": (2, 2)},
        {"addition_digits": (0,)},
        {"n_problems": 1},
        {"shots": -1},
        {"shots": 100},
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_refused(changes):
    with pytest.raises(SpecError, match="cannot be"):
        WordProblems(**{"n_problems": 4, **changes})
