"""A price times what it prices: trainings that take different work are not sold for one another."""

import time
from dataclasses import dataclass, replace
from typing import get_args

import polars as pl
import pytest

from nosce.data.worlds.base import check_world
from nosce.data.worlds.biographies.celebrities import Celebrities
from nosce.data.worlds.biographies.manipulation import Manipulation, task_vocabulary
from nosce.data.worlds.biographies.prose import FreeBiographies
from nosce.data.worlds.biographies.world import Biographies, BiographyNameExtractor
from nosce.evals.base import Experiment, MultiCheckpointEvaluation, PerCheckpointEvaluation
from nosce.evals.patching.answer import AnswerPatching
from nosce.evals.patching.count import CountPatching
from nosce.evals.patching.name import NamePatching
from nosce.evals.patching.program_state import StateEditing
from nosce.evals.probing.label_probes import LabelProbe
from nosce.evals.probing.low_rank import LowRankProbeConfig
from nosce.evals.probing.pq_probes import NameProbe, PositionProbe
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.evals.self_report import InvalidRate
from nosce.models.architecture import Architecture, Family, Pretrained
from nosce.pipeline import cost, timing, timing_sample
from nosce.pipeline.plan import build_plan
from nosce.pipeline.step import Step
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.study_loading import load_study
from nosce.records import Question
from nosce.seeds import Seed
from nosce.study import Arm, EvalSpec, ExperimentSpec, Study
from nosce.train.config import TrainingConfig

RECIPE = TrainingConfig(steps=10, batch_size=4)
ARM = Arm(
    name="one",
    world=Biographies(people=12, name_pool_sizes=(4, 4, 8)),
    model=Architecture.named("2x64"),
    training=RECIPE,
)

LITTLE = Study(
    name="s",
    title="t",
    question="q?",
    paper="p",
    scale="smoke",
    unit="person",
    seeds=(0,),
    arms=(ARM,),
    evals=(EvalSpec(RecallEval()),),
    claims=(),
)


def plan(*arms):
    """The plan of arms that differ by what their recipes say."""
    named = tuple(replace(arm, name=f"arm{number}") for number, arm in enumerate(arms))
    return build_plan(replace(LITTLE, arms=named))


def timed(monkeypatch, *arms):
    """The recipes that were timed, and what the trainings were said to take."""
    recipes = []

    def seconds(model, dataset, recipe, vocab_size, limit):
        recipes.append(recipe)
        return float(len(recipes)), "a model"

    monkeypatch.setattr(cost, "time_training", seconds)
    monkeypatch.setattr(cost, "time_evaluation", lambda *_: timing.EvaluationTime(7.0))
    whole = plan(*arms)
    return recipes, [found for found in cost.estimate_costs(whole.all_steps) if found.step.kind == "training"]


def changed(**more):
    return replace(ARM, training=replace(RECIPE, **more))


@pytest.mark.parametrize(
    "more",
    [
        {"batch_size": 8},
        {"window": 128},
        {"dtype": "bfloat16"},
        {"optimizer": "muon"},
        {"grad_accum_steps": 2},
    ],
    ids=str,
)
def test_recipes_that_take_other_work_are_timed_each(monkeypatch, more):
    """What one step costs is not what another costs that computes something else."""
    recipes, costs = timed(monkeypatch, ARM, changed(**more))

    assert recipes == [ARM.training, changed(**more).training]
    assert [found.seconds for found in costs] == [10, 20]


@pytest.mark.parametrize("more", [{"peak_lr": 0.1}, {"steps": 20}, {"weight_decay": 0.0}], ids=str)
def test_recipes_that_take_the_same_work_are_timed_once(monkeypatch, more):
    """A learning rate costs nothing, and twice the steps twice the time of one."""
    recipes, costs = timed(monkeypatch, ARM, changed(**more))

    assert recipes == [ARM.training]
    assert [found.seconds for found in costs] == [10, 10 * more.get("steps", 10) / 10]


@pytest.mark.parametrize(
    "more", [{}, {"window": 96}, {"optimizer": "muon", "grad_accum_steps": 2}, {"dtype": "bfloat16"}], ids=str
)
def test_every_recipe_can_be_timed(monkeypatch, more):
    """A few real steps of each kind give a positive number of seconds."""
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.05)
    whole = plan(changed(**more))
    found, *_ = cost.estimate_costs(whole.all_steps)

    assert 0 < found.seconds < 60
    assert found.tokens == pytest.approx(10 * 4 * 60, rel=0.3)


