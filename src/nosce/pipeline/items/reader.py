"""The items of a finished run: a list of them, those that were answered wrongly, and any one of them whole.

reader = ItemReader(results)
(item,) = reader.items(reader.find("person/7@0"))
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path

import polars as pl

from nosce.errors import UsageError
from nosce.pipeline.items.building import ReadingCell, RowGroup, build_readings
from nosce.pipeline.items.item import ItemEntry, ItemReadings, ItemTraining, StudyItem
from nosce.pipeline.items.sources import PATCHES, EvaluationSource, ItemSources
from nosce.pipeline.items.texts import EntityTexts, ItemLedger
from nosce.pipeline.items.walks import ItemWalker
from nosce.pipeline.results import RunResults
from nosce.pipeline.step import EXPERIMENT
from nosce.pipeline.steps.experiment import ExperimentStepSpec
from nosce.records import scan_table
from nosce.seeds import Seed
from nosce.study import PRETRAIN

ROW_COLUMNS = ["entity", "seed", "arm", "stage", "step", "evaluation", "split", "item", "attribute"]
VALUE_COLUMNS = ["metric", "value", "outcome", "answer", "target"]
TRAINING_TYPES = {"arm": pl.String, "seed": pl.Int64, "stage": pl.String, "evaluation": pl.String}
TRAINING = list(TRAINING_TYPES)
SHOWN_NAMES = 4  # items that a refusal names


class ItemReader:
    """The items of a finished run.

    Args:
        results: The run's results.
    """

    def __init__(self, results: RunResults) -> None:
        self.results = results
        self.sources = ItemSources(results.plan)
        self._ledgers = [ItemLedger(results.store, source) for source in self.sources.ledgers]
        self._walker = ItemWalker(results.store, self.sources)

    @property
    def _readings(self) -> pl.LazyFrame:
        return scan_table(self.results.folder / "readings.parquet")

    @cached_property
    def _by_reading(self) -> Mapping[tuple[str, int, str, str], EvaluationSource]:
        return {(one.arm, one.seed, one.stage, one.name): one for one in self.sources.evaluations}

    def source_of(self, arm: str, seed: int, stage: str, evaluation: str) -> EvaluationSource | None:
        """The evaluation behind some readings."""
        experiment = self._by_reading.get((arm, seed, stage, ""))
        return self._by_reading.get((arm, seed, stage, evaluation), experiment)

    @cached_property
    def entries(self) -> tuple[ItemEntry, ...]:
        """All items, in the order of their numbers."""
        keys = self._readings.select("entity", "seed").unique().collect(engine="streaming")
        judged, patched = self._judged(), self._patched()
        entries = []
        for entity, seed in keys.iter_rows():
            n_asked, n_wrong, arms = judged.get((entity, seed), (0, 0, ()))
            entry = ItemEntry(
                entity=entity,
                seed=seed,
                n_asked=n_asked,
                n_wrong=n_wrong,
                wrong_arms=tuple(arm for arm in self.results.plan.arms if arm in arms),
                patched=patched.get((entity, seed)),
            )
            entries.append(entry)
        return tuple(sorted(entries, key=lambda entry: (entry.seed, _natural(entry.entity), entry.entity)))

    @cached_property
    def judging_metrics(self) -> Mapping[tuple[str, int, str, str], str]:
        """The first metric of each evaluation that is right or wrong: by it an answer counts."""
        rows = self._readings.filter(pl.col("outcome").is_not_null())
        firsts = rows.group_by(TRAINING, maintain_order=True).agg(pl.col("metric").first()).collect()
        return {(arm, seed, stage, name): metric for arm, seed, stage, name, metric in firsts.iter_rows()}

    def _judged(self) -> dict[tuple[str, int], tuple[int, int, Sequence[str]]]:
        """Answers after the last checkpoints: how many, how many wrong, and the arms of these."""
        rows = []
        for (arm, seed, stage, name), metric in self.judging_metrics.items():
            source = self.source_of(arm, seed, stage, name)
            if source is None or source.kind == "asked":
                rows.append((arm, seed, stage, name, metric))
        types = {**TRAINING_TYPES, "metric": pl.String}
        judging = pl.DataFrame(rows, schema=types, orient="row").lazy()
        is_wrong = pl.col("outcome") == "wrong"
        answers = self._readings.filter(pl.col("outcome").is_not_null()).join(judging, on=[*TRAINING, "metric"])
        last_steps = answers.group_by(TRAINING).agg(pl.col("step").max())
        answers = answers.join(last_steps, on=[*TRAINING, "step"])
        table = answers.group_by("entity", "seed").agg(
            asked=pl.len(), wrong=is_wrong.sum(), arms=pl.col("arm").filter(is_wrong).unique()
        )
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in table.collect(engine="streaming").iter_rows()}

    def _patched(self) -> dict[tuple[str, int], bool]:
        """Items that patching read: did an answer follow that had not been so without a patch?"""
        changed: dict[tuple[str, int], bool] = {}
        for kind, (pattern, without) in PATCHES.items():
            rows = [(one.arm, one.seed, one.stage, one.name) for one in self.sources.evaluations if one.type == kind]
            if not rows:
                continue
            is_followed = (pl.col("metric").str.contains(pattern) & (pl.col("value") == 1)).any()
            was_so = ((pl.col("metric") == without) & (pl.col("value") == 1)).any()
            readings = self._readings.join(pl.DataFrame(rows, schema=TRAINING_TYPES, orient="row").lazy(), on=TRAINING)
            pairs = readings.group_by(*TRAINING, "entity", "item").agg(changed=is_followed & ~was_so)
            items = pairs.group_by("entity", "seed").agg(pl.col("changed").any()).collect(engine="streaming")
            for entity, seed, one in items.iter_rows():
                changed[entity, seed] = changed.get((entity, seed), False) or one
        return changed

    @property
    def wrong(self) -> tuple[ItemEntry, ...]:
        """The items with a wrong answer after the last checkpoint of a training."""
        return tuple(entry for entry in self.entries if entry.n_wrong)

    def find(self, name: str) -> tuple[ItemEntry, ...]:
        """The items of a name: `person/7` of all seeds, `person/7@0` of seed 0, `random`, or `wrong` at random.

        Raises:
            UsageError: There is none.
        """
        if name in ("random", "wrong"):
            return (self._drawn(name),)
        found = tuple(entry for entry in self.entries if name in (entry.entity, entry.name))
        if not found:
            known = [entry.entity for entry in self.entries if entry.seed == self.entries[0].seed][:SHOWN_NAMES]
            plan = self.results.plan
            raise UsageError(
                f"{plan.study} at scale {plan.scale_label} has no item {name!r}; its {len(self.entries):,} items are "
                f"{', '.join(known)} ...; ENTITY@SEED names one of one seed, `random` and `wrong` draw one."
            )
        return found

    def _drawn(self, name: str) -> ItemEntry:
        """A random item, another one each time; of those that a model was asked about where there are such."""
        asked = tuple(entry for entry in self.entries if entry.n_asked)
        choices = self.wrong if name == "wrong" else asked or self.entries
        if not choices:
            plan, n_entries = self.results.plan, len(self.entries)
            how = "wrongly after a last checkpoint" if name == "wrong" else "at all"
            raise UsageError(
                f"{plan.study} at scale {plan.scale_label} has none of {n_entries:,} items answered {how}; "
                "name one, or run the study."
            )
        return choices[fresh_number(len(choices))]

    def items(self, entries: Sequence[ItemEntry]) -> Iterator[StudyItem]:
        """The items, whole, in their order; all of them are read at once."""
        is_wanted = pl.col("entity").is_in([entry.entity for entry in entries])
        is_wanted &= pl.col("seed").is_in(sorted({entry.seed for entry in entries}))
        rows = self._readings.filter(is_wanted).select(*ROW_COLUMNS, *VALUE_COLUMNS).collect()
        tables = rows.partition_by("entity", "seed", as_dict=True, maintain_order=True)
        for seed, group in groupby(entries, key=lambda entry: entry.seed):
            yield from self._items_of_seed(seed, tuple(group), tables)

    def _items_of_seed(
        self, seed: int, entries: Sequence[ItemEntry], tables: Mapping[tuple[object, ...], pl.DataFrame]
    ) -> Iterator[StudyItem]:
        entities = tuple(entry.entity for entry in entries)
        ledgers = [ledger.trainings(entities) for ledger in self._ledgers if ledger.source.seed == seed]
        texts = _TextCache(self.results, entities)
        for entry in entries:
            readings = tuple(self._item_readings(tables[entry.entity, seed], texts))
            trainings = _merged([ledger[entry.entity] for ledger in ledgers])
            walks = tuple(self._walker.walks(seed, readings, texts.of))
            yield StudyItem(
                study=self.results.plan.study,
                scale=self.results.plan.scale_label,
                unit=self.results.plan.unit,
                entry=entry,
                training=trainings,
                readings=readings,
                walks=walks,
                absent=tuple(self._absent(entry, readings, trainings)),
            )

    def _item_readings(self, table: pl.DataFrame, texts: _TextCache) -> Iterator[ItemReadings]:
        groups: dict[tuple[str, str, str, str, str], RowGroup] = {}
        for row in table.iter_rows(named=True):
            key = (row["arm"], row["stage"], row["evaluation"], row["item"], row["attribute"])
            if key not in groups:
                groups[key] = RowGroup(row["seed"], row["split"] or "")
            cell = ReadingCell(row["value"], row["outcome"], row["answer"])
            groups[key].add(row["step"], row["metric"], cell, row["target"])
        for (arm, stage, evaluation, item, attribute), group in groups.items():
            source = self.source_of(arm, group.seed, stage, evaluation)
            judged = self.judging_metrics.get((arm, group.seed, stage, evaluation))
            corpus = None if source is None or source.corpus is None else texts.of(source.corpus)
            prompt, note = (None, "") if source is None else self._prompt(source, corpus, item)
            yield build_readings(
                group,
                arm=arm,
                stage=stage,
                evaluation=evaluation,
                kind="asked" if source is None else source.kind,
                item=item,
                attribute=attribute or "",
                prompt=prompt,
                prompt_note=note,
                judged=judged,
                texts=corpus,
            )

    def _prompt(self, source: EvaluationSource, texts: EntityTexts | None, item: str) -> tuple[str | None, str]:
        if texts is not None:
            return texts.prompt(source, item)
        return self._experiment_prompts(source.step).get(item), ""

    @lru_cache(maxsize=64)  # noqa: B019 (a reader lives as long as its command)
    def _experiment_prompts(self, step: str) -> Mapping[str, str]:
        """What a model was asked in an experiment, by item; {} where its code is another today."""
        live = self.sources.live_steps.get(step)
        if live is None or not isinstance(live.spec, ExperimentStepSpec):
            return {}
        return live.spec.experiment.item_prompts(live.spec.seed)

    def _absent(
        self, entry: ItemEntry, readings: Sequence[ItemReadings], trainings: Sequence[ItemTraining]
    ) -> Iterator[str]:
        """What there is no reading of: of the item, or in the whole study."""
        study_kinds = {source.kind for source in self.sources.evaluations}
        kinds = {one.kind for one in readings}
        if not trainings:
            yield "No training on documents of this seed has an exposure ledger, so nothing is known of exposures."
        elif any(source.stage not in (PRETRAIN, EXPERIMENT) for source in self.sources.evaluations):
            yield "Exposures are those of the first training; a later one may have trained on questions marked seen."
        if "asked" not in kinds:
            yield "No model was asked about this item."
        if "probe" not in study_kinds:
            yield "No probe was run in this study."
        elif "probe" not in kinds:
            yield "No probe read this item."
        if "patch" not in study_kinds:
            yield "No hidden state was patched in this study."
        elif "patch" not in kinds:
            yield "No patching read this item."
        if not any(checkpoint.probability is not None for one in readings for checkpoint in one.checkpoints):
            yield "The readings of this item hold no likelihood of a target."
        if any(one.kind == "asked" and one.prompt is None for one in readings):
            yield "Where no prompt stands, no text in the store says word for word what the model was given."


def _merged(trainings: Sequence[ItemTraining]) -> tuple[ItemTraining, ...]:
    """The trainings, those that are equal in one."""
    arms: dict[ItemTraining, list[str]] = {}
    for training in trainings:
        arms.setdefault(replace(training, arms=()), []).extend(training.arms)
    return tuple(replace(training, arms=tuple(names)) for training, names in arms.items())


class _TextCache:
    """The texts of each corpus about some entities, read once."""

    def __init__(self, results: RunResults, entities: Sequence[str]) -> None:
        self._results, self._entities = results, entities
        self._texts: dict[str, EntityTexts] = {}

    def of(self, corpus: str) -> EntityTexts:
        """The texts of a corpus, by the name of its step."""
        if corpus not in self._texts:
            folder: Path = self._results.store.folder(corpus)
            self._texts[corpus] = EntityTexts(folder, self._entities)
        return self._texts[corpus]


def fresh_number(count: int) -> int:
    """A number below `count`, another one at each call: what a person looks at is no result."""
    return secrets.randbelow(count)


def hash_order(entry: ItemEntry) -> bytes:
    """A key that sorts items in an order that looks random and is always the same."""
    return (Seed(entry.seed) / "item order" / entry.entity).digest()


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which `person/2` comes before `person/10`."""
    return [(int(part), "") if part.isdigit() and part.isascii() else (-1, part) for part in re.split(r"(\d+)", name)]
