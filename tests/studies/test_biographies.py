"""The study biographies: which arms there are at which scale, and that all arms see each person as often."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.fixtures.built_in_studies import built_in_study

from nosce.analysis.measures import Difference
from nosce.data.sampling import second_source_count
from nosce.data.worlds.biographies.prose import ProseGrammar
from nosce.data.worlds.biographies.world import AUGMENTATIONS, PAIRED_AUGMENTATIONS, person
from nosce.errors import DataError, SpecError
from nosce.seeds import Seed
from nosce.studies.biographies.arms import (
    ARMS_BY_WORDINGS,
    HIDING_ARMS,
    WRITTEN_ARM,
    bidirectional_arm_name,
    celebrities_arm_name,
    finetuning_arm_name,
    minority_arm_name,
    mixed_arm_name,
    replay_arm_name,
    sized_arm_name,
)
from nosce.studies.biographies.config import (
    MINORITY_TEXTS,
    MULTI5_PERMUTE,
    MULTI5_PERMUTE_FULLNAME,
    SINGLE,
    SINGLE_PERMUTE1,
    TWO_AUGMENTATIONS,
    WITH_CELEBRITIES,
    QuestionDose,
)
from nosce.studies.biographies.evals import (
    CONTROL_P_PROBE,
    COUPLES_P_PROBE,
    HIDDEN_RECALL,
    MINORITY_P_PROBE,
    q_probe_name,
)
from nosce.studies.biographies.scales import (
    PAPER_DOSE_AUGMENTATIONS,
    PAPER_QUESTION_SHARES,
    biographies_config,
    variants_config,
)
from nosce.studies.biographies.selections import SECOND_ATTRIBUTES
from nosce.studies.biographies.study import study
from nosce.studies.biographies.trainings import QUERY_VALUE_RANKS, query_value_variant
from nosce.train.config import LoRA

SCALES = ("smoke", "laptop", "gpu", "paper")
VARIANTS = "laptop of biographies_variants"  # which has at laptop scale what the study itself has at all others
SCALES_OF_VARIANTS = ("smoke", VARIANTS, "gpu", "paper")


def study_at(scale):
    """The study, or its other half."""
    name, at = ("biographies_variants", "laptop") if scale == VARIANTS else ("biographies", scale)
    return built_in_study(name, at)


def config_at(scale):
    """Its configuration."""
    return variants_config("laptop") if scale == VARIANTS else biographies_config(scale)


def arms(scale):
    """By name."""
    return {arm.name: arm for arm in study_at(scale).arms}


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_the_larger_scales_have_all_sixteen_rows_and_the_couples(scale):
    """Every row of the paper's table, the three couples, and every dose."""
    assert set(AUGMENTATIONS) | set(PAIRED_AUGMENTATIONS) | set(ARMS_BY_WORDINGS.values()) <= set(arms(scale))
    assert len(AUGMENTATIONS) == 16


@pytest.mark.parametrize("scale", SCALES)
def test_every_person_is_seen_equally_often(scale):
    """Rows take as many texts; a text of the minority is seen as often as one of a row."""
    config, found = biographies_config(scale), arms(scale)
    rows = {
        name: arm
        for name, arm in found.items()
        if name in (*config.augmentations, *ARMS_BY_WORDINGS.values(), *config.coupled_augmentations)
    }
    assert {arm.training.steps * arm.training.batch_size for arm in rows.values()} == {
        rows[MULTI5_PERMUTE].training.steps * rows[MULTI5_PERMUTE].training.batch_size
    }
    famous = found[WITH_CELEBRITIES]
    entries = config.n_minority + 5 * config.n_celebrities
    assert famous.training.steps * famous.training.batch_size / entries == pytest.approx(config.exposures, rel=0.05)


@pytest.mark.parametrize("scale", SCALES_OF_VARIANTS)
def test_questions_come_on_top_of_as_many_biographies(scale):
    config, found = config_at(scale), arms(scale)
    both = found[mixed_arm_name(config.mixed_augmentations[0])]
    texts = both.training.steps * both.training.batch_size
    documents = texts - second_source_count(texts, both.qa_mixture.qa_fraction, 0)
    wanted = config.mixed_exposures or config.exposures
    assert documents / config.world.people == pytest.approx(wanted, rel=0.05)


