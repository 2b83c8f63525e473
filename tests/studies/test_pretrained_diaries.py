"""`nosce run diaries --model FOLDER` on tiny folders of real families, through the command line."""

import json

import pytest
from tests.fixtures.tiny_folders import DECODERS, ENCODER_DECODERS, tiny_folder

from nosce.analysis.needed_rows import selections_in
from nosce.analysis.selection import BestStep
from nosce.data.worlds.diaries import Diaries
from nosce.errors import NosceError
from nosce.models.sources import parse_models
from nosce.pipeline.plan import StudyRequest
from nosce.pipeline.study_checks import check_references
from nosce.pipeline.study_loading import load_study
from nosce.seeds import Seed
from nosce.study import PRETRAIN, StudyVariant

QUICK = ("llama", "t5")  # a decoder, and an encoder-decoder whose tokenizer loses line breaks
FAMILIES = (
    *QUICK,
    *(pytest.param(name, marks=pytest.mark.slow) for name in (*DECODERS, *ENCODER_DECODERS) if name not in QUICK),
)
OF_EVERY_MODEL = {
    "trained",
    "merged-easier",
    "merged-recalled",
    "scattered-recalled",
    "content-before-count",
    "count-known",
    "count-ranked",
    "stop-told-scattered",
    "stop-told-merged",
}
OF_DECODERS = {"header-loss", "titles-store-the-count", "count-planned-scattered", "count-moved-merged"}


def diaries_of(*folders, settings=(), scale="smoke"):
    """The study of some folders."""
    models = parse_models(",".join(map(str, folders)))
    return load_study("diaries", scale, StudyVariant(models=models, settings=settings))


