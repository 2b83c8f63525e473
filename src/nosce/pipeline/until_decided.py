"""`nosce run STUDY --until-decided`: seeds where a verdict hangs on them.

The study is run with three seeds. Each claim is looked at (`nosce.analysis.looks`), and the arms, experiments and
evaluations that open claims and their needs read are run with 5 seeds, then with 8, then with 12. A claim stops when it
is decided, when the chance that the seeds which the budget still pays for decide it is below `MIN_POWER`, or when no
number of seeds would.

Nothing is remembered but what the store has. What follows from a look depends on the finished steps of this look alone,
so the same command goes on after a kill, and a finished run finds all its steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

from rich.console import Console

from nosce.analysis.claims import Claim
from nosce.analysis.looks import LOOKS, ClaimSeeds, LookDesign, look_level, open_claims
from nosce.analysis.price import claim_power
from nosce.analysis.stats.level import at_level
from nosce.errors import DataError, UsageError
from nosce.pipeline.budget import parse_budget
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.devices import DeviceRequest
from nosce.pipeline.plan import Plan, StudyRequest, build_plan
from nosce.pipeline.results import RunResults
from nosce.pipeline.run import FinishedRun, assign_workers, make_steps, print_failures, print_results
from nosce.pipeline.step import Step
from nosce.pipeline.steps.estimates import EstimatesSpec
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.pipeline.study_checks import check_references
from nosce.pipeline.study_loading import load_study
from nosce.store.store import Store
from nosce.store.text import literal
from nosce.study import Arm, ExperimentSpec, Study, first_seeds

MIN_POWER = 0.2  # a claim whose chance to be decided is below is not gone on with
FIRST_FRESH_SEED = 10  # of a study that says which seeds were read while its claims were made
SEEDS_AT_FIRST = LOOKS[0]


@dataclass(frozen=True, kw_only=True)
class LookRequest(StudyRequest):
    """A request for a plan of looks.

    Args:
        max_seeds: Number of seeds of the last look.
        budget: Time that all steps together may take here, e.g. "3h"; empty: any.
        ready: The plan as the looks so far have made it.
    """

    max_seeds: int = LOOKS[-1]
    budget: str = ""
    ready: Plan | None = field(default=None, compare=False, repr=False)

    def plan(self) -> Plan:
        """The plan as the looks so far have made it."""
        assert self.ready is not None
        return self.ready

    @property
    def words(self) -> list[str]:
        """The words of the command behind `nosce`."""
        more = ["--max-seeds", str(self.max_seeds)] if self.max_seeds != LOOKS[-1] else []
        more += ["--budget", self.budget] if self.budget else []
        return [*super().words, "--until-decided", *more]


@dataclass(frozen=True, kw_only=True)
class LookPlanner:
    """What is run for which claim.

    Args:
        study: The study, narrowed to the arms that were asked for.
        seeds: The seeds in the order in which looks take them, as many as the last look has.
        finished: Names of the steps that are in the store: of exploratory seeds nothing else is used.
        whole_study: The study with all arms; None: it was not narrowed.
    """

    study: Study
    seeds: tuple[int, ...]
    finished: Collection[str] = ()
    whole_study: Study | None = None

    @cached_property
    def seen_seeds(self) -> tuple[int, ...]:
        """The exploratory seeds of which a reading is in the store."""
        if not self.study.exploratory_seeds:
            return ()
        plan = build_plan(replace(self.study, seeds=self.study.exploratory_seeds))
        spec = plan.estimates.spec
        assert isinstance(spec, EstimatesSpec)
        found = {one.seed for one in spec.sources if plan.estimates.inputs[one.input].name in self.finished}
        return tuple(seed for seed in self.study.exploratory_seeds if seed in found)

    def first_design(self) -> LookDesign:
        """Every claim at the first look."""
        claims = []
        for claim in self.study.claims:
            fixed_by = self._capped_by(claim)
            claims.append(ClaimSeeds(claim=claim.id, n_seeds=SEEDS_AT_FIRST, fixed_by=fixed_by))
        return LookDesign(seeds=self.seeds, claims=tuple(claims))

    def _capped_by(self, claim: Claim) -> str:
        """Which of the claim's arms has fewer seeds than a look, as the study says; empty: none."""
        part = self.study.read_by([claim])
        conditions: Iterable[Arm | ExperimentSpec] = () if part is None else (*part.arms, *part.experiments)
        for condition in conditions:
            if _is_capped(condition):
                count = condition.n_seeds
                return f"its arm {condition.name} has {count} seed{'' if count == 1 else 's'}"
        return ""

    def extension(self, claims: Sequence[Claim], first: int, last: int) -> Study | None:
        """What the seeds from one look to the next have: the arms and evaluations that some claims read.

        Args:
            claims: The claims.
            first: Number of seeds of the look before.
            last: Number of seeds of the look.
        """
        part = self.study.read_by(claims)
        if part is None:
            return None
        arms = tuple(replace(arm, n_seeds=None) for arm in part.arms if not _is_capped(arm))
        experiments = tuple(replace(one, n_seeds=None) for one in part.experiments if not _is_capped(one))
        if not arms and not experiments:
            return None
        others = tuple(arm for arm in self.study.arms if arm.name not in {one.name for one in arms})
        return replace(
            part,
            arms=arms,
            experiments=experiments,
            auxiliary_arms=(*others, *self.study.auxiliary_arms),
            seeds=self.seeds[first:last],
        )

    def plan(self, design: LookDesign) -> Plan:
        """The plan of a design; of exploratory seeds it has what is finished."""
        parts = [replace(self.study, seeds=self.seeds[:SEEDS_AT_FIRST])]
        for first, last in pairwise(LOOKS):
            reaching = {one.claim for one in design.claims if one.n_seeds >= last}
            part = self.extension([claim for claim in self.study.claims if claim.id in reaching], first, last)
            if reaching and part is not None:
                parts.append(part)
        used = parts[-1].seeds[-1]
        seeds = self.seeds[: 1 + self.seeds.index(used)]
        seen = self.seen_seeds
        seen_part = replace(self.study, seeds=self.study.exploratory_seeds) if seen else None
        plan = build_plan(
            replace(self.study, seeds=(*seen, *seeds)),
            parts=parts,
            looks=design,
            seen=None if seen_part is None else (seen_part, self.finished),
        )
        return replace(plan, whole_study=replace(self.whole_study or self.study, seeds=self.seeds[:SEEDS_AT_FIRST]))

    def reads(self, claims: Sequence[Claim]) -> set[tuple[str, str, str]]:
        """Arm, stage and evaluation of all that claims read; of an experiment its name and blanks."""
        part = self.study.read_by(claims)
        if part is None:
            return set()
        found = {(one.name, "", "") for one in part.experiments}
        for spec in part.evals:
            for arm in spec.arms or tuple(arm.name for arm in part.arms):
                found.add((arm, spec.stage, spec.evaluation.name))
        return found