def test_readings_are_priced_once_a_kind(monkeypatch):
    """Two arms that ask alike of models alike are timed once, and each costs as much."""
    asked = []
    monkeypatch.setattr(cost, "time_training", lambda *_: (1.0, "a model"))
    monkeypatch.setattr(
        cost,
        "time_evaluation",
        lambda evaluation, sample, model, n_checkpoints, seed, limit: (
            asked.append(n_checkpoints) or timing.EvaluationTime(7.0)
        ),
    )
    whole = plan(changed(checkpoint_fractions=(0.5, 1.0)), changed(checkpoint_fractions=(0.5, 1.0), peak_lr=0.1))
    found = [one for one in cost.estimate_costs(whole.all_steps) if one.step.kind == "evaluation"]
    assert asked == [2]
    assert [one.seconds for one in found] == [7.0, 7.0]


class Slow(PerCheckpointEvaluation):
    """A read-out whose seconds are known: so many a question, and some at every checkpoint."""

    needs_model = True
    name = "slow"

    def __init__(self, clock):
        self.clock, self.parts = clock, []

    def evaluate(self, model, corpus, seed):
        self.parts.append(len(corpus.questions))
        self.clock.now += 0.5 + 0.01 * len(corpus.questions)
        return iter(())


class SlowAll(MultiCheckpointEvaluation):
    """The same where all checkpoints are read together: the last costs ten times what the others do."""

    name = "slow"

    def __init__(self, clock):
        self.clock, self.parts = clock, []

    def evaluate_checkpoints(self, checkpoints, corpus, seed):
        self.parts.append(len(corpus.questions))
        self.clock.now += 0.01 * len(corpus.questions) * (len(checkpoints) - 1 + 10)
        return iter(())


class Clock:
    """Processor time that passes when somebody says so."""

    now = 0.0

    def process_time(self):
        return self.now

    monotonic = process_time


def sample(people):
    """A world's sample."""
    world = replace(ARM.world, people=people, name_pool_sizes=(20, 20, 40))
    return timing_sample.WorldSample(CorpusSpec(world=world, seed=Seed(0), tokenizer=ARM.tokenizer))


@pytest.mark.whole
@pytest.mark.parametrize("people", [12, 4_000])
def test_a_reading_is_timed_on_a_part_and_drawn_out_along_a_line(monkeypatch, people):
    """What costs so much a question costs that for all of them; what is spent once is not multiplied."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    evaluation, given = Slow(clock), sample(people)
    seconds = timing.time_evaluation(evaluation, given, "a model", 1, Seed(0), 30.0).seconds(len(given.questions))
    assert seconds == pytest.approx(0.5 + 0.01 * len(given.questions))
    assert (
        max(evaluation.parts) == len(given.questions) if people == 12 else max(evaluation.parts) < len(given.questions)
    )


def test_checkpoints_that_are_read_together_are_priced_by_one_more(monkeypatch):
    """Nine checkpoints before the last cost what nine times a third one adds."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "MultiCheckpointEvaluation", SlowAll)
    given = sample(400)
    seconds = timing.time_evaluation(SlowAll(clock), given, "a model", 10, Seed(0), 30.0).seconds(len(given.questions))
    assert seconds == pytest.approx(0.01 * len(given.questions) * (9 + 10))


class Alike(SlowAll):
    """Each checkpoint costs as much as the others, or earlier ones cost nothing."""

    def __init__(self, clock, costs):
        super().__init__(clock)
        self.costs, self.counts = costs, []

    @property
    def checkpoint_costs(self):
        return self.costs

    def evaluate_checkpoints(self, checkpoints, corpus, seed):
        self.counts.append(len(checkpoints))
        self.clock.now += 0.01 * len(corpus.questions) * (len(checkpoints) if self.costs == "alike" else 1)
        return iter(())


