"""Steps are named by all that changes their results and by nothing else, and shared where that is equal."""

import subprocess
import sys
from dataclasses import dataclass, fields, replace

import pytest

from nosce.analysis.claims import Claim
from nosce.analysis.measures import Mean
from nosce.analysis.selection import Selection
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.base import World
from nosce.data.worlds.biographies.world import Biographies
from nosce.errors import SpecError, UsageError
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.architecture import Architecture
from nosce.pipeline.plan import build_plan
from nosce.pipeline.plan_builder import PlanBuilder
from nosce.pipeline.steps import corpus as corpus_step
from nosce.pipeline.steps import training as training_step
from nosce.pipeline.study_loading import load_study
from nosce.store.spec import flatten_description
from nosce.study import PRETRAIN, AnswerSource, Arm, EvalSpec, ExperimentSpec, ReportLabels, Stage, Study
from nosce.train.config import LoRA, QAMixture, RuntimeConfig, TrainingConfig

WORLD = Biographies(people=12, name_pool_sizes=(4, 4, 8))
RECIPE = TrainingConfig(steps=10, batch_size=4, window=80)
ASKING = Stage(name="finetune", training=TrainingConfig(steps=5, batch_size=4, window=64))
ARM = Arm(name="one", world=WORLD, model=Architecture.named("2x64"), training=RECIPE, stages=(ASKING,))


def study(*arms, **changed):
    """A study of the given arms, or of one."""
    wanted = {
        "name": "s",
        "title": "t",
        "question": "q?",
        "paper": "p",
        "scale": "smoke",
        "unit": "person",
        "seeds": (0,),
        "evals": (EvalSpec(RecallEval()), EvalSpec(MajorityBaseline()), EvalSpec(QAEval(), stage="finetune")),
        "claims": (),
    }
    return Study(arms=arms or (ARM,), **(wanted | changed))


def names(plan, kind):
    """The names of a plan's steps of one kind."""
    return {step.name for step in plan.all_steps if step.kind == kind}


def kinds(one, other):
    """The kinds of step of which the plan of one arm has some that the plan of the other has not."""
    a, b = build_plan(study(one)), build_plan(study(other))
    found = {step.name for step in b.all_steps}
    return {step.kind for step in a.all_steps if step.name not in found}


def test_arms_that_share_a_world_share_its_corpus():
    """Two arms that differ in the recipe read one corpus; each is trained and read by itself."""
    plan = build_plan(study(ARM, replace(ARM, name="two", training=replace(RECIPE, peak_lr=2e-3))))

    assert len(names(plan, "corpus")) == 1
    assert len(names(plan, "training")) == 4
    assert len([s for s in plan.all_steps if s.kind == "evaluation"]) == 5  # two a model and stage, majority once


def test_arms_that_share_a_first_training_share_it():
    """Arms that differ in a later stage alone start from one checkpoint."""
    other = replace(ARM, name="two", stages=(replace(ASKING, adapter=LoRA()),))
    plan = build_plan(study(ARM, other))
    documents = [s for s in plan.all_steps if s.kind == "training" and s.spec.data == "documents"]

    assert len(documents) == 1
    assert len(names(plan, "training")) == 3


def test_every_step_comes_after_its_inputs():
    """A plan can be made from its first step to its last, and names no step twice."""
    plan = build_plan(load_study("biographies", "laptop"))
    seen = set()
    for step in plan.all_steps:
        assert {given.name for given in step.inputs.values()} <= seen, step.label
        assert step.name not in seen
        seen.add(step.name)
    assert plan.all_steps[-1] is plan.estimates


READ = {"training", "evaluation", "estimates"}
ALL = {"corpus", "leakage", "exposure", "training", "evaluation", "estimates"}


@pytest.mark.parametrize(
    ("changed", "moved"),
    [
        ({"training": replace(RECIPE, peak_lr=2e-3)}, ALL - {"corpus"}),
        ({"training": replace(RECIPE, checkpoint_fractions=(0.5, 1.0))}, ALL - {"corpus"}),
        ({"training": replace(RECIPE, window=None)}, ALL - {"corpus"}),
        ({"training": replace(RECIPE, grad_accum_steps=2)}, ALL - {"corpus"}),
        ({"training": replace(RECIPE, optimizer="muon")}, ALL - {"corpus"}),
        ({"model": Architecture.named("3x64")}, ALL - {"corpus", "leakage", "exposure"}),
        ({"model": Architecture.named("2x64", family="gpt2")}, ALL - {"corpus", "leakage", "exposure"}),
        ({"stages": (replace(ASKING, training=replace(ASKING.training, steps=6)),)}, READ),
        ({"stages": (replace(ASKING, adapter=LoRA()),)}, READ),
        ({"tokenizer": TokenizerSpec(kind="bpe")}, ALL),
        ({"world": replace(WORLD, people=13)}, ALL),
        ({"world": replace(WORLD, augmentation="multi2")}, ALL),
        ({"name": "renamed"}, {"estimates"}),
    ],
    ids=[
        "peak_lr",
        "checkpoints",
        "window",
        "parts",
        "optimizer",
        "layers",
        "family",
        "later steps",
        "later adapter",
        "tokenizer",
        "people",
        "augmentation",
        "name",
    ],
)
def test_a_change_moves_the_keys_of_what_it_changes_and_no_other(changed, moved):
    """A changed recipe gives a training a new name but leaves the corpus; a renamed arm costs no training."""
    assert kinds(ARM, replace(ARM, **changed)) == moved