def _is_capped(condition: Arm | ExperimentSpec) -> bool:
    """Has the condition fewer seeds than the first look, as its study says?"""
    return condition.n_seeds is not None and condition.n_seeds < SEEDS_AT_FIRST


@dataclass(frozen=True)
class LookCosts:
    """What the steps of a plan took.

    Args:
        plan: A plan whose steps are finished.
        seconds: Seconds of each finished step, by name.
        seeds: The seeds of looks.
    """

    plan: Plan
    seconds: Mapping[str, float]
    seeds: tuple[int, ...]

    @property
    def spent(self) -> float:
        """Seconds of all steps behind readings of the looks' seeds."""
        return self._total(step for _, seed, step in self._sources() if seed in self.seeds)

    def per_seed(self, reads: Collection[tuple[str, str, str]]) -> float:
        """Seconds that one more seed of some arms, stages and evaluations takes, as the first look's seeds did."""
        first = self.seeds[:SEEDS_AT_FIRST]
        chosen = [step for key, seed, step in self._sources() if seed in first and key in reads]
        return self._total(chosen) / len(first)

    def _sources(self) -> Iterator[tuple[tuple[str, str, str], int, Step]]:
        spec = self.plan.estimates.spec
        assert isinstance(spec, EstimatesSpec)
        for source in spec.sources:
            step = self.plan.estimates.inputs[source.input]
            if isinstance(step.spec, EvaluationStepSpec):
                yield (source.arm, source.stage, step.spec.evaluation.name), source.seed, step
            else:
                yield (source.arm, "", ""), source.seed, step

    def _total(self, steps: Iterable[Step]) -> float:
        """The seconds of steps and of all that they were made from, each once."""
        behind: dict[str, Step] = {}
        waiting = [*steps]
        while waiting:
            step = waiting.pop()
            if step.name not in behind:
                behind[step.name] = step
                waiting += step.inputs.values()
        return sum(self.seconds.get(name, 0.0) for name in behind)


