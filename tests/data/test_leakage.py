"""Each guard lets a sound corpus pass and refuses the leak it was made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from nosce.data import leakage as guards
from nosce.data.packing import dataset_from_arrays
from nosce.data.sampling import EpochSampler
from nosce.errors import LeakageError
from nosce.records import Document
from nosce.seeds import Seed

ORDER = Seed(0) / "order"


class PersonByPerson:
    """An order that goes through the documents as the world wrote them: the leak of the first reproduction."""

    def __init__(self, n_texts: int, batch_size: int) -> None:
        self.n_texts, self.batch_size = n_texts, batch_size

    def batch_indices(self, step: int) -> np.ndarray:
        """The next documents in order."""
        return np.arange(step * self.batch_size, (step + 1) * self.batch_size) % self.n_texts


@dataclass(frozen=True)
class Unordered:
    """A world that goes through a set of words, whose order changes with the hash seed of the process."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """The same words in everybody's own order."""
        for number, word in enumerate({f"word{n}" for n in range(50)}):
            yield Document(str(number), word, f"A {word}.", ())


@dataclass(frozen=True)
class Failing:
    """A world that cannot write."""

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Nothing, loudly."""
        raise SystemExit(1)


@pytest.fixture
def questions(world, seed):
    """All questions of the small population."""
    return list(world.questions(seed))


def test_shuffled_entries_share_rows_by_chance_alone(told, entity):
    """A global shuffle passes, and what was found says how many pairs share a row and how many would by chance."""
    found = guards.check_window_sharing(told, entity, EpochSampler(len(told), 20, ORDER), 200, 256).found
    same, pairs = (int(number.replace(",", "")) for number in np.array(found.split())[[0, 2]])
    assert pairs > 1_000
    assert abs(same / pairs - 4 / 199) < 0.01  # each entry has 4 mates among the 199 others


def test_a_shuffle_is_never_taken_for_a_leak(told, entity):
    """Fifty shuffles with different seeds all pass: the guard does not cry wolf."""
    for number in range(50):
        guards.check_window_sharing(told, entity, EpochSampler(len(told), 20, Seed(number)), 40, 256)


def test_entries_of_one_person_side_by_side_are_refused(told, entity):
    """Documents person by person share rows, so a model could copy; the guard says how often."""
    with pytest.raises(LeakageError, match=r"^[\d,]+ of [\d,]+ pairs .* chance would give .* shuffle all texts .*\.$"):
        guards.check_window_sharing(told, entity, PersonByPerson(len(told), 20), 200, 256)


def test_a_leak_now_and_then_is_refused(told, entity):
    """An order in which only every fifth step is person by person leaks still, and is found."""

    class Mixed(PersonByPerson):
        def batch_indices(self, step: int) -> np.ndarray:
            shuffled = EpochSampler(self.n_texts, self.batch_size, ORDER)
            return super().batch_indices(step) if step % 5 == 0 else shuffled.batch_indices(step)

    with pytest.raises(LeakageError):
        guards.check_window_sharing(told, entity, Mixed(len(told), 20), 200, 256)


def test_rows_of_one_text_have_nothing_to_share(told, entity):
    """Where a window holds one text alone any order passes, and the words say so."""
    found = guards.check_window_sharing(told, entity, PersonByPerson(len(told), 20), 50, int(told.lengths.max()) + 1)
    assert "single text" in found.found


def test_texts_that_see_only_themselves_have_nothing_to_share(told, entity):
    """Without a window any order passes, and the words say that every text sees only itself."""
    found = guards.check_window_sharing(told, entity, PersonByPerson(len(told), 20), 50, None)
    assert found.found == "every text sees only itself"
    assert found.guard == guards.check_window_sharing(told, entity, EpochSampler(len(told), 20, ORDER), 5, 256).guard


def test_one_entry_each_cannot_leak(told):
    """With one text a person there is nothing to copy from, in whatever order."""
    people = [str(number) for number in range(len(told))]
    guards.check_window_sharing(told, people, PersonByPerson(len(told), 20), 50, 256)


def test_a_clean_split_passes(questions):
    """Half seen, half unseen, nobody on both sides: the counts are stated."""
    assert guards.check_disjoint_splits(questions).found == "20 are seen and 20 unseen; 0 are on both sides"


def test_a_person_on_both_sides_is_refused(questions):
    """One question that changed sides makes its person known in training, so the split is refused."""
    flipped = replace(questions[3], split={"seen": "unseen", "unseen": "seen"}[questions[3].split])
    with pytest.raises(LeakageError, match="1 are on both sides"):
        guards.check_disjoint_splits([*questions[:3], flipped, *questions[4:]])


@pytest.mark.parametrize("side", ["seen", "unseen"])
def test_an_empty_side_is_refused(questions, side):
    """A split with nobody to train on, or nobody to ask, is no split."""
    with pytest.raises(LeakageError, match="with entities on both sides"):
        guards.check_disjoint_splits([q for q in questions if q.split == side])


def test_different_questions_pass(questions):
    """Unique names make unique questions, and their number is stated."""
    assert guards.check_unique_prompts(questions).found == "240 questions, all different"


def test_two_people_of_one_name_are_refused(questions):
    """Two questions that read alike cannot both be answered; the sentence quotes them."""
    twin = replace(questions[0], id="new", entity="person/new", target="elsewhere")
    with pytest.raises(LeakageError) as refusal:
        guards.check_unique_prompts([*questions, twin])
    assert f"2 questions have the prompt {questions[0].prompt!r}" in str(refusal.value)


def test_varied_answers_pass_and_their_shares_are_stated(questions):
    """The share of the most frequent answer is stated for every attribute, as counted by hand."""
    found = guards.check_majority_share(questions).found
    for attribute in {q.attribute for q in questions}:
        most = Counter(q.target for q in questions if q.attribute == attribute).most_common(1)[0][1]
        assert f"{attribute} {most / 40:.1%}" in found


def test_a_constant_answer_is_refused(questions):
    """Where one answer is right for all, an accuracy would show no knowledge; the attribute is named."""
    constant = [replace(q, target="Hydrology") if q.attribute == "major" else q for q in questions]
    with pytest.raises(LeakageError, match=r"major 100\.0%"):
        guards.check_majority_share(constant)


def test_the_threshold_of_the_majority(questions):
    """Of 40 questions an answer right for 45 % may be luck at four tenths (Wilson: from 30.7 %), not at three."""
    majors = [q for q in questions if q.attribute == "major"]
    skewed = [replace(q, target="Hydrology" if n < 18 else f"field {n}") for n, q in enumerate(majors)]
    guards.check_majority_share(skewed, max_share=0.4)
    with pytest.raises(LeakageError, match=r"major 45\.0%"):
        guards.check_majority_share(skewed, max_share=0.3)


def test_a_handful_of_questions_is_too_few_to_judge(questions):
    """With three people a share of one half means nothing, so a smoke run is not stopped by it."""
    guards.check_majority_share([replace(q, target="same") for q in questions[:18]])


def test_equal_bytes_in_two_processes_pass(world, seed):
    """A world that takes all its draws from the seed writes the same under any hash seed."""
    found = guards.check_deterministic_rendering(world.documents, seed)
    assert "200 texts" in found.found


def test_a_world_that_goes_through_a_set_is_refused(seed):
    """Texts in the order of a set differ between processes, so no result could be repeated."""
    with pytest.raises(LeakageError, match=r"different hash seeds .* look for a set .*\.$"):
        guards.check_deterministic_rendering(Unordered().documents, seed)


def test_a_world_that_fails_elsewhere_is_refused(seed):
    """Where the second process cannot write the texts at all, that is said, and nothing hangs."""
    with pytest.raises(LeakageError, match="could not render"):
        guards.check_deterministic_rendering(Failing().documents, seed)


@pytest.mark.whole
def test_a_step_between_two_epochs_is_no_leak():
    """A text that ends one epoch and begins the next may meet itself; with one entry a person that is no leak."""
    lengths = Seed(0).numpy().integers(56, 70, size=400)
    sequences = dataset_from_arrays((np.ones(n, dtype=np.int32), np.ones(n, dtype=bool)) for n in lengths)
    entity = [str(n) for n in range(400)]
    for number in range(20):
        guards.check_window_sharing(sequences, entity, EpochSampler(400, 48, Seed(number)), 400, 512)


def test_a_world_nobody_else_can_import_is_refused():
    """A world defined inside a function cannot be written elsewhere, and the guard says so in its own words."""

    class Local:
        def documents(self, seed):
            yield Document("0", "a", "text", ())

    with pytest.raises(LeakageError, match="importable"):
        guards.check_deterministic_rendering(Local().documents, Seed(0))


def test_a_prompt_that_opens_a_training_text_is_found():
    """Of several lengths; one that only stands inside a text is no leak."""
    mask = lambda n: np.ones(n, dtype=bool)  # noqa: E731
    rows = lambda *texts: dataset_from_arrays((np.array(t, dtype=np.int32), mask(len(t))) for t in texts)  # noqa: E731
    documents = rows([1, 2, 3, 4], [5, 6, 7], [2, 3])
    assert guards.check_prompt_contamination(documents, rows([2, 3, 4], [6], [1, 3], [5, 6, 7, 8])).found.startswith(
        "0 of 4"
    )
    for prompt in ([1], [1, 2, 3], [5, 6, 7], [2, 3]):
        with pytest.raises(LeakageError, match="1 of 2 prompts open one of 3 texts"):
            guards.check_prompt_contamination(documents, rows([9, 9], prompt))
