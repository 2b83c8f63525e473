"""The results of a finished plan as one typed object, loaded from the store once per command.

The table, the JSON, the page and the audit of a run are all made from it:

    results = RunResults.load(store, PlanRecord.find_finished(store, "biographies", "smoke"))
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import polars as pl

from nosce.analysis.answer import StudyAnswer, derive_answer
from nosce.analysis.conclusion import ArmConclusion
from nosce.analysis.looks import ClaimLook
from nosce.analysis.price import ClaimPrice
from nosce.analysis.render.figure import FigureData
from nosce.analysis.selection import NO_READING
from nosce.errors import DamagedError, DataError
from nosce.pipeline.arm_tokens import tokens_by_arm
from nosce.pipeline.claim_age import ClaimAge, claim_ages
from nosce.pipeline.claim_log import ClaimLog, planned_versions
from nosce.pipeline.claim_outlook import ClaimOutlook, SeedHalves, claim_outlooks, read_records
from nosce.pipeline.command_lines import in_store
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.steps.estimates import ReadingSource
from nosce.records import Verdict, Walkthrough, from_json, from_table, read_table, to_table
from nosce.store.files import JsonObject
from nosce.store.store import StepRecord, Store
from nosce.store.text import name_fault

if TYPE_CHECKING:
    from nosce.analysis.emergence.test import EmergenceVerdict
    from nosce.store.spec import Json

_Value = TypeVar("_Value", int, str)


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """One step of a plan as the store has it.

    Args:
        name: Name of the step.
        kind: Kind of the step, e.g. "training".
        label: The step's purpose for people.
        state: "done", "stale" (finished, but the code here would make it anew) or "missing" (not finished).
        stale_reason: Why the step is stale; None in the other states.
        record: The step's own record; None where the step is missing.
    """

    name: str
    kind: str
    label: str
    state: Literal["done", "stale", "missing"]
    stale_reason: str | None
    record: StepRecord | None


@dataclass(frozen=True, kw_only=True)
class RunProvenance:
    """Where the results of a plan come from: code and machine of the estimates, time and memory of all steps.

    A value that the steps' records lack is None.

    Args:
        commit: Commit of nosce's own code.
        dirty: Whether the code had uncommitted changes.
        versions: Version of each library, and of Python.
        device: Name of the accelerator, or "cpu".
        processor: Name of the processor.
        cores: Number of usable cores.
        threads: Threads of a step; a list where steps differ.
        finished_at: Time at which the estimates were finished (UTC).
        peak_memory_mib: Largest recorded memory of any step's process, in MiB; None if no step recorded one.
        core_minutes: CPU time of all finished steps, in minutes.
        n_finished: Number of finished steps.
        n_steps: Number of steps of the plan.
        command: The command that runs the plan.
    """

    commit: str | None
    dirty: bool | None
    versions: Mapping[str, str] | None
    device: str | None
    processor: str | None
    cores: int | None
    threads: int | list[int] | None
    finished_at: str | None
    peak_memory_mib: float | None
    core_minutes: float
    n_finished: int
    n_steps: int
    command: str

    @classmethod
    def of(cls, plan: PlanRecord, records: Mapping[str, StepRecord]) -> RunProvenance:
        """The provenance of a plan with these finished steps, the estimates among them."""
        estimates = records[plan.estimates].provenance
        every = [record.provenance for record in records.values()]
        peaks = [one["peak_memory_mib"] for one in every if one.get("peak_memory_mib") is not None]
        return cls(
            commit=estimates.get("commit"),
            dirty=estimates.get("dirty"),
            versions=estimates.get("versions"),
            device=estimates.get("device"),
            processor=estimates.get("processor"),
            cores=estimates.get("cores"),
            threads=_common_value(one.get("threads") for one in every),
            finished_at=estimates.get("made"),
            peak_memory_mib=max(peaks, default=None),
            core_minutes=sum(one.get("cpu_seconds", 0.0) for one in every) / 60,
            n_finished=len(every),
            n_steps=len(plan.steps),
            command=plan.command,
        )


@dataclass(frozen=True, kw_only=True)
class ScalingAudit:
    """The result of the mirage test on one of a study's scaling curves.

    Args:
        title: Title of the curve.
        verdict: Verdict of the test; None where the curve could not be tested.
        why: Reason of the verdict, or why there is none.
        meaning: The verdict in one sentence; empty without a verdict.
        numbers: The whole entry of audits.json, with every number of the test.
    """

    title: str
    verdict: EmergenceVerdict | None
    why: str
    meaning: str
    numbers: Mapping[str, Json]

    @classmethod
    def of(cls, entry: JsonObject) -> ScalingAudit:
        """The audit of an entry of audits.json."""
        return cls(
            title=entry["title"],
            verdict=entry["verdict"],
            why=entry["why"],
            meaning=entry.get("meaning", ""),
            numbers=entry,
        )


@dataclass(frozen=True, kw_only=True)
class LeakageSummary:
    """One check for leakage, over all corpora of a study.

    Args:
        guard: The property that was checked.
        found: The finding in the first corpus.
        verdict: How many corpora passed, e.g. "passed 2 of 2".
    """

    guard: str
    found: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """The results of a finished plan: verdicts, figures, provenance and the state of every step.

    `load` verifies every checksum of the estimates and reads the record of each step once. Figures and tables are read
    when they are first used.

    Args:
        plan: Record of the plan.
        steps: Every step of the plan, in its order.
        verdicts: The verdict on each claim.
        provenance: Where the results come from.
        folder: The folder of the estimates, with `readings.parquet` and the other tables.
        store: The store of the steps.
    """

    plan: PlanRecord
    steps: tuple[StepStatus, ...]
    verdicts: tuple[Verdict, ...]
    provenance: RunProvenance
    folder: Path
    store: Store

    @classmethod
    def load(cls, store: Store, plan: PlanRecord) -> RunResults:
        """The results of a plan.

        Raises:
            DamagedError: A file of the estimates differs from its checksum, or a step's record cannot be read.
            DataError: Another version of nosce wrote the results.
        """
        folder = store.verified(plan.estimates)
        try:
            verdicts = from_table(read_table(folder / "verdicts.parquet"), Verdict)
        except DataError as error:
            raise DataError(
                f"the results of {plan.study} at scale {plan.scale} were written by another version of nosce "
                f"({folder / 'verdicts.parquet'} lacks a column); `{in_store(plan.command, store)}` makes them again."
            ) from error
        records = {name: store.step_record(name) for name in plan.steps if store.has(name)}
        reasons = store.stale_reasons(records)
        labels = {name: step.label for name, step in plan.steps.items()}
        return cls(
            plan=plan,
            steps=tuple(_step_status(name, labels[name], records.get(name), reasons.get(name)) for name in labels),
            verdicts=tuple(verdicts),
            provenance=RunProvenance.of(plan, records),
            folder=folder,
            store=store,
        )

    @property
    def rerun_command(self) -> str:
        """The command that makes the stale steps again."""
        return in_store(f"{self.plan.command} --rerun-stale", self.store)

    @property
    def part_notice(self) -> str:
        """A sentence on results of some arms or seeds only; "" for those of the whole study."""
        plan = self.plan
        if not plan.part:
            return ""
        sentence = f"These are results of {plan.part} of the study."
        if len(plan.arms) < len(plan.study_arms):
            unread = self.claims_of_other_arms
            others = "claims that need others are undecided."
            if unread:
                named = f"e.g. {', '.join(unread[:2])}" if len(unread) > 3 else ", ".join(unread)
                others = f"{len(unread)} of {len(self.verdicts)} claims need others and are left out: {named}."
            sentence += f" The arms are {', '.join(plan.arms)}; {others}"
        return sentence

    @cached_property
    def claims_of_other_arms(self) -> tuple[str, ...]:
        """The claims of which results of some arms have no reading, by id; () where that is so of every claim."""
        plan = self.plan
        if len(plan.arms) == len(plan.study_arms):
            return ()
        whole = {one.id for one in planned_versions(plan, {}) if one.arms is not None and one.arms <= {*plan.arms}}
        others = [one for one in self.verdicts if one.id not in whole and one.estimate is None]
        unread = [one.id for one in others if one.why.startswith(NO_READING)]
        return tuple(unread) if len(unread) < len(self.verdicts) else ()

    @property
    def shown_verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts that terminal, page and JSON show: without claims of other arms."""
        return tuple(one for one in self.verdicts if one.id not in self.claims_of_other_arms)

    @property
    def stale_steps(self) -> dict[str, str]:
        """The reason of each stale step, by name."""
        return {step.name: step.stale_reason for step in self.steps if step.stale_reason is not None}

    @property
    def claims(self) -> pl.DataFrame:
        """The verdicts as a table a row a claim: `id`, `estimate`, `low`, `high`, `n`, `verdict`, `why` ..."""
        return to_table(list(self.verdicts), Verdict)

    @property
    def readings(self) -> pl.DataFrame:
        """Every observation that claims and figures are made from; docs/readings.md says what its columns are."""
        return read_table(self.folder / "readings.parquet")

    @cached_property
    def checkpoints(self) -> dict[tuple[str, int, str, int], Path]:
        """The checkpoints that were evaluated, as Hugging Face folders, by arm, seed, stage and optimizer steps."""
        found: dict[tuple[str, int, str, int], Path] = {}
        estimates = self.plan.steps[self.plan.estimates].description
        for source in _reading_sources(estimates):
            evaluation = self.plan.steps.get(_inputs(estimates).get(source.input, ""))
            training = None if evaluation is None else _inputs(evaluation.description).get("training")
            if training is not None:
                for path in sorted((self.store.folder(training) / "checkpoints").glob("[0-9]" * 7)):
                    found[source.arm, source.seed, source.stage, int(path.name)] = path
        return found

    @cached_property
    def conclusion(self) -> str:
        """The answer to the study's question in one sentence or several; "" where the study draws none."""
        spec = self.plan.steps[self.plan.estimates].description["spec"]
        entry = spec.get("conclusion") if isinstance(spec, dict) else None
        if entry is None:
            return ""
        (conclusion,) = from_json([entry], ArmConclusion)
        return conclusion.sentence(self.shown_verdicts, tokens_by_arm(self.store, self.plan))

    @cached_property
    def answer(self) -> StudyAnswer:
        """What the verdicts answer to the study's question, and how sure that is."""
        return derive_answer(self.shown_verdicts, self.plan.headline, self.conclusion)

    @cached_property
    def ages(self) -> Mapping[str, ClaimAge]:
        """When each claim was written, beside the readings that judge it, by the claim's id."""
        log = ClaimLog.load(self.store, *self.plan.identity)
        records = (step.record for step in self.steps if step.record is not None)
        made = {record.name: str(record.provenance.get("made", "9")) for record in records}
        return claim_ages(log, self.plan, made)

    @cached_property
    def looks(self) -> tuple[ClaimLook, ...]:
        """The looks at claims of a run with `--until-decided`; () of any other."""
        return read_records(self.folder, "looks.parquet", ClaimLook)

    @cached_property
    def outlooks(self) -> Mapping[str, ClaimOutlook]:
        """The look of each claim, and what would decide it, by the claim's id."""
        seconds = {}
        for step in self.steps:
            if step.record is not None and (took := step.record.provenance.get("seconds")) is not None:
                seconds[step.name] = float(took)
        return claim_outlooks(self.plan, self.looks, read_records(self.folder, "prices.parquet", ClaimPrice), seconds)

    @cached_property
    def exploratory(self) -> Mapping[str, Verdict]:
        """The verdict on each claim by exploratory seeds, by id; {} where no other seeds confirm them."""
        return {verdict.id: verdict for verdict in read_records(self.folder, "exploratory.parquet", Verdict)}

    @cached_property
    def halves(self) -> SeedHalves | None:
        """The verdicts by exploratory seeds beside these; None where no exploratory seed was run, or no other."""
        spec = self.plan.steps[self.plan.estimates].description["spec"]
        if not self.exploratory or not isinstance(spec, dict):
            return None
        seeds, sources = spec.get("exploratory_seeds"), spec.get("sources")
        if not isinstance(seeds, list) or not isinstance(sources, list):
            return None
        run = {source.get("seed") for source in sources if isinstance(source, dict)}
        exploratory = {int(str(seed)) for seed in seeds}
        seeds_run = [seed for seed in self.plan.seeds if seed in run]
        return SeedHalves.of([*self.exploratory.values()], self.verdicts, self.ages, exploratory, seeds_run)

    @cached_property
    def figures(self) -> tuple[FigureData, ...]:
        """The figures: words from figures.json, numbers from the table of each."""
        return tuple(self._figure(words) for words in self._read_json("figures.json"))

    def _figure(self, words: JsonObject) -> FigureData:
        if fault := name_fault(words.get("id")):  # it becomes the name of a file, here and on the site
            raise DamagedError(f"the name of a figure in {self.folder} {fault}; run the study again.")
        try:
            return FigureData(**words, table=read_table(self.folder / "figures" / f"{words['id']}.parquet"))
        except (TypeError, OSError, pl.exceptions.PolarsError) as error:
            raise DamagedError(
                f"the figure {words['id']!r} in {self.folder} is none of this version ({error}); "
                f"`{self.rerun_command}` makes it again."
            ) from error

    @cached_property
    def audits(self) -> tuple[ScalingAudit, ...]:
        """The mirage test of each scaling curve; estimates of earlier versions have none."""
        if not (self.folder / "audits.json").exists():
            return ()
        return tuple(map(ScalingAudit.of, self._read_json("audits.json")))

    @cached_property
    def walks(self) -> tuple[Walkthrough, ...]:
        """The walkthroughs for the page; estimates of earlier versions have none."""
        if not (self.folder / "walks.json").exists():
            return ()
        return from_json(self._read_json("walks.json"), Walkthrough)

    @cached_property
    def leakage_checks(self) -> tuple[LeakageSummary, ...]:
        """The checks that every corpus passed before training."""
        return tuple(LeakageSummary(**entry) for entry in self._read_json("leakage.json"))

    def exposure_table(self) -> pl.DataFrame:
        """How often facts were trained on, by arm and attribute, of the first seed."""
        table = read_table(self.folder / "exposures.parquet")
        return table.filter(pl.col("seed") == table["seed"][0]).drop("seed") if len(table) else table.drop("seed")

    def readings_summary(self) -> pl.DataFrame:
        """Number and mean of the readings after the last step, by arm, stage, evaluation, split and metric.

        Of a run that has exploratory seeds beside others these are readings of the others, on which verdicts rest.
        """
        seen = self.halves.exploratory_seeds if self.halves else ()
        table = read_table(self.folder / "readings.parquet").filter(~pl.col("seed").is_in(seen))
        is_last_step = pl.col("step") == pl.col("step").max().over("arm", "seed", "stage")
        return (
            table.filter(is_last_step)
            .group_by("arm", "stage", "evaluation", "split", "metric", maintain_order=True)
            .agg(
                seeds=pl.col("seed").n_unique(),
                entity=pl.col("entity").n_unique(),
                readings=pl.len(),
                missing=pl.col("value").null_count(),
                mean=pl.col("value").mean(),
            )
        )

    def batch_change_table(self) -> pl.DataFrame:
        """By stage, how much the likelihood of a text changed with the other texts of its batch."""
        return (
            read_table(self.folder / "batch_change.parquet")
            .group_by("stage", maintain_order=True)
            .agg(
                readings=pl.len(),
                spans=pl.col("spans").sum(),
                largest_change=pl.col("nats").max(),
                choices_changed=pl.col("choices").sum(),
            )
        )

    def _read_json(self, name: str) -> list[JsonObject]:
        return list(json.loads((self.folder / name).read_text(encoding="utf-8")))


