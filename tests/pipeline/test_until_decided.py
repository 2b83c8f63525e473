"""Seeds until claims are decided: which steps are made, what stops a claim, and that a kill changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests import conftest
from tests.fixtures import look_studies
from tests.fixtures.inline_pool import InlinePool

from nosce.analysis.looks import ClaimSeeds, LookDesign
from nosce.errors import UsageError
from nosce.pipeline import until_decided as looking
from nosce.pipeline.devices import DeviceRequest, WorkerDevices
from nosce.pipeline.plan import StudyRequest, build_plan
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.results import RunResults
from nosce.pipeline.study_loading import load_study
from nosce.pipeline.until_decided import LookCosts, LookPlanner, decide_look, look_seeds
from nosce.store.store import Store
from nosce.study import Study
from nosce.train.config import RuntimeConfig

FILE = Path(conftest.__file__).parent / "fixtures" / "look_studies.py"
WORDS = ("--scale", "smoke", "--until-decided", "--workers", "1")


def run(nosce, store: Path, *words: object, form: str = "worn"):
    ended = nosce.here("run", f"{FILE}:{form}", *WORDS, "--store", store, *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended


def shown(nosce, store: Path) -> dict:
    ended = nosce.here("show", "worn", "--json", "--store", store)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def made(store: Path) -> set[tuple[str, int]]:
    """Arm and seed of the experiments in a store."""
    found = set()
    for record in PlanRecord.load_all(Store.open(store)):
        for name, step in record.steps.items():
            if name.startswith("experiment-") and Store.open(store).has(name):
                arm, seed = step.label.split(", seed ")
                found.add((arm, int(seed)))
    return found


def results_of(store: Path) -> RunResults:
    opened = Store.open(store)
    return RunResults.load(opened, PlanRecord.find_finished(opened, "worn", "smoke"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A store in which looks have ended, and what the command said."""
    store = tmp_path_factory.mktemp("looks") / "store"
    return store, run(conftest.Nosce(), store).stdout


@pytest.mark.whole
def test_seeds_go_where_a_verdict_hangs_on_them(finished):
    """Three seeds of every coin, one of the coin that has one, and more of the close coin alone."""
    store, _ = finished
    seeds: dict[str, int] = {}
    for arm, _seed in made(store):
        seeds[arm] = seeds.get(arm, 0) + 1
    assert seeds.pop("close") in (5, 8, 12)
    assert seeds == {"clear": 3, "even": 3, "single": 1}


def test_every_verdict_says_at_which_look_it_was_made(nosce, finished):
    store, said = finished
    claims = {claim["id"]: claim for claim in shown(nosce, store)["claims"]}

    assert claims["clear"]["verdict"] == "holds"
    assert (claims["clear"]["look"]["look"], claims["clear"]["look"]["seeds"]) == (1, 3)
    assert claims["close"]["look"]["seeds"] > 3
    assert claims["close"]["look"]["phrase"] not in claims["close"]["why"], "it stands beside the reason"
    assert "98.2 % interval" in claims["clear"]["criterion"]
    assert claims["single"]["look"]["note"] == "its arm single has 1 seed"
    assert (claims["single"]["look"]["look"], claims["single"]["look"]["level"]) == (None, 0.95)
    assert "3 seeds, 98.2 %" in said
    assert claims["clear"]["price"] is None


def test_what_is_open_says_why_it_was_left_and_what_would_decide_it(nosce, finished):
    store, said = finished
    claims = {claim["id"]: claim for claim in shown(nosce, store)["claims"]}

    assert claims["even"]["verdict"] == "undecided"
    assert "the chance that 12 seeds decide it is" in claims["even"]["look"]["note"]
    assert claims["even"]["price"]["sentence"] in said
    assert claims["unmet"]["look"]["note"].startswith("more seeds would not decide it: heads of clear is")
    assert claims["unmet"]["price"]["sentence"].startswith("not by seeds: heads of clear is")


@pytest.mark.whole
def test_the_page_has_looks_and_prices(nosce, finished, tmp_path):
    store, _ = finished
    ended = nosce.here("report", "--out", tmp_path, "--store", store)
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "worn" / "smoke" / "index.html").read_text()
    assert "<dt>look</dt><dd>decided at look 1 of 4, 3 seeds, by an interval of 98.2 %</dd>" in page
    assert "<dt>to decide it</dt><dd>not by seeds: heads of clear" in page


