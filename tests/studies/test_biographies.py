"""The study biographies: which arms there are at which scale, and that all of them meet everybody as often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nosce.analysis.measures import Difference
from nosce.data.sampling import seconds_met
from nosce.data.worlds.biographies.world import AUGMENTATIONS, COUPLES
from nosce.seeds import Seed
from nosce.studies.biographies.arms import (
    BEST,
    CONTROL_PLACES,
    FAMOUS,
    MINORITY_PLACES,
    NAMED,
    PAIR,
    SINGLE,
    WORDINGS,
    bench_of,
    learnt_from,
    masked,
    mixed,
    tried,
)
from nosce.study import load

SCALES = ("smoke", "laptop", "gpu", "paper")


def arms(scale):
    """By name."""
    return {arm.name: arm for arm in load("biographies", scale).arms}


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_the_larger_scales_have_all_sixteen_rows_and_the_couples(scale):
    """Every row of the paper's table, the three couples, and every dose."""
    assert set(AUGMENTATIONS) | set(COUPLES) | set(WORDINGS.values()) <= set(arms(scale))
    assert len(AUGMENTATIONS) == 16


@pytest.mark.parametrize("scale", SCALES)
def test_everybody_is_met_equally_often(scale):
    """Rows take as many texts; questions come on top; a text of the minority is met as often as one of a row."""
    bench, found = bench_of(scale), arms(scale)
    rows = {name: arm for name, arm in found.items() if name in (*bench.rows, *WORDINGS.values(), *bench.couples)}
    assert {arm.recipe.steps * arm.recipe.batch for arm in rows.values()} == {
        rows[BEST].recipe.steps * rows[BEST].recipe.batch
    }
    both = found[mixed(bench.mixed[0])]
    texts = both.recipe.steps * both.recipe.batch
    documents = texts - seconds_met(texts, both.mix.questions, 0)
    wanted = bench.exposures_mixed or bench.exposures
    assert documents / bench.world.people == pytest.approx(wanted, rel=0.05)
    famous = found[FAMOUS]
    entries = bench.minority + 5 * bench.celebrities
    assert famous.recipe.steps * famous.recipe.batch / entries == pytest.approx(bench.exposures, rel=0.05)


@pytest.mark.parametrize("scale", SCALES)
def test_doses_of_questions_have_as_many_meetings_or_as_many_steps(scale):
    """Two doses of one share differ in how long they are trained, and in nothing else."""
    bench, found = bench_of(scale), arms(scale)
    whole = found[mixed(SINGLE)].recipe
    assert bench.doses
    for dose in bench.doses:
        arm = found[mixed(SINGLE, dose)]
        assert arm.mix.questions == dose.questions < bench.questions
        assert arm.world == found[mixed(SINGLE)].world
        if dose.same_steps:
            assert arm.recipe.steps == whole.steps
        else:
            met = arm.recipe.steps * (1 - dose.questions)
            assert met == pytest.approx(whole.steps * (1 - bench.questions), rel=0.02)
    assert len({mixed(SINGLE, dose) for dose in bench.doses}) == len(bench.doses)
    (figure,) = (chart for chart in load("biographies", scale).figures if chart.id == "questions-mixed")
    for same in {dose.same_steps for dose in bench.doses}:
        wanted = sorted([*(dose.questions for dose in bench.doses if dose.same_steps == same), bench.questions])
        panel = "as many steps" if same else "every person met as often"
        for group in {point.group for point in figure.points}:
            assert sorted(p.x for p in figure.points if (p.panel, p.group) == (panel, group)) == wanted


@pytest.mark.parametrize("scale", SCALES)
def test_arms_can_be_named_on_the_command_line(scale):
    """`--arms` takes names separated by commas, so that none may hold one."""
    assert not [name for name in arms(scale) if "," in name]


@pytest.mark.parametrize("scale", SCALES)
def test_a_model_that_sees_both_ways_has_a_mask_and_no_rows_of_many_texts(scale):
    """Its family, its tokenizer, and recipes that masks can be trained with."""
    for arm in (arm for name, arm in arms(scale).items() if name.startswith("masked")):
        assert arm.model.family == "modernbert"
        assert arm.tokenizer.mask
        assert arm.recipe.window is None
        assert all(stage.recipe.window is None and not stage.recipe.given_weight for stage in arm.stages)
    assert masked(NAMED) in arms(scale)