@dataclass(frozen=True, kw_only=True)
class LookDecision:
    """What follows from a look.

    Args:
        design: How far the readings of each claim go from now on.
        extended: Names of the claims that go on.
        seconds: Expected seconds of the steps that this takes, for one step at a time.
    """

    design: LookDesign
    extended: tuple[str, ...]
    seconds: float


def decide_look(
    planner: LookPlanner,
    design: LookDesign,
    results: RunResults,
    costs: LookCosts,
    max_seeds: int,
    budget: float | None,
) -> LookDecision:
    """Which claims go on, and why the others do not.

    Args:
        planner: The study and its seeds.
        design: How far the readings went until now.
        results: What was found with them.
        costs: What the steps took.
        max_seeds: Number of seeds of the last look.
        budget: Seconds for all steps, one at a time; None: any.
    """
    claims = {claim.id: claim for claim in planner.study.claims}
    ends = {one.claim: one for one in design.claims}
    waiting = [look.claim for look in open_claims(results.looks) if not ends[look.claim].stopped]
    waiting = [name for name in waiting if ends[name].n_seeds < max_seeds]
    power: dict[str, float] = {}
    stopped: dict[str, str] = {}
    readings = results.readings if waiting else None
    left = float("inf") if budget is None else budget - costs.spent
    for name in waiting:
        assert readings is not None
        now = ends[name].n_seeds
        price = costs.per_seed(planner.reads([claims[name]]))
        looks = [look for look in LOOKS if now < look <= max_seeds and price * (look - now) <= left]
        if not looks:
            stopped[name] = "the budget does not reach the next look at it"
            continue
        rows = readings.filter(readings["seed"].is_in(design.seeds[:now]))
        try:
            with at_level(look_level(now)):
                power[name] = claim_power(claims[name], rows, planner.study.unit, looks)
        except DataError as error:
            stopped[name] = f"more seeds would not decide it: {str(error).rstrip('.')}"
            continue
        if power[name] < MIN_POWER:
            stopped[name] = f"the chance that {looks[-1]} seeds decide it is {power.pop(name):.1%}"
    return _shared_out(planner, design, costs, power, stopped, left)


def _shared_out(
    planner: LookPlanner,
    design: LookDesign,
    costs: LookCosts,
    power: Mapping[str, float],
    stopped: dict[str, str],
    left: float,
) -> LookDecision:
    """The design in which claims go on that are likely to be decided, as many as the time left pays for."""
    claims = {claim.id: claim for claim in planner.study.claims}
    ends = {one.claim: one for one in design.claims}
    going = sorted(power, key=lambda name: -power[name])
    seconds, following = 0.0, 0
    while going:
        now = ends[going[0]].n_seeds
        following = LOOKS[1 + LOOKS.index(now)]
        seconds = (following - now) * costs.per_seed(planner.reads([claims[name] for name in going]))
        if seconds <= left:
            break
        stopped[going.pop()] = "the budget goes to claims that are likelier to be decided"
    covered = planner.reads([claims[name] for name in going])
    ended = []
    for one in design.claims:
        end = replace(one, stopped=one.stopped or stopped.get(one.claim, ""))
        if going and not one.fixed_by and one.n_seeds == now and planner.reads([claims[one.claim]]) <= covered:
            end = replace(one, n_seeds=following)  # its readings are run anyway, so it is looked at anew
        ended.append(end)
    return LookDecision(
        design=replace(design, claims=tuple(ended)), extended=tuple(going), seconds=seconds if going else 0.0
    )


def look_seeds(study: Study, request: StudyRequest, max_seeds: int) -> tuple[int, ...]:
    """The seeds that looks take: those of the request, else fresh ones where the study says which are not.

    Raises:
        UsageError: They are fewer than a look takes, or a number of them was asked for.
    """
    if request.n_seeds is not None:
        raise UsageError(
            f"--seeds {request.n_seeds} with --until-decided is one number of seeds too many; give --max-seeds, or the "
            "seeds themselves, e.g. --seeds 10-21."
        )
    if request.seeds:
        seeds = tuple(seed for seed in request.seeds if seed not in study.exploratory_seeds)
    elif study.exploratory_seeds:
        first = max(FIRST_FRESH_SEED, 1 + max(study.exploratory_seeds))
        seeds = tuple(range(first, first + max_seeds))
    else:
        seeds = first_seeds(study.seeds, max_seeds)
    if len(seeds) < SEEDS_AT_FIRST:
        raise UsageError(
            f"looks take {SEEDS_AT_FIRST} seeds or more that are not exploratory, but --seeds has {len(seeds)}; name "
            "more."
        )
    return seeds[:max_seeds]