def test_the_same_command_makes_nothing_and_says_the_same(nosce, finished):
    store, said = finished
    again = run(nosce, store).stdout
    assert "steps to do" not in again
    assert again.splitlines()[-8:] == said.splitlines()[-8:]


@pytest.mark.whole
@pytest.mark.parametrize("after", [4, 12])
def test_a_stop_within_a_look_changes_nothing(nosce, finished, tmp_path, monkeypatch, after):
    """Stopped in the first look or in the second, the same command ends with the same steps and verdicts."""
    store, left = tmp_path / "store", [after]

    class Stopped(InlinePool):
        def submit(self, step, *, rerun_stale):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            super().submit(step, rerun_stale=rerun_stale)

    with monkeypatch.context() as patched:
        patched.setattr(conftest, "make_inline_pool", lambda store, *_: Stopped(store, RuntimeConfig()))
        ended = nosce.here("run", f"{FILE}:worn", *WORDS, "--store", store)
    assert ended.returncode == 130
    assert "--until-decided" in ended.stderr, "the command that goes on"
    run(nosce, store)

    assert made(store) == made(finished[0])
    one, other = (shown(nosce, folder) for folder in (store, finished[0]))
    assert [(c["id"], c["estimate"], c["verdict"], c["look"]) for c in one["claims"]] == [
        (c["id"], c["estimate"], c["verdict"], c["look"]) for c in other["claims"]
    ]


@pytest.mark.whole
def test_max_seeds_ends_the_looks(nosce, tmp_path):
    run(nosce, tmp_path / "store", "--max-seeds", 3)
    assert {seed for _, seed in made(tmp_path / "store")} == {0, 1, 2}
    (claim,) = (c for c in shown(nosce, tmp_path / "store")["claims"] if c["id"] == "close")
    assert (claim["verdict"], claim["look"]["seeds"]) == ("undecided", 3)
    assert "--max-seeds 3" in shown(nosce, tmp_path / "store")["provenance"]["command"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--max-seeds", "4"), "--max-seeds 4 is no look; take one of 3, 5, 8, 12."),
        (("--seeds", "5"), "give --max-seeds, or the seeds themselves"),
        (("--seeds", "4-5"), "looks take 3 seeds or more"),
        (("--budget", "soon"), "--budget soon is no time"),
        (("--dry-run",), "price the first look with `nosce plan STUDY --seeds 3`"),
    ],
)
def test_what_cannot_be_is_one_sentence(nosce, tmp_path, words, told):
    ended = nosce.here("run", f"{FILE}:worn", *WORDS, "--store", tmp_path / "store", *words)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert not made(tmp_path / "store")


def test_max_seeds_alone_is_refused(nosce, tmp_path):
    ended = nosce.here("run", f"{FILE}:worn", "--max-seeds", 5, "--store", tmp_path)
    assert ended.returncode == 2
    assert "--max-seeds belongs to --until-decided" in ended.stderr


@pytest.mark.whole
def test_fresh_seeds_confirm_and_read_ones_stand_beside(nosce, tmp_path):
    """Of seeds 0 to 2, which were read, two are run here; looks take 10 onwards, and the halves stand side by side."""
    store = tmp_path / "store"
    ended = nosce.here("run", f"{FILE}:seen", "--scale", "smoke", "--seeds", "0-1", "--store", store)
    assert ended.returncode == 0, ended.stderr
    said = run(nosce, store, form="seen").stdout

    seeds = {seed for _, seed in made(store)}
    assert seeds >= {0, 1, 10, 11, 12}
    assert 2 not in seeds
    halves = shown(nosce, store)["halves"]
    assert halves["exploratory_seeds"] == [0, 1]
    assert halves["confirmatory_seeds"][:3] == [10, 11, 12]
    rows = {row["claim"]: row for row in halves["claims"]}
    assert sum(halves["counts"].values()) == len(rows) == 5
    assert rows["clear"]["outcome"] == "agree"
    assert rows["clear"]["exploratory_here"] != rows["clear"]["confirmatory_here"]
    assert rows["clear"]["written"] == "before"
    assert "Exploratory seeds 0-1 against confirmatory seeds 10-" in said
    site = nosce.here("report", "--out", tmp_path / "site", "--store", store)
    assert site.returncode == 0
    assert "Exploratory and confirmatory seeds" in (tmp_path / "site" / "worn" / "smoke" / "index.html").read_text()


