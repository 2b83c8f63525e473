"""What `nosce view` shows: the results of a store and of a folder of pages, each made into a page when asked for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from nosce.errors import NosceError, UsageError
from nosce.pipeline.ledger import LedgerRow, folder_rows, sorted_rows, study_row
from nosce.pipeline.plan_choice import fullest_plan
from nosce.pipeline.plan_record import PlanRecord
from nosce.pipeline.view.live import RunState, StoreWatch, file_times, without_passwords
from nosce.store.store import Store
from nosce.store.text import json_text, printable

OWN, PUBLISHED = "your store", "published"
RESULT_FILES = ("*/*/show.json", "*/*/card.json")


@dataclass(frozen=True, kw_only=True)
class LivePage:
    """What the index of `nosce view` shows besides its rows.

    Args:
        places: Where the results lie, in words.
        runs: The runs of the store.
        faults: Sentences on files that are left out.
        stamp: What changes whenever the page does.
    """

    places: tuple[str, ...]
    runs: tuple[RunState, ...]
    faults: tuple[str, ...]
    stamp: str

    def to_json(self) -> str:
        """The contents of `live.json`."""
        runs = [run.to_json() for run in self.runs]
        return json_text({"stamp": self.stamp, "places": self.places, "faults": self.faults, "runs": runs})


class ResultLibrary:
    """Results as threads of a server ask for them. It reads the store and the pages, and writes into `cache` alone.

    Args:
        store_root: The folder of the store; it may come into being later.
        pages: A folder of pages, as `nosce report` writes it. None: there is none.
        cache: An empty folder for the pages of the store.
    """

    def __init__(self, store_root: Path, pages: Path | None, cache: Path) -> None:
        self.store, self.pages, self.cache = Store(store_root), pages, cache
        self._watch = StoreWatch(self.store)
        self._look_lock, self._page_lock = threading.Lock(), threading.Lock()
        self._own_rows: dict[str, tuple[object, LedgerRow]] = {}  # by the name of the estimates
        self._published: tuple[object, list[LedgerRow], tuple[str, ...]] = (None, [], ())
        self._made: set[Path] = set()  # the folders of the cache that are whole

    def look(self) -> tuple[list[LedgerRow], LivePage]:
        """The rows of the ledger and the runs, as they are now."""
        with self._look_lock:
            runs = self._watch.look()
            published, faults = self._published_rows()
            rows = sorted_rows([*self._rows_of_store(), *published])
        stamp = hashlib.sha256(repr((rows, runs, faults)).encode()).hexdigest()[:20]
        return rows, LivePage(places=tuple(self._places()), runs=runs, faults=faults, stamp=stamp)

    def page_folder(self, study: str, scale: str) -> Path | None:
        """The folder of the page of a finished study in the store, made now if what it shows has changed.

        Args:
            study: Name of the study.
            scale: Name of the folder that `nosce report` has for its scale and variant.

        Raises:
            NosceError: The results cannot be shown; the sentence says why.
        """
        from nosce.pipeline.results import RunResults
        from nosce.pipeline.site import scale_folder, write_results

        with self._look_lock:
            plans = [plan for plan in self._finished() if (plan.study, scale_folder(plan)) == (study, scale)]
        if not plans:
            return None
        (plan,) = plans
        with self._page_lock:
            made_from = self._made_from(plan)
            digest = hashlib.sha256(repr((made_from, plan)).encode()).hexdigest()[:16]
            made = self.cache / f"{plan.estimates}-{digest}"  # a page that is being read stays as it is
            if made not in self._made:
                write_results(RunResults.load(self.store, plan), made)
                self._made.add(made)
        return made

    def _made_from(self, plan: PlanRecord) -> object:
        """The files that a page shows: those of all steps, and the log of claims."""
        manifests = (self.store.folder(name) / "manifest.json" for name in plan.steps)
        return file_times([*manifests, *(self.store.root / "claims").glob("*.json")])

    def _finished(self) -> list[PlanRecord]:
        """The fullest finished plan of each study, scale and variant."""
        finished: dict[tuple[str, str, str], list[PlanRecord]] = {}
        for plan in self._watch.plans:
            if self.store.has(plan.estimates):
                finished.setdefault(plan.identity, []).append(plan)
        return [fullest_plan(plans) for plans in finished.values()]

    def _rows_of_store(self) -> Iterator[LedgerRow]:
        for plan in self._finished():
            seen = (self._made_from(plan), plan)
            known = self._own_rows.get(plan.estimates)
            if known is None or known[0] != seen:
                self._own_rows[plan.estimates] = known = (seen, _own_row(self.store, plan))
            yield known[1]

    def _published_rows(self) -> tuple[list[LedgerRow], tuple[str, ...]]:
        if self.pages is None:
            return [], ()
        seen = file_times(file for pattern in RESULT_FILES for file in self.pages.glob(pattern))
        if self._published[0] != seen:
            rows, faults = folder_rows(self.pages, source=PUBLISHED, at="./results")
            self._published = (seen, rows, tuple(printable(f"Left out: {fault}") for fault in faults))
        return self._published[1], self._published[2]

    def _places(self) -> Iterator[str]:
        yield printable(f"{OWN}: {self.store.root}")
        if self.pages is not None:
            yield printable(f"{PUBLISHED}: {self.pages}")


def _own_row(store: Store, plan: PlanRecord) -> LedgerRow:
    """The row of a finished plan; of results that cannot be read it says why."""
    from nosce.pipeline.results import RunResults
    from nosce.pipeline.results_json import results_json
    from nosce.pipeline.site import scale_folder

    folder = scale_folder(plan)
    try:
        row = study_row(results_json(RunResults.load(store, plan)), plan.study, folder)
    except (NosceError, ValueError, OSError) as error:
        sentence = without_passwords(printable(f"It cannot be shown: {error}"))
        contents = {"title": plan.title, "question": plan.question, "paper": plan.paper, "claims": []}
        row = study_row({**contents, "scale": plan.scale, "variant": plan.variant}, plan.study, folder)
        return replace(row, answer="", notices=(sentence,), source=OWN)
    return replace(row, source=OWN, href=f"./store/{quote(plan.study)}/{quote(folder)}/index.html")


def open_library(store: Path | None, results: Path | None, default_store: Path, cache: Path) -> ResultLibrary:
    """The results that a command is about.

    Args:
        store: The store that was asked for; None: the default, where it is there.
        results: The folder of pages that was asked for; None: ./results, where it holds pages.
        default_store: The store of a command that names none.
        cache: An empty folder.

    Raises:
        UsageError: What was asked for is not there, or there is nothing to show.
    """
    root = (store or default_store).expanduser().absolute()
    has_store = all((root / name).is_dir() for name in ("steps", "plans"))
    if store is not None and not has_store:
        raise UsageError(f"a store was asked for at {root}, but none is there; run a study first, or name another.")
    pages = (results or Path("results")).expanduser().absolute()
    has_pages = any(next(pages.glob(pattern), None) is not None for pattern in RESULT_FILES)
    if results is not None and not has_pages:
        raise UsageError(
            f"results were asked for in {pages}, but none lies there as STUDY/SCALE/show.json; name others."
        )
    if not has_store and not has_pages:
        raise UsageError(
            f"a view was asked for, but there is no store in {root} and no result in {pages}; run a study first, or "
            "name a folder with --store or --results."
        )
    return ResultLibrary(root, pages if has_pages else None, cache)