@pytest.mark.whole
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_goes_through_the_study(family, nosce, tmp_path):
    """The claims of its kind come out and the others are named; nothing holds whose need an untrained model lacks."""
    folder = tiny_folder(family, tmp_path / family)
    words = ["diaries", "--model", str(folder), "--scale", "smoke", "--workers", "1"]
    done = nosce.here("run", *words, "--store", str(tmp_path / "s"), "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}

    is_decoder = family in DECODERS
    kind = "decoder-only" if is_decoder else "encoder-decoder"
    assert claims.keys() >= OF_EVERY_MODEL | {f"random-start-{kind}"}
    assert claims.keys() >= OF_DECODERS if is_decoder else OF_DECODERS.isdisjoint(claims)
    assert "larger-models" not in claims
    assert "larger-models" in done.stderr
    assert claims["trained"]["verdict"] != "holds"
    assert all(claims[name]["verdict"] == "undecided" for name in ("merged-easier", f"random-start-{kind}"))


@pytest.mark.slow
def test_a_model_that_learns_its_questions_meets_the_needs(nosce, tmp_path):
    """Planted: many passes teach a tiny model its trained questions, and so its other claims are judged."""
    world = Diaries(n_diarists=60)
    texts = [document.text for document in world.documents(Seed(0))] + list(world.samples(Seed(0)))
    folder = tiny_folder("gpt_neox", tmp_path / "learner", texts, 1_200)
    passes = ["n_diarists=16", "document_epochs=150", "question_epochs=150", "peak_lr=0.01"]
    words = ["diaries", "--model", str(folder), "--scale", "smoke", "--workers", "1", "--store", str(tmp_path / "s")]
    done = nosce.here("run", *words, *(word for setting in passes for word in ("--set", setting)), "--json")
    assert done.returncode == 0, done.stderr
    claims = {claim["id"]: claim for claim in json.loads(done.stdout)["claims"]}
    assert claims["trained"]["estimate"] > 0.9
    assert "not judged" not in claims["merged-recalled"]["why"]


def test_a_ladder_is_ordered_by_its_weights_and_has_the_claim_about_size(tmp_path):
    """A size that the user gives counts; a model alone has neither ladder nor curve; kinds are not mixed."""
    small, large, other = (tiny_folder(name, tmp_path / name) for name in ("opt", "llama", "t5"))
    study = diaries_of(f"{small}=2M", f"{large}=1M", other)
    check_references(study)
    ids = {claim.id for claim in study.claims}
    assert {"larger-models", "count-random-when-small", "encoder-decoder-merged"} <= ids
    larger = next(claim for claim in study.claims if claim.id == "larger-models")
    arms = [selection.arm for _, selection in larger.measure.points]
    assert [arm.split()[1] for arm in arms] == ["llama", "opt"]
    assert [x for x, _ in study.scaling_curves[0].points] == [1e6, 2e6]
    alone = diaries_of(small)
    assert "larger-models" not in {claim.id for claim in alone.claims}
    assert not alone.scaling_curves
    assert not any("At the largest size" in claim.text for claim in alone.claims)


def test_the_step_is_never_chosen_on_the_tested_people(tmp_path):
    """Each half of the people who are never asked about chooses for the other half."""
    folder = tiny_folder("llama", tmp_path / "one")
    study = diaries_of(folder, scale="laptop")
    chosen = [one for one, _ in selections_in(study.claims) if isinstance(one.step, BestStep)]
    assert {"written", "trained", "stops"} <= {one.evaluation for one in chosen}
    assert {(one.step.evaluation, one.step.crossed) for one in chosen} == {("written", True)}
    people = {split: set() for split in ("seen", "validation", "unseen")}
    for question in study.arms[0].world.questions(Seed(0) / "world"):
        people[question.split].add(question.entity)
    assert all(people.values())
    assert not people["validation"] & people["unseen"]
    last = diaries_of(folder, settings=("best_checkpoint=no",))
    assert not any(isinstance(one.step, BestStep) for one, _ in selections_in(last.claims))


def test_the_loss_on_titles_is_changed_of_a_pretrained_pair(tmp_path):
    """Taken from the decoder, given to the encoder-decoder, each from its own weights; at laptop scale when asked."""
    pair = [tiny_folder(name, tmp_path / name) for name in QUICK]
    study = diaries_of(*pair, settings=("title_loss=yes",), scale="laptop")
    check_references(study)
    arms = {arm.name: arm for arm in study.arms}
    weights = {"header masked": 0.0, "header repeated": 0.0, "header learnt": 0.0}
    assert {name: arms[name].training.prompt_loss_weight for name in weights} == weights
    assert arms["decoder-only llama 24 scattered"].training.prompt_loss_weight == 1.0
    assert [arms[name].world.repeat_title for name in weights] == [False, True, "name"]
    assert {arms["header masked"].model.folder, arms["header learnt"].model.folder} == {str(one) for one in pair}
    assert not any(arms[name].model.random_weights for name in weights)
    titles = {"header-loss", "header-repeated", "header-learnt"}
    assert titles <= {claim.id for claim in study.claims}
    assert {"number first", "two phases"}.isdisjoint(arms)
    plain = diaries_of(*pair, scale="laptop")
    assert titles.isdisjoint(claim.id for claim in plain.claims)
    assert set(weights).isdisjoint(arm.name for arm in plain.arms)


def test_the_control_shares_the_corpus_and_not_the_weights(tmp_path):
    """Another training on the same texts, and all of its weights are trained where the model has an adapter."""
    folder = tiny_folder("llama", tmp_path / "one")
    plan = StudyRequest(study="diaries", scale="smoke", models=str(folder), settings=("lora=4",)).plan()
    arms = {arm.name: arm for arm in plan.study.arms}
    (control,) = (name for name in arms if "random weights" in name)
    scattered = "decoder-only one 16 scattered"
    trainings = [plan.training_steps[name, 0, PRETRAIN] for name in (scattered, control)]
    assert trainings[0].name != trainings[1].name
    assert trainings[0].inputs["corpus"].name == trainings[1].inputs["corpus"].name
    assert arms[scattered].adapter is not None
    assert arms[control].adapter is None


def test_replayed_text_stands_among_the_diaries_and_takes_none_of_their_passes(tmp_path):
    """Each diary and each question is read as often as without; a model that reads titles alone is refused."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Rivers carry sand to the sea . " * 2_000, encoding="utf-8")
    folder, encoder_decoder = (tiny_folder(name, tmp_path / name) for name in ("llama", "t5"))
    passes = ("n_diarists=60", "document_epochs=20", "question_epochs=20")
    replay = (f"replay={tmp_path / 'texts'}", "replay_share=0.25")
    plain, replayed = (diaries_of(folder, settings=passes + more) for more in ((), replay))
    for before, after in zip(plain.arms, replayed.arms, strict=True):
        questions, texts = [], []
        for arm in (before, after):
            asked = arm.training.steps * arm.qa_mixture.qa_fraction * (1 - arm.qa_mixture.start_fraction)
            questions.append(asked)
            texts.append(arm.training.steps - asked)
        assert questions[1] == pytest.approx(questions[0], rel=0.01)
        assert 0.75 * texts[1] == pytest.approx(texts[0], rel=0.01)
        documents = [document.text for document in after.world.documents(Seed(0))]
        shares = ["sand" in text for text in documents]
        assert sum(shares) / len(documents) == pytest.approx(0.25, abs=0.03)
    with pytest.raises(NosceError, match=r"--replay mixes in text that has no title to encode, .*t5 .*\.$"):
        diaries_of(folder, encoder_decoder, settings=replay)


def test_a_model_that_cannot_write_diaries_is_refused_in_a_sentence(tmp_path):
    """An endpoint shows no weights; a folder without tokenizer has no texts."""
    with pytest.raises(NosceError, match=r"endpoint.*\.$"):
        diaries_of("https://127.0.0.1:1/v1#name")
    folder = tiny_folder("llama", tmp_path / "one")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NosceError, match=r"one.*tokenizer.*\.$"):
        diaries_of(folder)