def _step_status(name: str, label: str, record: StepRecord | None, stale_reason: str | None) -> StepStatus:
    finished_state: Literal["done", "stale"] = "done" if stale_reason is None else "stale"
    return StepStatus(
        name=name,
        kind=name.rpartition("-")[0],
        label=label,
        state="missing" if record is None else finished_state,
        stale_reason=stale_reason,
        record=record,
    )


def _inputs(description: Mapping[str, Json]) -> dict[str, str]:
    """The inputs of a described step, by role."""
    inputs = description.get("inputs")
    return {role: str(name) for role, name in inputs.items()} if isinstance(inputs, dict) else {}


def _reading_sources(estimates: Mapping[str, Json]) -> Iterator[ReadingSource]:
    """The evaluations whose readings are gathered, as the description of the estimates names them."""
    spec = estimates.get("spec")
    sources = spec.get("sources") if isinstance(spec, dict) else None
    for source in sources if isinstance(sources, list) else []:
        if isinstance(source, dict):
            values = {name: source.get(name) for name in ("input", "arm", "seed", "stage")}
            yield ReadingSource(
                input=str(values["input"]),
                arm=str(values["arm"]),
                seed=int(str(values["seed"])),
                stage=str(values["stage"]),
            )


def _common_value(values: Iterable[_Value | None]) -> _Value | list[_Value] | None:
    """The one value among these, or all of them where they differ; None where there is none."""
    distinct = sorted({value for value in values if value is not None})
    return distinct[0] if len(distinct) == 1 else (distinct or None)