def has_the_length_of_its_kind(arm, dose, whole, config):
    """As many steps, as many exposures, or the exposures that it names."""
    if dose.same_steps:
        return arm.training.steps == whole.steps
    texts, whole_texts = (t.steps * t.batch_size for t in (arm.training, whole))
    exposures = texts * (1 - dose.qa_fraction) / config.world.people
    wanted = dose.exposures or whole_texts * (1 - config.qa_fraction) / config.world.people
    return exposures == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("scale", SCALES_OF_VARIANTS)
def test_doses_of_questions_have_as_many_exposures_steps_or_tokens(scale):
    """Two doses of one share differ in how long they are trained, and in nothing else."""
    config, found = config_at(scale), arms(scale)
    assert config.question_doses
    for row in config.dose_augmentations:
        whole = found[mixed_arm_name(row)]
        for dose in config.question_doses:
            arm = found[mixed_arm_name(row, dose)]
            assert arm.qa_mixture.qa_fraction == dose.qa_fraction != config.qa_fraction
            assert arm.world == whole.world
            assert has_the_length_of_its_kind(arm, dose, whole.training, config)
    assert len({mixed_arm_name(SINGLE, dose) for dose in config.question_doses}) == len(config.question_doses)


def kind_of(dose):
    """The figure's panel."""
    if dose.exposures is not None:
        return "as many tokens"
    return "as many steps" if dose.same_steps else "every person seen as often"


@pytest.mark.parametrize("scale", SCALES_OF_VARIANTS)
def test_every_dose_is_in_the_figure_beside_the_scales_own(scale):
    """A panel a kind, and in each a line a row and a measure."""
    config = config_at(scale)
    (figure,) = (chart for chart in study_at(scale).figures if chart.id == "questions-mixed")
    for panel in {kind_of(dose) for dose in config.question_doses}:
        doses = [dose.qa_fraction for dose in config.question_doses if kind_of(dose) == panel]
        groups = {point.group for point in figure.points if point.panel == panel}
        assert len(groups) == 2 * len(config.dose_augmentations)
        for group in groups:
            shown = [p.x for p in figure.points if (p.panel, p.group) == (panel, group)]
            assert sorted(shown) == sorted([*doses, config.qa_fraction])


def test_the_papers_mixed_trainings_read_as_many_tokens_at_every_share():
    """80,000 steps of about 49,152 tokens, of which the share of Figure 10 are questions (arXiv:2309.14316)."""
    config, found = biographies_config("paper"), arms("paper")
    for row in PAPER_DOSE_AUGMENTATIONS:
        mixed = {0.8: found[mixed_arm_name(row)]}
        for dose in config.question_doses:
            tokens = next(t for t, texts in PAPER_QUESTION_SHARES.items() if texts == dose.qa_fraction)
            mixed[tokens] = found[mixed_arm_name(row, dose)]
        assert sorted(mixed) == [0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.9]
        for share, arm in mixed.items():
            texts, questions = arm.training.batch_size, arm.training.batch_size * arm.qa_mixture.qa_fraction
            tokens = 20 * questions + 73 * (texts - questions)
            assert arm.training.steps == 80_000
            assert tokens == pytest.approx(96 * 512, rel=0.02)
            assert 20 * questions / tokens == pytest.approx(share, abs=0.005)


def test_the_papers_bidirectional_model_is_trained_as_long_as_appendix_h_says():
    """150,000 steps from biographies alone and from both shares of questions, of every row."""
    config, found = biographies_config("paper"), arms("paper")
    names = [
        name
        for row in AUGMENTATIONS
        for name in (row, mixed_arm_name(row), *(mixed_arm_name(row, d) for d in config.bidirectional_question_doses))
    ]
    assert {found[bidirectional_arm_name(name)].training.steps for name in names} == {150_000}
    (stage,) = found[bidirectional_arm_name(SINGLE)].stages
    assert (stage.training.lr_schedule, stage.training.min_lr_ratio, stage.training.steps) == ("linear", 0.0, 50_000)


def test_a_dose_of_two_lengths_is_refused():
    """One sentence."""
    with pytest.raises(SpecError, match=r"two lengths; give one"):
        QuestionDose(qa_fraction=0.5, same_steps=True, exposures=3)