def check_max_seeds(max_seeds: int) -> None:
    """Refuse a last look that is none: the levels of looks are shared out beforehand.

    Raises:
        UsageError: It is none.
    """
    if max_seeds not in LOOKS:
        raise UsageError(f"--max-seeds {max_seeds} is no look; take one of {', '.join(map(str, LOOKS))}.")


def run_until_decided(
    request: LookRequest,
    store: Store,
    *,
    devices: DeviceRequest | None = None,
    ray: str | None = None,
    rerun_stale: bool = False,
    max_cost: float | None = None,
    json_: bool = False,
) -> int:
    """Run looks until every claim is decided or stopped, print the claims, and return the exit code.

    Raises:
        UsageError: The request names what is not there.
    """
    check_max_seeds(request.max_seeds)
    devices = devices or DeviceRequest()
    budget = parse_budget(request.budget) * 60 * _count_workers(devices, ray) if request.budget else None
    whole_study = load_study(request.study, request.scale, request.variant)
    check_references(whole_study)
    study = whole_study.subset(request.arms)
    seeds = look_seeds(study, request, request.max_seeds)
    max_seeds = max(look for look in LOOKS if look <= len(seeds))
    finished = _finished_steps(study, store)
    planner = LookPlanner(study=study, whole_study=whole_study, seeds=seeds[:max_seeds], finished=finished)
    console = Console(stderr=json_, soft_wrap=True)
    design = planner.first_design()
    while True:
        asked = replace(request, ready=planner.plan(design))
        run = make_steps(asked, store, console, devices=devices, ray=ray, rerun_stale=rerun_stale, max_cost=max_cost)
        if run.summary.failed:
            print_failures(run.plan, run.summary.failed, in_store(asked.command, store))
            return 1
        results = RunResults.load(store, run.record)
        decision = decide_look(planner, design, results, _costs(run, store, planner.seeds), max_seeds, budget)
        console.print(literal(_look_sentence(results, design, decision)), highlight=False)
        if decision.design == design:
            print_results(results, Console(stderr=json_), json_=json_)
            return 0
        design = decision.design


def _count_workers(devices: DeviceRequest, ray: str | None) -> int:
    """How many steps are made at once, which a budget is shared out among.

    Raises:
        UsageError: A cluster does not say.
    """
    if ray is None:
        return assign_workers(devices).n_workers
    if devices.workers is None:
        raise UsageError(
            "--budget with --ray needs the number of steps that the cluster makes at once; give --workers."
        )
    return devices.workers


def _finished_steps(study: Study, store: Store) -> frozenset[str]:
    """The finished steps of the exploratory seeds."""
    if not study.exploratory_seeds:
        return frozenset()
    plan = build_plan(replace(study, seeds=study.exploratory_seeds))
    return frozenset(step.name for step in plan.upstream_steps if store.has(step.name))


def _costs(run: FinishedRun, store: Store, seeds: tuple[int, ...]) -> LookCosts:
    seconds = {}
    for step in run.plan.upstream_steps:
        if store.has(step.name):
            seconds[step.name] = float(store.step_record(step.name).provenance.get("seconds", 0.0))
    return LookCosts(run.plan, seconds, seeds)


def _look_sentence(results: RunResults, design: LookDesign, decision: LookDecision) -> str:
    """What a look brought and what follows."""
    decided = sum(verdict.verdict != "undecided" for verdict in results.verdicts)
    n_seeds = max(one.n_seeds for one in design.claims) if design.claims else SEEDS_AT_FIRST
    sentence = f"{n_seeds} seeds: {decided} of {len(results.verdicts)} claims are decided"
    if not decision.extended:
        return f"{sentence}; no other goes on."
    go_on = f"{len(decision.extended)} go on" if len(decision.extended) > 1 else f"{decision.extended[0]} goes on"
    return f"{sentence}; {go_on}, for about {decision.seconds / 60:.1f} core-minutes."
