"""The record of a plan that the store keeps, so that results can be shown where the study's own file is gone.

The store has a record of every plan that was run or priced, in `plans/`. Which of them a command shows is decided in
`plan_choice`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nosce.errors import UsageError
from nosce.pipeline.command_lines import command_line, in_store
from nosce.pipeline.plan_choice import describe_part, fullest_plan, narrowed_plans
from nosce.pipeline.seed_choice import seeds_text
from nosce.store.disclosure import Disclosure
from nosce.store.files import JsonObject, load_json_object, warn_skipped, write_atomically
from nosce.store.spec import Json
from nosce.store.store import Store, store_write_error
from nosce.store.text import LABEL_SIGNS, name_fault
from nosce.store.typecheck import has_type, mistyped_fields

if TYPE_CHECKING:
    from nosce.pipeline.plan import Plan, StudyRequest


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step as the record of its plan describes it.

    Args:
        label: The step's purpose for people, e.g. "single, seed 0, pretrain".
        description: What the step's key is the hash of.
    """

    label: str
    description: dict[str, Json]


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """A plan as `plans/<study>-<scale>-<key>.json` keeps it.

    Args:
        study: Name of the study.
        scale: Name of the scale.
        title: Title of the study.
        question: The study's question.
        paper: The paper whose claims the study tests.
        unit: Name of the independently drawn unit, e.g. "person".
        seeds: The training seeds.
        arms: Names of the arms and experiments.
        requested_as: The study as the command line named it: a built-in name, FILE.py:FUNCTION or
            package.module:FUNCTION.
        command: The command that runs the plan.
        estimates: Name of the plan's last step, which holds the results.
        steps: Every step by name, in the order of the plan.
        study_arms: Names of the arms and experiments of the whole study; `--arms` may have left some out. Empty in
            records of earlier versions.
        study_seeds: The study's own seeds; `--seeds` may have left some out, or added others.
        variant: What `--model` and `--set` changed, e.g. "smollm2, people=50"; empty for the study as it is.
        models: The models of the variant as the command line named them, separated by commas.
        settings: The settings of the variant, each `key=value`.
        notes: Sentences on what was found in a user's files.
        disclosures: What the study says was chosen after which readings.
        headline: Ids or patterns of the claims that answer the question, the most telling first.
        lead_figure: Id of the figure that carries the answer; "" where the study names none.
    """

    study: str
    scale: str
    title: str
    question: str
    paper: str
    unit: str
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    requested_as: str
    command: str
    estimates: str
    steps: Mapping[str, PlannedStep]
    study_arms: tuple[str, ...] = ()
    study_seeds: tuple[int, ...] = ()
    variant: str = ""
    models: str = ""
    settings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    disclosures: tuple[Disclosure, ...] = ()
    headline: tuple[str, ...] = ()
    lead_figure: str = ""

    @classmethod
    def of(cls, request: StudyRequest, plan: Plan) -> PlanRecord:
        """The record of a plan that was made for a request."""
        study = plan.study
        whole_study = plan.whole_study or study
        return cls(
            study=study.name,
            scale=study.scale,
            title=study.title,
            question=study.question,
            paper=study.paper,
            unit=study.unit,
            seeds=study.seeds,
            arms=study.condition_names,
            requested_as=request.study,
            command=request.command,
            estimates=plan.estimates.name,
            steps={step.name: PlannedStep(label=step.label, description=step.description) for step in plan.all_steps},
            study_arms=whole_study.condition_names,
            study_seeds=whole_study.seeds,
            variant=study.variant,
            models=request.models,
            settings=request.settings,
            notes=study.notes,
            disclosures=study.disclosures,
            headline=study.headline,
            lead_figure=study.lead_figure,
        )

    @property
    def identity(self) -> tuple[str, str, str]:
        """Study, scale and variant: plans that differ in one of these are no parts of each other."""
        return self.study, self.scale, self.variant

    @property
    def scale_label(self) -> str:
        """The scale and the variant, e.g. "laptop, smollm2, people=50"."""
        return ", ".join(filter(None, (self.scale, self.variant)))

    @property
    def is_whole(self) -> bool:
        """Does the plan have all arms and seeds of the study, as the study was when the plan was made?"""
        return {*self.study_arms} <= {*self.arms} and {*self.study_seeds} <= {*self.seeds}

    @property
    def part(self) -> str:
        """How much of the study the plan has, e.g. "1 of 2 arms and 1 of 3 seeds"; "" for the whole study."""
        return describe_part(self.arms, self.study_arms, self.seeds, self.study_seeds)

    def show_command(self, store: Store) -> str:
        """The command that shows the results of this plan, though a fuller one is there."""
        words = ["show", self.study, "--scale", self.scale]
        words += ["--model", self.models] if self.models else []
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--arms", ",".join(self.arms)] if self.arms and self.arms != self.study_arms else []
        has_own = {*self.seeds} <= {*self.study_seeds} or {*self.seeds} >= {*self.study_seeds}
        chosen = str(len(self.seeds)) if has_own else seeds_text(self.seeds)
        words += ["--seeds", chosen] if self.seeds != self.study_seeds else []
        return command_line(*words, store=store)

    @property
    def ledger_name(self) -> str:
        """Name of the file with what all commands for this study, scale and variant have spent on endpoints."""
        parts = [self.study, self.scale] + ([self.variant] if self.variant else [])
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"costs-{digest[:20]}.jsonl"

    def save(self, store: Store, *, latest: bool = True) -> None:
        """Write the record to the store.

        Args:
            store: The store.
            latest: Make the plan the newest of its study. False: leave a record that is there as it is.

        Raises:
            StoreError: The disk refused.
        """
        path = store.root / "plans" / f"{self.study}-{self.scale}-{self.estimates[-20:]}.json"
        if path.exists() and not latest and self._read(path) is not None:
            return
        try:
            if path.is_dir():
                store.set_aside_path(path, "damaged")
            write_atomically(path, self._file_text())
        except OSError as error:
            raise store_write_error(error, path) from error

    def _file_text(self) -> str:
        """JSON with a line for each field and each step: a plan may have many thousand steps."""
        written = {name: json.dumps(vars(step), ensure_ascii=False) for name, step in self.steps.items()}
        steps = [f"{json.dumps(name)}: {text}" for name, text in written.items()]
        fields = {name: value for name, value in vars(self).items() if name != "steps"}
        fields["disclosures"] = [asdict(disclosure) for disclosure in self.disclosures]
        lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
        return "{\n" + ",\n".join([*lines, '"steps": {\n' + ",\n".join(steps) + "\n}"]) + "\n}\n"

    @classmethod
    def load_all(cls, store: Store, study: str = "", scale: str = "", *, but: str = "") -> list[PlanRecord]:
        """The recorded plans, the newest first; a file that is no plan record of this version is left out.

        Args:
            store: The store.
            study: Read only the files named after this study and scale, since all may take long; among them may be
                those of a study whose name begins alike. Empty: all files.
            scale: Name of the scale.
            but: Name of the estimates of a plan that is not read.
        """
        prefix = f"{study}-{scale}-" if study else ""
        unread = f"{prefix}{but[-20:]}.json" if but else ""
        paths = [path for path in (store.root / "plans").glob("*.json") if path.name.startswith(prefix)]
        paths = [path for path in paths if path.name != unread]
        paths.sort(key=lambda path: (-_modified_ns(path), path.name))
        return [record for path in paths if (record := cls._read(path)) is not None]

    @classmethod
    def _read(cls, path: Path) -> PlanRecord | None:
        """The record of a file; None for any other file, of which a line on stderr tells."""
        try:
            return cls._parse(load_json_object(path))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error) if isinstance(error, ValueError) else f"it is no record of a plan ({error})"
            warn_skipped(path, reason)
            return None

    @classmethod
    def _parse(cls, fields: JsonObject) -> PlanRecord:
        steps = {name: PlannedStep(**step) for name, step in fields["steps"].items()}
        sequences = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        disclosures = tuple(_disclosure(one) for one in fields.get("disclosures", ()))
        record = cls(**{**fields, **sequences, "steps": steps, "disclosures": disclosures})
        if mistyped := next(mistyped_fields(record), None):
            raise ValueError(f"its {mistyped[0]} is {mistyped[1]!r:.60} and no {mistyped[2]}")
        names = {"study": record.study, "scale": record.scale, "estimates": record.estimates}
        for what, name in (*names.items(), *(("step", step) for step in steps)):
            if fault := name_fault(name):
                raise ValueError(f"the name of its {what} {fault}")
        if not record.variant.isprintable():
            raise ValueError("its variant holds control characters")
        for arm in (*record.arms, *record.study_arms):
            if fault := name_fault(arm, LABEL_SIGNS):
                raise ValueError(f"the name of an arm {fault}")
        inputs = [step.description.get("inputs") for step in steps.values()]
        if record.estimates not in steps or not all(has_type(one, dict[str, str]) for one in inputs):
            raise ValueError("its steps are not whole")
        return record

    @classmethod
    def load_finished(cls, store: Store) -> list[PlanRecord]:
        """The fullest finished plan of each study, scale and variant, sorted by these."""
        finished: dict[tuple[str, str, str], list[PlanRecord]] = {}
        for record in cls.load_all(store):
            if store.has(record.estimates):
                finished.setdefault(record.identity, []).append(record)
        return [fullest_plan(finished[key]) for key in sorted(finished)]

    @classmethod
    def find_finished(
        cls,
        store: Store,
        study: str,
        scale: str | None,
        *,
        arms: tuple[str, ...] = (),
        n_seeds: int | None = None,
        seeds: tuple[int, ...] = (),
        variant: str | None = None,
    ) -> PlanRecord:
        """The fullest finished plan of a study, or the one of some arms and seeds.

        Args:
            store: The store.
            study: The study's name, or the name that the command line gave it.
            scale: Name of the scale; None: the scale that was run last.
            arms: Names of the arms, exactly those of the plan; empty: any.
            n_seeds: Number of the plan's seeds; None: any.
            seeds: The plan's seeds; (): any.
            variant: What `--model` and `--set` change of the study. None: the study as it is, or the variant that was
                run last where only variants are finished.

        Raises:
            UsageError: The store holds no such plan, or no finished one.
        """
        named = [record for record in cls.load_all(store) if study in (record.study, record.requested_as)]
        matching = [r for r in named if scale in (None, r.scale) and variant in (None, r.variant)]
        finished = [record for record in matching if store.has(record.estimates)]
        if variant is None:
            finished = [record for record in finished if not record.variant] or finished
        if narrowed := narrowed_plans(finished, arms, n_seeds, seeds):
            newest = narrowed[0]
            return fullest_plan([r for r in narrowed if r.identity == newest.identity])
        at_scale = (f" at scale {scale}" if scale else "") + (f" with {variant}" if variant else "")
        if finished:
            commands = dict.fromkeys(f"`{record.show_command(store)}`" for record in finished)
            raise UsageError(
                f"{study}{at_scale} has no finished plan of exactly these arms and seeds; take {', '.join(commands)}."
            )
        if matching:
            command = in_store(fullest_plan(matching).command, store)
            raise UsageError(f"{study}{at_scale} is not finished in {store.root}; go on with `{command}`.")
        command = command_line("run", study, *(["--scale", scale] if scale else []), store=store)
        raise UsageError(f"nothing of {study!r}{at_scale} is in {store.root}; make it with `{command}`.")

    def newer_parts(self, store: Store) -> list[PlanRecord]:
        """The finished plans of a part of the same study and scale that were run after this one, the newest first."""
        newer = []
        for record in PlanRecord.load_all(store):
            if record == self:
                break
            if record.part and record.identity == self.identity and store.has(record.estimates):
                newer.append(record)
        return newer


def _modified_ns(path: Path) -> int:
    """When a file was written last; 0 for a link that leads nowhere."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _disclosure(fields: JsonObject) -> Disclosure:
    found = Disclosure(**{**fields, "claims": tuple(fields["claims"])})
    if mistyped := next(mistyped_fields(found), None):
        raise ValueError(f"the {mistyped[0]} of a disclosure is {mistyped[1]!r:.60} and no {mistyped[2]}")
    return found