@pytest.mark.parametrize("scale", [*SCALES, VARIANTS])
def test_arms_can_be_named_on_the_command_line(scale):
    """`--arms` takes names separated by commas, so that none may hold one."""
    assert not [name for name in arms(scale) if "," in name]


@pytest.mark.parametrize("scale", SCALES_OF_VARIANTS)
def test_a_model_that_sees_both_ways_has_a_mask_and_no_rows_of_many_texts(scale):
    """Its family, its tokenizer, and recipes that masks can be trained with."""
    for arm in (arm for name, arm in arms(scale).items() if name.startswith("masked")):
        assert arm.model.family == "modernbert"
        assert arm.tokenizer.has_mask_token
        assert arm.training.window is None
        assert all(stage.training.window is None and not stage.training.prompt_loss_weight for stage in arm.stages)
    assert bidirectional_arm_name(MULTI5_PERMUTE_FULLNAME) in arms(scale)


def test_probes_of_the_papers_size_are_the_papers():
    """Ranks, steps, batches, rate and decay of appendices E and F."""
    config = biographies_config("paper")
    assert (config.p_probe_config.rank, config.p_probe_config.steps, config.p_probe_config.batch_size) == (
        2,
        30_000,
        50,
    )
    assert (config.q_probe_config.rank, config.q_probe_config.steps, config.q_probe_config.batch_size) == (
        16,
        30_000,
        200,
    )
    assert {(fit.peak_lr, fit.weight_decay, fit.epsilon) for fit in (config.p_probe_config, config.q_probe_config)} == {
        (1e-3, 0.3, 1e-6)
    }
    lora = {variant.name for variant in config.finetuning_grid if variant.adapter is not None}
    assert len(lora) == 24  # 5 x 5 ranks, one of which is that of the rows


@pytest.mark.parametrize("scale", SCALES_OF_VARIANTS)
def test_what_is_tried_otherwise_differs_in_its_fine_tuning_alone(scale):
    """The grid of two rows, and of the further arms; worlds and first trainings are the same."""
    config, found = config_at(scale), arms(scale)
    for row, recipes in config.finetuning_grids:
        assert recipes
        for variant in recipes:
            arm = found[finetuning_arm_name(row, variant.name)]
            assert (arm.world, arm.training) == (found[row].world, found[row].training)
            assert (arm.stages[0].training, arm.stages[0].adapter) == (variant.training, variant.adapter)
    assert {row for row, _ in config.finetuning_grids} == {*TWO_AUGMENTATIONS, *config.extra_finetuned_arms}


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
def test_the_minority_is_read_in_texts_that_both_models_learnt(scale):
    """P-probing of the minority reads their one text as it stands in the row and among celebrities."""
    config, found, seed = biographies_config(scale), arms(scale), Seed(5)
    (read,) = (read for read in built_in_study("biographies", scale).evals if read.evaluation.name == MINORITY_P_PROBE)
    alone = {d.text for d in read.question_source.documents(seed)}
    assert len(alone) == config.n_minority
    for arm in read.arms:
        assert alone <= {d.text for d in found[arm].world.documents(seed)}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("claim", ["celebrities-probe", "celebrities-place"])
def test_a_probe_of_the_minority_is_judged_beside_one_that_should_see(scale, claim):
    """The same probe, from as many people and texts, of a row all of whose values can be asked for: it is read."""
    config, study = biographies_config(scale), built_in_study("biographies", scale)
    (claim,) = (one for one in study.claims if one.id == claim)
    control, judged = claim.preconditions[-1].measure.a, claim.measure.a
    assert replace(control, evaluation=judged.evaluation, arm=judged.arm) == judged
    (read,) = (
        read for read in study.evals if read.evaluation.name == control.evaluation and MULTI5_PERMUTE in read.arms
    )
    (minority,) = (read for read in study.evals if read.evaluation.name == judged.evaluation)
    assert replace(read.evaluation, name=judged.evaluation) == minority.evaluation
    assert (read.question_source or config.world).people == minority.question_source.people == config.n_minority


def test_the_control_of_the_minority_reads_texts_that_its_model_learnt():
    """One a person, as they stand in the row."""
    study, found, seed = built_in_study("biographies", "laptop"), arms("laptop"), Seed(5)
    (read,) = (read for read in study.evals if read.evaluation.name == CONTROL_P_PROBE)
    texts = {d.text for d in read.question_source.documents(seed)}
    assert texts <= {d.text for d in found[MULTI5_PERMUTE].world.documents(seed)}