def test_a_later_stage_leaves_the_first_training_its_name():
    """Fine-tuning longer does not pretrain again."""
    longer = replace(ARM, stages=(replace(ASKING, training=replace(ASKING.training, steps=6)),))
    first, other = (
        {s.name for s in build_plan(study(arm)).all_steps if s.kind == "training" and s.spec.data == "documents"}
        for arm in (ARM, longer)
    )

    assert first == other


@pytest.mark.parametrize(
    ("module", "moved"), [(corpus_step, ALL), (training_step, {"training", "evaluation", "estimates"})]
)
def test_a_raised_version_is_a_new_key_for_the_step_and_all_that_follows(monkeypatch, module, moved):
    """Code that means to make other bytes never finds the old ones."""
    before = {s.name: s.kind for s in build_plan(study()).all_steps}
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    after = {s.name for s in build_plan(study()).all_steps}
    lost = {kind for name, kind in before.items() if name not in after}

    assert lost == moved
    kept = [name for name, kind in before.items() if kind in moved and name in after]
    assert all("evaluation" in name for name in kept), "only the majority guess needs no training"


def test_claims_and_figures_move_the_estimates_alone():
    """A claim that is added later costs seconds and no training."""
    claim = Claim(id="c", text="t", source="s", measure=Mean(selection=Selection(evaluation="recall")), threshold=0.5)
    a, b = (build_plan(study(claims=claims)) for claims in ((), (claim,)))

    assert {s.name for s in a.upstream_steps} == {s.name for s in b.upstream_steps}
    assert a.estimates.name != b.estimates.name


def test_nothing_that_only_changes_the_speed_is_in_any_key():
    """No field of Machine stands in the description of any step."""
    machine = {f"{name}" for name in RuntimeConfig.__dataclass_fields__}
    for step in build_plan(study()).all_steps:
        assert not {path.split(".")[-1] for path in flatten_description(step.description)} & machine


def test_more_seeds_and_fewer_arms_leave_the_others_their_names():
    """What was run for one seed or arm is found again when more are asked for."""
    both = study(ARM, replace(ARM, name="two", model=Architecture.named("3x64")))
    few, many = build_plan(both.subset(("two",), 1)), build_plan(both.subset((), 3))

    assert {s.name for s in few.upstream_steps} < {s.name for s in many.upstream_steps}
    assert many.study.seeds == (0, 1, 2)
    assert few.estimates.name != many.estimates.name


def test_seeds_differ_in_everything_that_is_drawn():
    """Two seeds share no corpus, no training and no reading, so that they are independent."""
    plans = [build_plan(study(seeds=(seed,))) for seed in (0, 1)]

    assert not {s.name for s in plans[0].all_steps} & {s.name for s in plans[1].all_steps}


def test_arms_of_one_seed_start_from_the_same_weights_and_people():
    """Seeds of weights, orders and facts do not depend on the arm, so arms can be compared in pairs."""
    plan = build_plan(load_study("biographies_adamw", "laptop"))
    for kind, count in (("corpus", 3), ("training", 6)):  # one a seed; two stages a seed
        assert len({str(s.spec.seed) for s in plan.all_steps if s.kind == kind}) == count


def test_a_read_out_of_a_stage_that_an_arm_lacks_is_left_out():
    """An arm without fine-tuning is read after pretraining alone."""
    bare = replace(ARM, name="bare", stages=())
    plan = build_plan(study(ARM, bare))
    sources = {(label.arm, label.stage) for label in plan.estimates.spec.sources}

    assert sources == {("one", "pretrain"), ("one", "finetune"), ("bare", "pretrain")}


