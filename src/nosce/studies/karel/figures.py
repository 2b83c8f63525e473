"""The figures of the study karel: phases over training, what is read where, other meanings, edits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nosce.analysis.figures import Cell, Chart, Columns, Lines
from nosce.analysis.measures import Difference, Mean, OneSeed, Select
from nosce.analysis.training_curves import Curve
from nosce.studies.karel.selections import (
    ALTERNATIVES,
    COMMONEST,
    CORRECT,
    DISTINCT,
    FEATURES,
    OFFSETS,
    ORIGINAL,
    PERPLEXITY,
    content,
    programs,
    states,
)


def figures(batch: int, layers: int, longest: int, seeds: tuple[int, ...]) -> tuple[Chart, ...]:
    """The phases of training, what is read where, other meanings, edits, and the programs' lengths."""
    return (*_over_training(batch), *_read_where(layers), *_meaning(layers), *_lengths(longest, seeds))


def _over_training(batch: int) -> tuple[Lines, ...]:
    along: dict[str, Any] = {"x_label": "records met", "per_step": float(batch)}
    return (
        Lines(
            id="phases",
            title="Babbling, syntax, semantics",
            caption="Greedy programs under the grammar for unseen specifications: right on the pairs shown, right on "
            "hidden pairs too, word for word the author's, and how many get the most frequent program. Intervals over "
            "specifications and seeds; of the most frequent program the range over seeds.",
            y_label="share of specifications",
            panels=(("", (("right", CORRECT),
                          ("right on hidden pairs too", Curve(select=programs("strict", step="every"))),
                          ("the author's", Curve(select=programs("reference", step="every"))),
                          ("the most frequent program", COMMONEST))),),
            **along,
        ),
        Lines(
            id="diversity",
            title="How many different programs there are",
            caption="Different programs among the replies; bands are the range over seeds.",
            y_label="different programs",
            unit="number",
            panels=(("", (("different programs", DISTINCT),)),),
            **along,
        ),
        Lines(
            id="perplexity",
            title="How surprising the authors' programs are",
            caption="Perplexity a token of the reference programs, given their specifications; bands are the range "
            "over seeds.",
            y_label="perplexity",
            unit="number",
            panels=(("", (("perplexity", PERPLEXITY),)),),
            **along,
        ),
        Lines(
            id="content",
            title="Semantic content over training",
            caption="Accuracy of a probe with one hidden layer above the best constant on the same programs; left on "
            "the programs that each checkpoint writes, right on one fixed set for all. Bands are the range over seeds.",
            y_label="above the constant",
            panels=tuple((panel, tuple((f"{feature} {offset:+d}", content(feature, offset, readout))
                                       for feature in ("position", "front") for offset in (0, 1)))
                         for panel, readout in (("its own programs", "along"), ("fixed programs", "fixed"))),
            **along,
        ),
    )  # fmt: skip


def _read_where(layers: int) -> tuple[Columns, ...]:
    return (
        Columns(
            id="floors",
            title="What is read, and what could be read without the model",
            caption="Test accuracy at the end of training; dashes are the best constant. The start with the bag of "
            "operations, and the whole surface (board, counts, the operation predicted), are given to the same probe.",
            y_label="accuracy",
            cells=tuple(cell for feature, _ in FEATURES for cell in _floor_cells(feature)),
        ),
        Columns(
            id="probes",
            title="Probes by depth and offset",
            caption="Test accuracy on the model's own programs, by hidden layers of the probe; dashes are the best "
            "constant. Offset 0 is the state behind the operation being predicted. These probes learn from fewer "
            "programs than those of the claims.",
            y_label="accuracy",
            cells=tuple(cell for feature, _ in FEATURES for cell in _grid_cells(feature)),
        ),
        Columns(
            id="layers",
            title="Probes by layer",
            caption="Test accuracy of a probe with one hidden layer on what each block adds up to, and on what the "
            "last norm leaves; dashes are the best constant. These probes too learn from fewer programs.",
            y_label="accuracy",
            cells=tuple(cell for feature, _ in FEATURES for cell in _layer_cells(feature, layers)),
        ),
    )  # fmt: skip