def test_fewer_people_are_the_first_of_all():
    """Probes that learn from fewer read people of the same names and values."""
    config, found = biographies_config("laptop"), arms("laptop")
    known = {(q.prompt, q.target) for q in found[MULTI5_PERMUTE].world.questions(Seed(5))}
    for few in config.q_probe_train_sizes:
        (read,) = (
            read for read in built_in_study("biographies", "laptop").evals if read.evaluation.name == q_probe_name(few)
        )
        assert {(q.prompt, q.target) for q in read.question_source.questions(Seed(5))} <= known
        assert sum(q.split == "seen" for q in read.question_source.questions(Seed(5))) == 6 * few


def test_tasks_are_spelt_by_the_words_of_the_rows():
    """What is taught later stands in the samples of what is read first, and rows still tell of the same people."""
    config = config_at(VARIANTS)
    assert "even" in " ".join(config.world.extra_tokenizer_texts)
    rows = arms(VARIANTS)
    assert rows["month_even"].training == rows[MULTI5_PERMUTE].training
    assert rows["month_even"].world == rows[MULTI5_PERMUTE].world


@pytest.mark.parametrize("scale", [*SCALES, VARIANTS])
def test_what_is_held_against_each_other_was_run_on_the_same_seeds(scale):
    """A difference of arms of unlike seeds could never be judged."""
    found = arms(scale)
    for claim in study_at(scale).claims:
        for one in getattr(claim.measure, "measures", (claim.measure,)):
            if isinstance(one, Difference):
                assert found[one.a.arm].n_seeds == found[one.b.arm].n_seeds, claim.id


ALL_ARMS = (
    "celebrity_pairs=single,single+permute1+fullname,prose,prose+fullname",
    "sizes=2x32,2x48",
    "hides_values=yes",
)


def texts_of(arm):
    """By entity."""
    found = {}
    for document in arm.world.documents(Seed(5)):
        found.setdefault(document.entity, []).append(document.text)
    return found