def test_the_paper_scale_is_planned_without_torch():
    """The steps of 100,000 people are unrolled, and torch is not even imported."""
    code = (
        "import sys\n"
        "from nosce.pipeline.plan import build_plan\n"
        "from nosce.pipeline.study_loading import load_study\n"
        "plan = build_plan(load_study('biographies', 'paper'))\n"
        "assert len(plan.all_steps) > 20, len(plan.all_steps)\n"
        "heavy = {'torch', 'transformers', 'peft'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Odd(World):
    """A world that holds something which has no fixed bytes."""

    draw: object = len

    def documents(self, seed):
        return iter(())

    questions = samples = documents


ASKING_ABOUT_ANSWERS = EvalSpec(QAEval(), question_source=ReportLabels(train_on=AnswerSource()))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: study(ARM, ARM), "each with its own name"),
        (lambda: study(seeds=()), "at least one"),
        (lambda: study(evals=(EvalSpec(RecallEval(), stage="graduation"),)), r"reads the stages \['graduation'\]"),
        (lambda: build_plan(study(replace(ARM, world=Odd()))), "no fixed bytes to hash"),
        (lambda: build_plan(study(evals=(ASKING_ABOUT_ANSWERS,))), "its world Biographies has no prompts"),
        (
            lambda: replace(ARM, world=object()),
            r"the world of the arm '.*' is a object, .*write `class object\(World\)`",
        ),
        (lambda: EvalSpec(object()), r"the evaluation after the stage 'pretrain' is a object"),
        (lambda: ExperimentSpec(name="x", experiment=object()), "the experiment of 'x' is a object"),
    ],
    ids=["arms", "seeds", "stage", "world", "no prompts", "no world", "no evaluation", "no experiment"],
)
def test_a_study_that_cannot_be_run_is_refused_when_it_is_planned(wrong, words):
    """The mistake is told before anything is made."""
    with pytest.raises(SpecError, match=words):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: study(seeds=(0, 0)),
        lambda: study(replace(ARM, stages=(ASKING, ASKING))),
        lambda: study(replace(ARM, stages=(replace(ASKING, name="pretrain"),)), evals=(EvalSpec(RecallEval()),)),
        lambda: study(evals=(EvalSpec(RecallEval()), EvalSpec(RecallEval()))),
        lambda: study(evals=(EvalSpec(RecallEval()), EvalSpec(RecallEval(documents_per_entity=0)))),
    ],
    ids=["seeds", "stages", "a stage called pretrain", "read-outs", "read-outs of one name"],
)
def test_what_would_be_counted_twice_is_refused(wrong):
    """A repeated seed or read-out would double the readings, and a repeated stage would hide the one before."""
    with pytest.raises(SpecError):
        wrong()


@pytest.mark.parametrize(("arms", "seeds"), [(("three",), None), ((), 0), ((), -1)])
def test_arms_and_seeds_that_are_not_there_are_the_users_mistake(arms, seeds):
    """An unknown arm is told with those there are; no seed is no run."""
    with pytest.raises(UsageError, match=r"take from one|take 1 or more"):
        study().subset(arms, seeds)


def test_what_is_taught_later_is_in_the_words_of_the_first_corpus():
    """Another world's documents are tokenized with the arm's own words, and asked about by the same step."""
    other = replace(WORLD, people=6)
    arm = replace(ARM, stages=(replace(ASKING, data=other),))
    plan = build_plan(study(arm, evals=(EvalSpec(QAEval(), stage="finetune", question_source=other),)))
    corpora = [step for step in plan.all_steps if step.kind == "corpus"]
    assert [sorted(step.inputs) for step in corpora] == [[], ["words"]]
    assert corpora[1].inputs["words"].name == corpora[0].name


def test_answers_that_differ_in_anything_are_steps_of_their_own():
    """Every field of an `AnswerSource`; the same source, asked for twice, is one step."""
    study = load_study("introspection", "smoke")
    arm = next(arm for arm in study.arms if arm.stages)
    source = AnswerSource()
    changes = {
        "arm": "B",
        "stage": arm.stages[0].name,
        "n_samples": 3,
        "max_new_tokens": 7,
        "world": replace(arm.world, n_shared_prompts=3),
    }
    assert changes.keys() == {field.name for field in fields(AnswerSource)}
    builder = PlanBuilder(study)
    plain = builder.answers_step(arm, 0, source, PRETRAIN)
    others = [builder.answers_step(arm, 0, replace(source, **{k: v}), PRETRAIN) for k, v in changes.items()]
    assert len({step.name for step in [plain, *others]}) == 1 + len(changes)
    assert builder.answers_step(arm, 0, source, PRETRAIN) is plain


def test_a_later_stage_may_mix_questions_into_the_documents_of_another_world():
    """As a first training may; without a world there are no documents to mix them into."""
    other = replace(WORLD, people=14)
    mixture = QAMixture(qa_fraction=0.25)
    plain = Stage(name="later", training=RECIPE, data=other)
    mixed = replace(plain, qa_mixture=mixture)
    read = (EvalSpec(QAEval(), stage="later", question_source=other),)
    data = {}
    for stage in (plain, mixed):
        plan = build_plan(study(replace(ARM, stages=(stage,)), evals=read))
        step = plan.training_steps["one", 0, "later"]
        data[stage] = step.spec.data
        (evaluation,) = (step for step in plan.all_steps if step.kind == "evaluation")
        assert evaluation.inputs["corpus"] is step.inputs["corpus"]
    assert list(data.values()) == ["documents", mixture]
    with pytest.raises(SpecError, match="'later' mixes questions"):
        replace(mixed, data=None)