def _meaning(layers: int) -> tuple[Columns, ...]:
    return (
        Columns(
            id="intervention",
            title="The same hidden states, other meanings",
            caption="Probe accuracy above each meaning's own best constant, for the trained and the untrained network, "
            "on position in the state behind the operation being predicted.",
            y_label="above the constant",
            cells=tuple(
                Cell(meaning, group, Difference(one=states("position", 0, source, meaning),
                                                other=states("position", 0, "constant", meaning)))
                for meaning in ("original", *ALTERNATIVES)
                for group, source in (("trained", "mean/1"), ("untrained", "untrained/1"))
            ),
        ),
        Columns(
            id="edits",
            title="Is the state used?",
            caption="Share of pairs whose next word, after an edit of one hidden state, is right for the donor's state "
            "and wrong for the host's. Swap: the donor's state; other: the same words for another specification; "
            "gradient: moved until probes read the donor's state; random: moved as far. Dashes: unedited.",
            y_label="next word right",
            cells=_edit_cells(layers),
        ),
    )  # fmt: skip


def _lengths(longest: int, seeds: tuple[int, ...]) -> tuple[Columns, ...]:
    return (
        Columns(
            id="length",
            title="How long its programs are, beside the authors'",
            caption="Mean operations of the programs for unseen specifications. Intervals are BCa over specifications "
            "with 9,999 samples, of each model alone, as in the paper.",
            y_label="operations",
            unit="number",
            cells=tuple(Cell(f"seed {seed}", group, OneSeed(select=programs(metric), seed=seed))
                        for seed in seeds for group, metric in (("the model's", "length"), ("the authors'", "author"))),
        ),
        Columns(
            id="lengths",
            title="Accuracy by the length of the author's program",
            caption="Right programs for unseen specifications, by how many operations their author's program has.",
            y_label="share right",
            cells=tuple(Cell(str(n), "right", Mean(select=replace(programs(), facets=(f"length {n}",))))
                        for n in range(1, longest + 1)),
        ),
    )  # fmt: skip


def _floor_cells(feature: str) -> list[Cell]:
    cells = []
    for offset in (0, 1):
        for group, source in (("trained", "mean/1"), ("untrained", "untrained/1"), ("start and bag", "bag/1"),
                              ("whole surface", "surface/1")):  # fmt: skip
            cells.append(Cell(f"{offset:+d}", group, Mean(select=states(feature, offset, source)), panel=feature))
        floor = Mean(select=states(feature, offset, "constant"))
        cells.append(Cell(f"{offset:+d}", "best constant", floor, panel=feature, baseline=True))
    return cells


def _edit_cells(layers: int) -> tuple[Cell, ...]:
    cells = []
    for site in (*(f"residual.{number}" for number in range(1, layers)), "final"):
        for kind in ("swap", "other", "gradient", "random"):
            cells.append(Cell(site, kind, Mean(select=Select(readout="edits", metric=f"{kind}/{site}", arm=ORIGINAL))))
        none = Mean(select=Select(readout="edits", metric="unedited", arm=ORIGINAL))
        cells.append(Cell(site, "no edit", none, baseline=True))
    return tuple(cells)


def _layer_cells(feature: str, layers: int) -> list[Cell]:
    cells = []
    for site in (*(f"residual.{number}" for number in range(layers)), "final"):
        for offset in (0, 1):
            measure = Mean(select=states(feature, offset, f"{site}/1", readout="layers"))
            cells.append(Cell(site, f"{offset:+d}", measure, panel=feature))
        floor = Mean(select=states(feature, 0, "constant", readout="layers"))
        cells.append(Cell(site, "best constant at +0", floor, panel=feature, baseline=True))
    return cells


def _grid_cells(feature: str) -> list[Cell]:
    cells = []
    for offset in OFFSETS:
        for layers, group in enumerate(("linear", "one hidden layer", "two hidden layers")):
            measure = Mean(select=states(feature, offset, f"mean/{layers}", readout="grid"))
            cells.append(Cell(f"{offset:+d}", group, measure, panel=feature))
        floor = Mean(select=states(feature, offset, "constant", readout="grid"))
        cells.append(Cell(f"{offset:+d}", "best constant", floor, panel=feature, baseline=True))
    return cells