def general_text(folder, n_pieces):
    """A folder of so many pieces of sixty words."""
    folder.mkdir()
    (folder / "a.txt").write_text("word " * 60 * n_pieces, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def further(tmp_path_factory):
    """The arms of a small study that has all of them, and its configuration."""
    folder = general_text(tmp_path_factory.mktemp("given") / "text", 40)
    settings = (*ALL_ARMS, f"replay={folder}")
    config = biographies_config("smoke", settings)
    return {arm.name: arm for arm in study("smoke", settings).arms}, config


@pytest.mark.parametrize("texts", [SINGLE_PERMUTE1, *MINORITY_TEXTS])
def test_a_minority_reads_the_same_texts_alone_and_among_celebrities(further, texts):
    """Letter for letter, and each as often; its questions are held out; celebrities have five texts."""
    found, config = further
    alone, among = found[minority_arm_name(texts)], found[celebrities_arm_name(texts)]
    own, both = texts_of(alone), texts_of(among)
    minority = [f"person/{n}" for n in range(config.n_minority)]
    assert all(both[person] == own[person] and len(own[person]) == 1 for person in minority)
    assert {len(both[f"person/{n}"]) for n in range(config.n_minority, 30)} == {5}
    split = {q.entity: q.split for q in among.world.questions(Seed(5))}
    assert {person for person, side in split.items() if side == "unseen"} == set(minority)
    n_texts = sum(map(len, both.values()))
    shown = among.training.steps * among.training.batch_size / n_texts
    assert shown == pytest.approx(alone.training.steps * alone.training.batch_size / config.world.people, rel=0.05)


@pytest.mark.parametrize("texts", [SINGLE_PERMUTE1, *MINORITY_TEXTS])
def test_among_general_text_every_person_is_read_as_often(further, texts):
    """Half of the texts are pieces, and there are twice as many steps."""
    found, config = further
    alone, among = found[minority_arm_name(texts)], found[replay_arm_name(texts)]
    pieces = {entity for entity in texts_of(among) if entity.startswith("text/")}
    assert len(pieces) == config.world.people
    assert {e: t for e, t in texts_of(among).items() if e not in pieces} == texts_of(alone)
    assert among.training.steps == 2 * alone.training.steps


def test_a_folder_with_too_little_text_is_refused(tmp_path):
    """Fewer pieces than the share asks for would show people more often without a word."""
    folder = general_text(tmp_path / "text", 39)
    with pytest.raises(SpecError, match=r"holds 39 pieces of 60 words, .* takes 40; give more text"):
        study("smoke", (f"replay={folder}",))


def test_sizes_differ_in_the_model_alone(further):
    """Two rows of each size, with the people, exposures and fine-tuning of the rows."""
    found, config = further
    for size in config.sizes:
        for row in TWO_AUGMENTATIONS:
            arm = found[sized_arm_name(row, size)]
            assert f"{arm.model.layers}x{arm.model.width}" == size
            assert (arm.world, arm.training, arm.stages) == (found[row].world, found[row].training, found[row].stages)
    paper = arms("paper")
    assert paper["single 12x2048"].training.steps == 200_000
    assert paper["single 12x2048"].model == replace(paper[SINGLE].model, width=2_048, heads=32)


def test_both_hiding_arms_read_as_many_copies_as_often(further):
    """What is hidden is all that differs; every text and copy is read as often as a text of the row."""
    found, config = further
    values, words = (found[name] for name in HIDING_ARMS)
    assert values.training == words.training
    assert replace(values.world, hidden="words") == words.world
    shown = values.training.steps * values.training.batch_size / (6 * config.world.people)
    assert shown == pytest.approx(config.exposures, rel=0.05)
    evals = {
        spec.evaluation.name: spec for spec in study("smoke", ALL_ARMS).evals if set(HIDING_ARMS) <= set(spec.arms)
    }
    assert evals["recall"].question_source == found[SINGLE].world  # in the texts, not in the copies
    copies = evals[HIDDEN_RECALL].question_source
    assert copies == replace(values.world, with_originals=False)


def test_written_texts_are_an_arm_of_their_people(tmp_path):
    """The first people of all, as often as in the rows; who is told of wrongly is found."""
    world = biographies_config("smoke").world
    lines = []
    for number in range(10):
        text = ProseGrammar().text(person(world, number, Seed(5)), 0, Seed(number))
        lines.append(json.dumps({"person": number, "entry": 0, "text": text}))
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    whole = study("smoke", (f"written={tmp_path / 'texts.jsonl'}",))
    (arm,) = (arm for arm in whole.arms if arm.name == WRITTEN_ARM)
    assert len(texts_of(arm)) == 10
    assert arm.training.steps * arm.training.batch_size == pytest.approx(
        10 * biographies_config("smoke").exposures, 0.1
    )
    assert "written-near-chance" in {claim.id for claim in whole.claims}
    with pytest.raises(DataError, match="does not state"):
        list(arm.world.documents(Seed(6)))


def test_rows_and_couples_are_p_probed():
    """All rows in all their texts, as in Figure 5; couples with their pairs, as in Figure 6."""
    for scale in SCALES:
        config = biographies_config(scale)
        probes = {spec.evaluation.name: spec for spec in built_in_study("biographies", scale).evals}
        assert set(probes["p-probe"].arms) == set(config.augmentations)
        couples = probes[COUPLES_P_PROBE]
        assert couples.arms == config.coupled_augmentations
        assert [second for _, second in couples.evaluation.pairs] == list(SECOND_ATTRIBUTES)


def test_the_papers_low_rank_update_is_among_the_fine_tunings():
    """Query and value apart with the paper's scale, in ranks 8 and 16, at the scale that runs on two cores."""
    adapters = {v.name: v.adapter for v in config_at(VARIANTS).finetuning_grid}
    for rank in QUERY_VALUE_RANKS:
        assert adapters[query_value_variant(rank)] == LoRA(
            rank=rank, embedding_rank=128, alpha=4.0, query_value_apart=True
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("celebrity_pairs=many",), "choose from single"),
        (("sizes=9x9",), "take one"),
        (("celebrity_pairs=single", "n_celebrities=0"), "needs celebrities; n_celebrities is 0"),
    ],
)
def test_an_unknown_minority_or_size_is_refused(settings, said):
    """One sentence."""
    with pytest.raises(SpecError, match=said):
        biographies_config("smoke", settings)