def test_probes_of_the_papers_size_are_the_papers():
    """Ranks, steps, batches, rate and decay of appendices E and F."""
    bench = bench_of("paper")
    assert (bench.p_fit.rank, bench.p_fit.steps, bench.p_fit.batch) == (2, 30_000, 50)
    assert (bench.q_fit.rank, bench.q_fit.steps, bench.q_fit.batch) == (16, 30_000, 200)
    assert {(fit.peak_lr, fit.decay, fit.epsilon) for fit in (bench.p_fit, bench.q_fit)} == {(1e-3, 0.3, 1e-6)}
    lora = {how for how, _, adapter in bench.recipes if adapter is not None}
    assert len(lora) == 24  # 5 x 5 ranks, one of which is that of the rows


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_tried_otherwise_differs_in_its_fine_tuning_alone(scale):
    """The grid of two rows, and of whoever is examined besides; worlds and first trainings are the same."""
    bench, found = bench_of(scale), arms(scale)
    for row, recipes in bench.tries:
        assert recipes
        for how, recipe, adapter in recipes:
            arm = found[tried(row, how)]
            assert (arm.world, arm.recipe) == (found[row].world, found[row].recipe)
            assert (arm.stages[0].recipe, arm.stages[0].adapter) == (recipe, adapter)
    assert {row for row, _ in bench.tries} == {*PAIR, *bench.examined}


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_the_minority_is_read_in_texts_that_both_models_learnt(scale):
    """P-probing of the minority reads their one text as it stands in the row and among celebrities."""
    bench, found, seed = bench_of(scale), arms(scale), Seed(5)
    (read,) = (read for read in load("biographies", scale).reads if read.readout.name == MINORITY_PLACES)
    alone = {d.text for d in read.about.documents(seed)}
    assert len(alone) == bench.minority
    for arm in read.arms:
        assert alone <= {d.text for d in found[arm].world.documents(seed)}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("claim", ["celebrities-probe", "celebrities-place"])
def test_a_probe_of_the_minority_is_judged_beside_one_that_should_see(scale, claim):
    """The same probe, from as many people and texts, of a row all of whose values can be asked for: it is read."""
    bench, study = bench_of(scale), load("biographies", scale)
    (claim,) = (one for one in study.claims if one.id == claim)
    control, judged = claim.needs[-1].measure.one, claim.measure.one
    assert replace(control, readout=judged.readout, arm=judged.arm) == judged
    (read,) = (read for read in study.reads if read.readout.name == control.readout and BEST in read.arms)
    (minority,) = (read for read in study.reads if read.readout.name == judged.readout)
    assert replace(read.readout, name=judged.readout) == minority.readout
    assert (read.about or bench.world).people == minority.about.people == bench.minority


def test_the_control_of_the_minority_reads_texts_that_its_model_learnt():
    """One a person, as they stand in the row."""
    study, found, seed = load("biographies", "laptop"), arms("laptop"), Seed(5)
    (read,) = (read for read in study.reads if read.readout.name == CONTROL_PLACES)
    texts = {d.text for d in read.about.documents(seed)}
    assert texts <= {d.text for d in found[BEST].world.documents(seed)}


def test_fewer_people_are_the_first_of_all():
    """Probes that learn from fewer read people of the same names and values."""
    bench, found = bench_of("laptop"), arms("laptop")
    known = {(q.prompt, q.target) for q in found[BEST].world.questions(Seed(5))}
    for few in bench.few_people:
        (read,) = (read for read in load("biographies", "laptop").reads if read.readout.name == learnt_from(few))
        assert {(q.prompt, q.target) for q in read.about.questions(Seed(5))} <= known
        assert sum(q.split == "seen" for q in read.about.questions(Seed(5))) == 6 * few


def test_tasks_are_spelt_by_the_words_of_the_rows():
    """What is taught later stands in the samples of what is read first, and rows still tell of the same people."""
    bench = bench_of("laptop")
    assert "even" in " ".join(bench.world.also)
    rows = arms("laptop")
    assert rows["month_even"].recipe == rows[BEST].recipe
    assert rows["month_even"].world == rows[BEST].world


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_held_against_each_other_was_run_on_the_same_seeds(scale):
    """A difference of arms of unlike seeds could never be judged."""
    found = arms(scale)
    for claim in load("biographies", scale).claims:
        for one in getattr(claim.measure, "measures", (claim.measure,)):
            if isinstance(one, Difference):
                assert found[one.one.arm].seeds == found[one.other.arm].seeds, claim.id