@pytest.mark.parametrize(("costs", "times"), [("alike", 10), ("the last alone", 1)])
def test_checkpoints_of_a_known_cost_are_timed_by_one(monkeypatch, costs, times):
    """No second checkpoint is read for the price of ten, nor are ten paid where one is read."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing, "MultiCheckpointEvaluation", SlowAll)
    given, evaluation = sample(400), Alike(clock, costs)
    seconds = timing.time_evaluation(evaluation, given, "a model", 10, Seed(0), 30.0).seconds(len(given.questions))
    assert seconds == pytest.approx(0.01 * len(given.questions) * times)
    assert set(evaluation.counts) == {1}


def test_probes_of_programs_are_priced_for_the_questions_that_they_read():
    """Of a world of 17,000 questions a probe that learns from 4,000 of 16,000 reads 5,000."""
    karel = load_study("karel", "laptop")
    probes = {spec.evaluation.name: spec.evaluation for spec in karel.evals if "original" in spec.arms}
    by_split = {"seen": 16_000.0, "unseen": 1_000.0}
    assert probes["along"].n_questions_read(by_split) == 5_000
    assert probes["states"].n_questions_read(by_split) == 17_000
    assert QAEval().n_questions_read(by_split) == 17_000
    assert probes["states"].checkpoint_costs == "the last alone"
    assert probes["along"].checkpoint_costs == "alike"
    assert probes["edits"].checkpoint_costs == "the last alone"
    assert probes["along"].timed_form.max_epochs < probes["along"].max_epochs


@pytest.mark.parametrize("evaluation", [LabelProbe, AnswerPatching, CountPatching, StateEditing])
def test_what_reads_the_last_checkpoint_alone_says_so(evaluation):
    """Ten checkpoints of a training do not multiply the price of reading one."""
    assert evaluation.checkpoint_costs.fget(None) == "the last alone"


def test_a_first_part_that_takes_longer_than_a_larger_one_makes_nothing_free():
    """The first run includes what is slow once; questions then cost what they do on average."""
    given = sample(100)
    line = timing._line(given, (0.5, 1.0), (0.1, 2.0))
    assert line.seconds(len(given.questions)) == pytest.approx(2.0)


@pytest.mark.parametrize("evaluation", [RecallEval(), QAEval(), MajorityBaseline()], ids=lambda r: r.name)
def test_real_read_outs_can_be_timed(monkeypatch, evaluation):
    """Part of a world's questions is enough for each, and takes some time."""
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.01)
    given = sample(150)
    texts = timing_sample.TimingTexts.from_sample(given)
    _, model = timing.time_training(timing.TimedModel(ARM.model), texts.documents, RECIPE, texts.vocab_size)
    timed = timing.time_evaluation(evaluation, given, model, 1, Seed(0))
    assert 0 < timed.seconds(len(given.questions)) < 60


def step(name, *inputs):
    """A step of a plan that is only waited for."""
    return Step(kind="leakage", spec=name, inputs={str(n): given for n, given in enumerate(inputs)}, label=name)


def test_minutes_are_those_of_workers_who_wait_for_what_they_read(monkeypatch):
    """Two trainings side by side, their readings behind them; one worker does all in turn."""
    monkeypatch.setattr(Step, "name", property(lambda self: self.spec))
    corpus = step("corpus")
    one, other = step("one", corpus), step("other", corpus)
    todo = [corpus, one, other, step("read one", one), step("read other", other)]
    seconds = {"one": 60, "other": 120, "read one": 120, "read other": 30}
    costs = [cost.StepCost(s, float(seconds[s.name])) for s in todo if s.name in seconds]
    assert cost.makespan_minutes(todo, costs, 1) == pytest.approx(5.5)
    assert cost.makespan_minutes(todo, costs, 2) == pytest.approx(3)  # one and its reading, beside other and its own
    assert cost.makespan_minutes(todo[3:], costs, 2) == pytest.approx(2)  # what is there already is not waited for


def test_what_trains_something_of_its_own_is_timed_by_a_few_of_its_steps(monkeypatch):
    """A probe of 5,000 steps is never run to be priced: a small part of it is, and multiplied."""
    timed = []

    def part(evaluation, sample, model, fraction, n_checkpoints, seed):
        timed.append(evaluation.config)
        return 3.0

    monkeypatch.setattr(timing, "_time_fraction", part)
    sample = timing_sample.WorldSample(CorpusSpec(world=ARM.world, seed=Seed(0), tokenizer=ARM.tokenizer))
    probe = NameProbe(
        config=LowRankProbeConfig(rank=16, steps=5_000, batch_size=200), name_extractor=BiographyNameExtractor()
    )
    assert timing.time_evaluation(probe, sample, "a model", 9, Seed(0)) == timing.EvaluationTime(3.0 * 5_000 * 200 / 16)
    assert [(fit.rank, fit.steps, fit.batch_size) for fit in timed] == [(16, 4, 4)] * 2