@pytest.mark.whole
def test_of_read_seeds_nothing_is_made(nosce, tmp_path):
    """The exploratory half is what was read; where nothing was, there is none."""
    run(nosce, tmp_path / "store", "--max-seeds", 3, form="seen")
    assert {seed for _, seed in made(tmp_path / "store")} == {10, 11, 12}
    assert "halves" not in shown(nosce, tmp_path / "store")


@pytest.mark.whole
def test_ranges_of_seeds_are_halves_too(nosce, tmp_path):
    """`--seeds 0-1,10-12` runs all of them, and verdicts rest on those that nobody had read."""
    store = tmp_path / "store"
    ended = nosce.here("run", f"{FILE}:seen", "--scale", "smoke", "--seeds", "0-1,10-12", "--store", store)
    assert ended.returncode == 0, ended.stderr
    assert {seed for arm, seed in made(store) if arm != "single"} == {0, 1, 10, 11, 12}
    claims = shown(nosce, store)
    assert claims["seeds"] == [0, 1, 10, 11, 12]
    assert claims["part"] is None
    (clear,) = (claim for claim in claims["claims"] if claim["id"] == "clear")
    assert clear["n"] == 180, "three seeds of sixty tosses"
    plain = nosce.here("run", f"{FILE}:seen", "--scale", "smoke", "--seeds", "4", "--store", tmp_path / "other")
    assert plain.returncode == 0
    (clear,) = (claim for claim in shown(nosce, tmp_path / "other")["claims"] if claim["id"] == "clear")
    assert clear["n"] == 240, "of a number of seeds all count alike"


def planner(study: Study | None = None) -> LookPlanner:
    study = study or look_studies.worn("smoke")
    return LookPlanner(study=study, seeds=tuple(range(12)))


def test_a_plan_of_looks_extends_what_open_claims_read():
    """The close coin goes to eight seeds, the others stay at three; a coin of one seed is never extended."""
    ends = {"close": 8, "single": 3}
    claims = tuple(ClaimSeeds(claim=c.id, n_seeds=ends.get(c.id, 3)) for c in look_studies.worn("smoke").claims)
    plan = planner().plan(LookDesign(seeds=tuple(range(12)), claims=claims))
    labels = sorted(step.label for step in plan.upstream_steps)

    assert labels == sorted(
        [
            *(f"{arm}, seed {n}" for arm in ("clear", "even") for n in range(3)),
            *(f"close, seed {n}" for n in range(8)),
            "single, seed 0",
        ]
    )
    assert plan.study.seeds == tuple(range(8))


def test_an_arm_of_one_seed_has_one_of_each_half():
    """Seeds 0-2 were read before: of 0-2 and 10-12 an arm of one seed is run with seed 0 and with seed 10."""
    study = replace(look_studies.seen("smoke"), seeds=(0, 1, 2, 10, 11, 12))
    sources = build_plan(study).estimates.spec.sources
    assert [one.seed for one in sources if one.arm == "single"] == [0, 10]
    alike = build_plan(replace(study, exploratory_seeds=()))
    assert [one.seed for one in alike.estimates.spec.sources if one.arm == "single"] == [0]


def test_only_exploratory_seeds_that_were_run_are_seeds_of_the_plan():
    """None in an empty store; of an interrupted run those that have a reading, which the plan keeps, stale or not."""
    study = look_studies.seen("smoke")
    looks = LookPlanner(study=study, seeds=tuple(range(10, 22)))
    plan = looks.plan(looks.first_design())
    assert (plan.study.seeds, plan.kept_steps) == ((10, 11, 12), frozenset())
    finished = [step for step in build_plan(study).upstream_steps if step.label == "clear, seed 1"]
    looks = replace(looks, finished=frozenset(step.name for step in finished))
    plan = looks.plan(looks.first_design())
    assert plan.study.seeds == (1, 10, 11, 12)
    assert plan.estimates.spec.exploratory_seeds == (1,)
    assert plan.kept_steps == {step.name for step in finished}