@pytest.mark.parametrize(
    "world",
    [
        Biographies(people=90, name_pool_sizes=(8, 8, 16)),
        Celebrities(population=Biographies(people=90, name_pool_sizes=(8, 8, 16)), minority_size=60),
        FreeBiographies(population=Biographies(people=90, name_pool_sizes=(8, 8, 16)), entries_per_person=2),
        Manipulation(population=Biographies(people=90, name_pool_sizes=(8, 8, 16)), task="earlier", hint_share=0.5),
    ],
    ids=lambda world: type(world).__name__,
)
def test_a_world_of_fewer_is_a_world_with_both_splits(world):
    """What a large world is priced by keeps the contract, and one that is small enough stays as it is."""
    small = world.downsized(30)
    check_world(small, Seed(0))
    assert small.n_entities == 30
    assert {q.split for q in small.questions(Seed(0))} == {"seen", "unseen"}
    assert world.downsized(90) == world.downsized(500) == world
    assert type(small.downsized(1)) is type(world)
    given = timing_sample.WorldSample.from_spec(CorpusSpec(world=world, seed=Seed(0), tokenizer=ARM.tokenizer))
    assert given.scale == 1


def test_a_world_of_many_is_priced_by_fewer_and_what_learns_on_its_own_is_not_multiplied(monkeypatch):
    """Twice as many people are twice as many questions, but a probe has the steps it has."""
    monkeypatch.setattr(timing_sample, "MAX_SAMPLED_ENTITIES", 6)
    monkeypatch.setattr(cost, "time_training", lambda *_: (1.0, "a model"))
    monkeypatch.setattr(
        cost,
        "time_evaluation",
        lambda evaluation, sample, *_: timing.EvaluationTime(
            *((0.0, 7.0 / len(sample.questions)) if evaluation.timing_subset() is None else (7.0, 0.0))
        ),
    )
    probe = NameProbe(
        config=LowRankProbeConfig(rank=16, steps=5_000, batch_size=200), name_extractor=BiographyNameExtractor()
    )
    whole = build_plan(replace(LITTLE, evals=(EvalSpec(RecallEval()), EvalSpec(probe))))
    found = {
        c.step.spec.evaluation.name: c.seconds
        for c in cost.estimate_costs(whole.all_steps)
        if c.step.kind == "evaluation"
    }
    assert found == {"recall": 14.0, "q-probe": 7.0}


def test_exchanges_at_every_layer_of_a_deep_model_cost_its_square(monkeypatch):
    """Timed with two layers of six: seven sites for three, each of as many times the work as weights."""
    monkeypatch.setattr(timing, "LARGE_MODEL_PARAMETERS", 1)
    model = timing.TimedModel.of(Architecture.named("6x128"), 100)
    assert model.parameter_ratio > 1
    patching = NamePatching(name_extractor=BiographyNameExtractor())
    assert cost._depth_factor(model, patching) == pytest.approx(7 / 3 * model.parameter_ratio)
    assert cost._depth_factor(model, RecallEval()) == model.parameter_ratio


def test_questions_of_another_world_are_priced_in_the_words_of_the_arm(monkeypatch):
    """Its own tokenizer would have numbers that the model has no rows for."""
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.01)
    own = replace(ARM.world, extra_tokenizer_texts=tuple(task_vocabulary()))
    other = Manipulation(population=replace(own, name_pool_sizes=(8, 8, 16)), task="month_even")
    one = replace(ARM, world=replace(own, name_pool_sizes=(8, 8, 17)))
    whole = build_plan(replace(LITTLE, arms=(one,), evals=(EvalSpec(QAEval(), question_source=other),)))
    prices = cost._CostEstimator()
    reading = next(step for step in whole.all_steps if step.kind == "evaluation")
    prices.time_kinds([reading])
    assert 0 < prices.cost(reading).seconds < 60
    mine, theirs = prices._texts(reading.inputs["training"]), prices._corpus_texts(reading.inputs["corpus"])
    assert mine.vocab_size == theirs.vocab_size
    assert (
        timing_sample.TimingTexts.from_sample(
            timing_sample.WorldSample.from_spec(reading.inputs["corpus"].spec)
        ).vocab_size
        < mine.vocab_size
    )


def test_models_of_unlike_vocabularies_are_not_read_in_each_other_s_place(monkeypatch):
    """Two arms alike in all but their words: the second has numbers that the first has no rows for."""
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.01)
    whole = plan(ARM, replace(ARM, world=replace(ARM.world, name_pool_sizes=(4, 4, 30))))
    found = [c for c in cost.estimate_costs(whole.all_steps) if c.step.kind == "evaluation"]
    assert len(found) == 2
    assert all(0 < c.seconds < 60 for c in found)


@pytest.mark.whole
def test_exchanges_are_priced_by_a_few_of_their_pairs():
    """Twenty pairs of 300, among people enough that as many can be paired."""
    given = sample(400)
    texts = timing_sample.TimingTexts.from_sample(given)
    _, model = timing.time_training(timing.TimedModel(ARM.model), texts.documents, RECIPE, texts.vocab_size)
    smaller, times, things = NamePatching(name_extractor=BiographyNameExtractor()).timing_subset()
    assert (smaller.max_pairs, times) == (20, 15)
    with given.corpus(things / given.n_entities) as corpus:
        found = pl.concat(smaller.evaluate_checkpoints({0: lambda: model}, corpus, Seed(0)))
    assert len(found.filter(metric="right")) == 20
    timed = timing.time_evaluation(NamePatching(name_extractor=BiographyNameExtractor()), given, model, 1, Seed(0))
    assert 0 < timed.fixed_seconds < 60


@pytest.mark.parametrize("steps", [200, 2_000])
def test_a_probe_of_states_as_they_are_is_priced_by_what_it_reads(monkeypatch, steps):
    """Without an update of the embedding the network reads each text once, however many steps the probe has."""
    monkeypatch.setattr(timing, "_time_fraction", lambda _, __, ___, fraction, *____: 1.0 + 10 * fraction)
    config = LowRankProbeConfig(rank=0, steps=steps, batch_size=16)
    for probe in (PositionProbe(config=config), NameProbe(config=config, name_extractor=BiographyNameExtractor())):
        given = sample(400)
        timed = timing.time_evaluation(probe, given, None, 3, Seed(0))
        assert timed.seconds(len(given.questions)) == pytest.approx(11)
        assert timed.seconds(len(given.questions) / 2) == pytest.approx(6)


def test_a_world_that_asks_twice_as_much_costs_twice_as_much(monkeypatch):
    """Twelve people and twenty-four, timed once."""
    monkeypatch.setattr(cost, "time_training", lambda *_: (1.0, "a model"))
    monkeypatch.setattr(cost, "time_evaluation", lambda *_: timing.EvaluationTime(0.0, 7.0 / 12))
    found = []
    for people in (12, 24):
        entity = Manipulation(population=replace(ARM.world, people=people), task="month_even")
        whole = build_plan(replace(LITTLE, evals=(EvalSpec(QAEval(), question_source=entity),)))
        found += [c.seconds for c in cost.estimate_costs(whole.all_steps) if c.step.kind == "evaluation"]
    assert found == pytest.approx([7.0, 14.0])


def test_what_counts_answers_that_are_none_can_be_priced():
    """Nobody has answered yet, so that none is none."""
    whole = build_plan(load_study("introspection", "smoke"))
    reading = next(s for s in whole.all_steps if s.kind == "evaluation" and isinstance(s.spec.evaluation, InvalidRate))
    (found,) = cost.estimate_costs([reading])
    assert 0 <= found.seconds < 60


@dataclass(frozen=True)
class Endless(PerCheckpointEvaluation):
    """A read-out that takes longer than anybody waits."""

    name: str = "endless"

    def evaluate(self, model, corpus, seed):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass
        return iter(())


@dataclass(frozen=True)
class EndlessWorld(Biographies):
    """A world with more questions than anybody waits for."""

    def questions(self, seed):
        for index in range(10**9):
            yield Question(f"q/{index}", "person/0", "birth_date", "Who?", "You.", "seen")