def test_looks_at_some_arms_are_a_part_of_the_study():
    """Results of fewer arms hide none of the whole study."""
    whole = look_studies.worn("smoke")
    looks = LookPlanner(study=whole.subset(("clear",)), whole_study=whole, seeds=tuple(range(12)))
    plan = looks.plan(looks.first_design())
    record = PlanRecord.of(StudyRequest(study="worn", scale="smoke", arms=("clear",)), plan)
    assert record.part == "1 of 4 arms"
    assert not record.is_whole


def test_a_budget_counts_the_steps_made_at_once(monkeypatch):
    """One step a GPU, however many cores there are; a cluster's number is not known here."""
    monkeypatch.setattr(looking, "assign_workers", lambda request: WorkerDevices(n_workers=1, device="cuda"))
    assert looking._count_workers(DeviceRequest(), None) == 1
    assert looking._count_workers(DeviceRequest(workers=8), "local") == 8
    with pytest.raises(UsageError, match="give --workers"):
        looking._count_workers(DeviceRequest(), "local")


def test_a_need_is_extended_with_its_claim():
    """A claim on one coin that needs another takes both to more seeds."""
    claims = (look_studies.claim("close", 0.5, preconditions=(look_studies.NEVER,)),)
    part = planner(look_studies.worn("smoke", claims=claims)).extension(claims, 3, 5)
    assert {one.name for one in part.experiments} == {"clear", "close"}
    assert part.seeds == (3, 4)


def test_the_budget_stops_claims(finished):
    """Nothing is paid for, or one claim's next look alone: the likelier one's."""
    results = results_of(finished[0])
    study = look_studies.worn("smoke")
    looks = LookPlanner(study=study, seeds=tuple(range(12)))
    design = looks.first_design()
    plan = looks.plan(design)
    seconds = {step.name: 10.0 for step in plan.upstream_steps}
    costs = LookCosts(plan, seconds, looks.seeds)
    first = replace(results)
    object.__setattr__(first, "looks", tuple(look for look in results.looks if look.seeds == 3))

    assert costs.spent == 100.0, "ten coins"
    assert costs.per_seed({("close", "", "")}) == 10.0
    decided = decide_look(looks, design, first, costs, 12, budget=None)
    assert decided.extended == ("close",)
    assert decided.seconds == 20.0
    ends = {one.claim: one for one in decided.design.claims}
    assert (ends["close"].n_seeds, ends["clear"].n_seeds) == (5, 3)
    poor = decide_look(looks, design, first, costs, 12, budget=110.0)
    assert poor.extended == ()
    assert {one.stopped for one in poor.design.claims if one.claim == "close"} == {
        "the budget does not reach the next look at it"
    }


def test_seeds_of_looks():
    """Fresh ones where the study says which were read; those of the command; else the study's and on."""
    request = StudyRequest(study="worn", scale="smoke")
    assert look_seeds(look_studies.worn("smoke"), request, 5) == (0, 1, 2, 3, 4)
    assert look_seeds(look_studies.seen("smoke"), request, 5) == (10, 11, 12, 13, 14)
    late = look_studies.worn("smoke", exploratory=(0, 20))
    assert look_seeds(late, request, 3) == (21, 22, 23)
    chosen = replace(request, seeds=(2, 5, 6, 7))
    assert look_seeds(look_studies.seen("smoke"), chosen, 12) == (5, 6, 7)
    with pytest.raises(UsageError, match="looks take 3 seeds"):
        look_seeds(look_studies.seen("smoke"), replace(request, seeds=(0, 1, 2, 3)), 12)


@pytest.mark.whole
@pytest.mark.parametrize("study", ["biographies", "diaries", "karel", "introspection", "emergence"])
def test_built_in_studies_can_be_looked_at(study):
    """Their claims read arms that looks can extend; capped arms are left as they are; every claim has its steps."""
    whole = load_study(study, "smoke")
    looks = LookPlanner(study=whole, seeds=tuple(range(10, 22)))
    design = looks.first_design()
    ends = tuple(replace(one, n_seeds=one.n_seeds if one.fixed_by else 5) for one in design.claims)
    plan = looks.plan(replace(design, claims=ends))
    sources = plan.estimates.spec.sources

    assert {source.seed for source in sources} == {10, 11, 12, 13, 14}
    capped = {one.name for one in (*whole.arms, *whole.experiments) if one.n_seeds is not None and one.n_seeds < 3}
    assert not {source.arm for source in sources if source.seed > 12} & capped
    assert {0, 1, 2} <= {*whole.exploratory_seeds}