@pytest.mark.parametrize(
    ("arm", "evaluation"), [(ARM, Endless()), (replace(ARM, world=EndlessWorld()), RecallEval())], ids=["eval", "world"]
)
def test_what_does_not_fit_the_time_is_not_known(arm, evaluation):
    """Its seconds are None and never 0, and the budget is kept whatever an evaluation or a world takes."""
    whole = build_plan(replace(LITTLE, arms=(arm,), evals=(EvalSpec(evaluation),)))
    started = time.monotonic()
    found = {c.step.kind: c.seconds for c in cost.estimate_costs(whole.all_steps, None, 2.5)}
    assert time.monotonic() - started < 20
    assert found["evaluation"] is None


@dataclass(frozen=True)
class Faulty(PerCheckpointEvaluation):
    name: str = "faulty"

    def evaluate(self, model, corpus, seed):
        raise ValueError("a fault of the user's")


def test_a_fault_is_no_lack_of_time():
    """What an evaluation raises is raised."""
    whole = build_plan(replace(LITTLE, evals=(EvalSpec(Faulty()),)))
    with pytest.raises(ValueError, match="of the user's"):
        cost.estimate_costs(whole.all_steps, None, 60.0)


@dataclass(frozen=True)
class SlowToLoad(Experiment):
    """Loads for two fifths of a second and then works for a tenth, a tenth of the whole."""

    name: str = "slow to load"

    def run(self, seed):
        _burn(0.4)
        yield pl.DataFrame()
        _burn(0.1)

    def timing_subset(self):
        return self, 10.0


def _burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_what_an_experiment_loads_is_loaded_once_by_the_whole():
    """Introspection of two real models was priced at three times its bill, since every 32 replies loaded the model."""
    study = replace(LITTLE, arms=(), evals=(), experiments=(ExperimentSpec(name="one", experiment=SlowToLoad()),))
    found = {c.step.kind: c.seconds for c in cost.estimate_costs(build_plan(study).all_steps, None, 30.0)}
    assert 1.0 <= found["experiment"] < 2.0


def test_steps_of_ten_thousands_are_ordered_at_once():
    """The minutes of a long plan take no time with the square of its steps."""
    steps = [Step(kind="leakage", spec=Seed(n), label=str(n)) for n in range(20_000)]
    steps += [Step(kind="leakage", spec=Seed(-n), inputs={"a": steps[n]}) for n in range(1, 20_000)]
    started = time.process_time()
    assert cost.makespan_minutes(steps, [cost.StepCost(steps[0], 60.0)], 2) == 1
    assert time.process_time() - started < 5


def test_a_folder_s_deep_model_is_timed_by_two_of_its_layers(tmp_path, monkeypatch):
    """As many times the work as weights, tied ones once."""
    from transformers import LlamaConfig, LlamaForCausalLM

    monkeypatch.setattr(timing, "LARGE_MODEL_PARAMETERS", 1)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, num_hidden_layers=6, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = timing.TimedModel.of(Pretrained.from_folder(tmp_path), 50)
    net = model.build(50)
    assert net.config.num_hidden_layers == 2
    assert timing.count_parameters(model.model, 50) == pytest.approx(net.num_parameters() * model.parameter_ratio)
    assert model.depth_ratio == 7 / 3


@pytest.mark.slow
@pytest.mark.parametrize("study", ["biographies", "diaries", "emergence", "introspection", "karel"])
def test_every_study_has_a_price(study, monkeypatch):
    """All that a study trains and reads can be timed before anything of it is made."""
    monkeypatch.setattr(timing, "TIMED_SECONDS", 0.01)
    whole = build_plan(load_study(study, "smoke"))
    found = cost.estimate_costs(whole.all_steps)
    assert {c.step.kind for c in found} >= {"training", "evaluation"}
    assert all(c.seconds >= 0 for c in found)
    assert cost.makespan_minutes(whole.all_steps, found, 2) > 0


@pytest.mark.parametrize("family", get_args(Family))
def test_the_libraries_of_every_family_are_loaded_before_the_clock_runs(family):
    """Also of those that cannot be built with every number of heads."""
    timing.load_libraries([Architecture(family=family, layers=1, width=64, heads=4)])
