"""The figures of the study diaries: the paper's 2 to 6 from our table, and what it has none of."""

from __future__ import annotations

from dataclasses import replace

from nosce.analysis.emergence.scaling_curve import Scaling
from nosce.analysis.figures import Cell, Chart, Columns, Lines, Matrix, Point, Rungs
from nosce.analysis.jackknife import Auc
from nosce.analysis.measures import Contrast, Difference, Mean, Measure
from nosce.analysis.training_curves import Curve
from nosce.data.worlds.diaries import Diaries
from nosce.data.worlds.diaries.scoring import FAULTS
from nosce.data.worlds.diaries.world import entries_of
from nosce.models.architecture import Architecture
from nosce.studies.diaries.arms import (
    ENCODERS,
    MASKED,
    MERGED,
    NAMED,
    NUMBER_FIRST,
    REPEATED,
    SCATTERED,
    SETUPS,
    Grid,
    name,
)
from nosce.studies.diaries.selections import (
    BLIND,
    TRAINED,
    along_sizes,
    counted,
    of_number,
    patched,
    recited,
    reference,
    stops,
    title,
)

UNASKED = "of people who were never asked about"


def figures(grid: Grid) -> tuple[Chart, ...]:
    """All of them, the paper's first."""
    paper = (_ladder(grid), _gap(grid), _more(grid), _by_number(grid), _matrices(grid))
    beyond = (_faults(grid), _training(grid), _continuous(grid), _where(grid))
    return (*paper, *beyond, *(_puzzle(grid) if grid.puzzle else ()), *((_shapes(grid),) if grid.beside else ()))


def scalings(grid: Grid) -> tuple[Scaling, ...]:
    """Whole scattered diaries by the size of the first family, against what they cost to tell."""
    family = grid.families[0]
    points = tuple((parameters(grid, family, rung), arm) for rung, arm in along_sizes(grid))
    whole, *nats = (
        replace(select, arm=None, split="unseen")
        for select in (recited(points[0][1]), stops(points[0][1], "stops"), stops(points[0][1], "content"))
    )
    return (
        Scaling(
            id="sizes",
            title="Is the rise with size a jump?",
            x_label="weights, embeddings left out",
            points=points,
            sharp=whole,
            continuous=tuple(nats),
        ),
    )


def parameters(grid: Grid, family: str, rung: str) -> float:
    """Weights of the blocks' matrices, embeddings left out; layers times width squared where only a name is known."""
    arm = next(a for a in grid.arms if a.name == name(family, rung, grid.middle, SCATTERED))
    return (
        float(arm.model.parameters(0))
        if isinstance(arm.model, Architecture)
        else float(grid.sizes[family].index(rung) + 1)
    )


def _counts(grid: Grid) -> list[int]:
    low, high = grid.world.entries
    return list(range(low, high + 1))


def _ladder(grid: Grid) -> Rungs:
    points = [
        Point(parameters(grid, family, rung), f"{count:,}", Mean(select=recited(name(family, rung, count, setup))),
              panel=f"{family}, {setup}")
        for family in grid.families for setup in SETUPS for count in grid.diarists
        for rung in grid.sizes[family] if (rung, count) in grid.cells(family)
    ]  # fmt: skip
    return Rungs(
        id="ladder",
        title="Recalled whole, by size, family and number of diarists",
        caption=f"Share of diaries {UNASKED} that are recalled whole (figure 2 of the paper, whose solid lines are our "
        "scattered and whose dashed ones are our merged). A line is a number of diarists.",
        x_label="weights, embeddings left out",
        y_label="recalled whole",
        points=tuple(points),
    )


def _gap(grid: Grid) -> Rungs:
    points = [
        Point(float(count), rung, _differ(family, rung, count), panel=family)
        for family in grid.families for rung in grid.sizes[family]
        for count in grid.diarists if (rung, count) in grid.cells(family)
    ]  # fmt: skip
    return Rungs(
        id="gap",
        title="What scattering costs",
        caption=f"Merged minus scattered: share of diaries {UNASKED} that are recalled whole (figure 3). A line is a "
        "size.",
        x_label="diarists",
        y_label="merged minus scattered",
        points=tuple(points),
    )


def _more(grid: Grid) -> Rungs:
    family = grid.families[0]
    _, smallest, largest = grid.first
    numbers = {largest: grid.diarists, smallest: tuple(dict.fromkeys((*grid.diarists, *grid.further)))}
    cells = [
        (rung, count, name(family, rung, count, SCATTERED)) for rung, counts in numbers.items() for count in counts
    ]
    return Rungs(
        id="more-diarists",
        title="Scattered diaries, by the number of diarists",
        caption=f"The smallest and the largest size of {family}: left {UNASKED}, right of people whose question was "
        "trained on. Where the right falls, what is left is not a matter of counting.",
        x_label="diarists",
        y_label="recalled whole",
        points=tuple(
            Point(float(count), rung, Mean(select=recited(arm, readout=readout)), panel=panel)
            for panel, readout in (("never asked about", "written"), ("asked about in training", TRAINED))
            for rung, count, arm in cells
        ),
    )


def _differ(family: str, rung: str, count: int) -> Measure:
    merged, scattered = (recited(name(family, rung, count, setup)) for setup in (MERGED, SCATTERED))
    return Difference(one=merged, other=scattered)


def _by_number(grid: Grid) -> Columns:
    arms = [(rung, setup, arm) for setup in SETUPS for rung, arm in along_sizes(grid, setup)]
    return Columns(
        id="by-number",
        title="Recalled whole, by the number of entries",
        caption=f"Share of diaries {UNASKED} that are recalled whole, at {grid.middle:,} diarists (figure 4); colours "
        "are sizes.",
        y_label="recalled whole",
        x_label="entries",
        cells=tuple(Cell(str(k), rung, Mean(select=of_number(arm, k)), panel=setup)
                    for rung, setup, arm in arms for k in _counts(grid)),
    )  # fmt: skip


def _matrices(grid: Grid) -> Matrix:
    numbers = _counts(grid)
    return Matrix(
        id="recalled",
        title="Entries told, by entries there are",
        caption=f"Percent of the replies {UNASKED}, at {grid.middle:,} diarists (figures 5 and 6). Columns sum to 100; "
        "replies without a title are left out. All seeds together.",
        x_label="entries there are",
        y_label="entries told",
        facets=tuple((entries_of(k), str(k)) for k in numbers),
        most=numbers[-1] + 1,
        panels=tuple((f"{family} {rung}, {setup}", recited(name(family, rung, grid.middle, setup), "recalled"))
                     for family in grid.families for setup in SETUPS
                     for rung in dict.fromkeys((grid.sizes[family][0], grid.sizes[family][-1]))),
    )  # fmt: skip


def _faults(grid: Grid) -> Columns:
    return Columns(
        id="faults",
        title="What goes wrong first",
        caption=f"Share of replies {UNASKED}, by the class of the first wrong unit; the largest size at "
        f"{grid.middle:,} diarists.",
        y_label="share of replies",
        cells=tuple(Cell(fault, setup, Mean(select=recited(reference(grid, setup, family), f"fault/{fault}")), family)
                    for family in grid.families for setup in SETUPS for fault in FAULTS),
    )  # fmt: skip


def _training(grid: Grid) -> Lines:
    return Lines(
        id="training",
        title="Recalling whole diaries over training",
        caption=f"Left of people whose question was trained on, right {UNASKED}; the largest size.",
        x_label="texts met",
        y_label="recalled whole",
        per_step=float(grid.recipe.batch),
        panels=tuple(
            (panel, tuple((f"{family}, {setup}", _curve(reference(grid, setup, family), readout))
                          for family in grid.families for setup in SETUPS))
            for panel, readout in (("asked about in training", TRAINED), ("never asked about", "written"))
        ),
    )  # fmt: skip


def _curve(arm: str, readout: str) -> Curve:
    return Curve(select=recited(arm, readout=readout, step="every"))


def _continuous(grid: Grid) -> Rungs:
    """Sharp and continuous measures of the same replies beside each other."""
    family = grid.families[0]
    points = []
    for setup in SETUPS:
        for rung, arm in along_sizes(grid, setup):
            x = parameters(grid, family, rung)
            told = Auc(high=stops(arm, "stop/last"), low=stops(arm, "stop/before"))
            for group, measure in (("whole diaries", Mean(select=recited(arm))),
                                   ("number of entries", Mean(select=recited(arm, "count"))),
                                   ("content of entries", Mean(select=recited(arm, "content"))),
                                   ("stops told from others (area)", told)):  # fmt: skip
                points.append(Point(x, group, measure, panel=setup))
    return Rungs(
        id="continuous",
        title="Is it a jump?",
        caption=f"Whole diaries, and measures that have no threshold, {UNASKED}; the area under the curve, for which a "
        "half is chance, is of the probability of stopping behind true entries.",
        x_label="weights, embeddings left out",
        y_label="share",
        points=tuple(points),
    )


def _where(grid: Grid) -> Columns:
    cells = []
    arm = reference(grid).rpartition(" ")[0]
    layers = next(a for a in grid.arms if a.name == reference(grid)).model
    assert isinstance(layers, Architecture)
    sites = [*(f"residual.{number}" for number in range(layers.layers)), "final"]
    for setup in SETUPS:
        which = f"{arm} {setup}"
        for site in sites:
            told = {"at the question's end": f"question/{site}", "at a title's end": f"title/{site}",
                    "numbers dealt anew": f"shuffled/question/{site}"}  # fmt: skip
            cells += [Cell(site, group, Mean(select=counted(which, m)), panel=f"number read by a probe, {setup}")
                      for group, m in told.items()]  # fmt: skip
            moved = {"question's last token": f"last/donor/{site}", "whole question": f"whole/donor/{site}",
                     "whole, donor of equal number": f"whole/same/{site}"}  # fmt: skip
            cells += [Cell(site, group, Mean(select=patched(which, m)), panel=f"stops where the donor's ends, {setup}")
                      for group, m in moved.items()]  # fmt: skip
        guess = Mean(select=counted(which, "constant/question"))
        none = Mean(select=patched(which, "unpatched"))
        for site in sites:
            floor = "best constant, or unpatched"
            cells.append(Cell(site, floor, guess, f"number read by a probe, {setup}", baseline=True))
            cells.append(Cell(site, floor, none, f"stops where the donor's ends, {setup}", baseline=True))
    return Columns(
        id="where",
        title="Where is the number of entries?",
        caption=f"Linear probes by layer {UNASKED}, and the share of hosts that stop behind as many entries as a donor "
        "with fewer has, with the donor's hidden states in the question's place.",
        y_label="share",
        cells=tuple(cells),
    )


def _shapes(grid: Grid) -> Columns:
    """Other shapes of diaries beside the grid's."""
    worlds = {"the grid's": replace(grid.world, diarists=grid.middle), **grid.beside}
    metrics = (("whole", "exact"), ("number of entries", "count"), ("content of entries", "content"))
    cells = []
    for setup in SETUPS:
        for shape in worlds:
            arm = reference(grid, setup) if shape == "the grid's" else f"{shape} {setup}"
            cells += [Cell(shape, group, Mean(select=recited(arm, metric)), setup) for group, metric in metrics]
            trained = Mean(select=recited(arm, readout=TRAINED))
            cells.append(Cell(shape, "whole, of trained questions", trained, setup, baseline=True))
    said = "; ".join(f"{shape}: {_shape(world)}" for shape, world in worlds.items())
    return Columns(
        id="shapes",
        title="Longer entries, longer diaries",
        caption=f"The largest size, {UNASKED}; dashes are the share of trained questions that is answered. {said}.",
        y_label="share",
        cells=tuple(cells),
    )


def _shape(world: Diaries) -> str:
    low, high = world.attributes
    facts = str(low) if low == high else f"{low} to {high}"
    return f"{world.diarists:,} diarists of {world.entries[0]} to {world.entries[1]} entries of {facts} facts"


def _puzzle(grid: Grid) -> tuple[Columns, Columns]:
    plain = reference(grid)
    arms: dict[str, str] = {"plain": plain, "title's loss masked": MASKED, "number before the name": NUMBER_FIRST}
    encoders = [f for f in grid.families if f in ENCODERS]
    arms |= {f"{family}": reference(grid, SCATTERED, family) for family in encoders}
    if encoders:
        arms |= {"title repeated": REPEATED, "title learnt": NAMED}
    cells = []
    for words, arm in arms.items():
        told = Auc(high=stops(arm, "stop/last"), low=stops(arm, "stop/before"))
        cells += [
            Cell("stops told (area)", words, told),
            Cell("whole", words, Mean(select=recited(arm))),
            Cell("number of entries", words, Mean(select=recited(arm, "count"))),
        ]
    return _puzzle_shares(tuple(cells)), _titles({"plain": plain, "number before the name": NUMBER_FIRST})


def _puzzle_shares(cells: tuple[Cell, ...]) -> Columns:
    return Columns(
        id="puzzle",
        title="Does the loss on titles store the number?",
        caption=f"{UNASKED.capitalize()}: how well stops are told (a half is chance), whole diaries, the number. "
        "Scattered documents, largest size. The last two are flan-t5's: with the title repeated its encoder is given "
        "it too, number and all; with the title learnt it is given the name alone.",
        y_label="share",
        cells=cells,
    )


def _titles(arms: dict[str, str]) -> Columns:
    """What the number in a title costs, where the model learns to say it and is not given it."""
    cells = []
    for words, arm in arms.items():
        saved = Contrast(terms=((1.0, title(arm, readout=BLIND)), (-1.0, title(arm))))
        most = Contrast(terms=((1.0, title(arm, readout=BLIND)), (-1.0, title(arm, "nats/own", BLIND))))
        cells += [Cell(words, "saved", saved), Cell(words, "the most there is", most, baseline=True)]
    return Columns(
        id="titles",
        title="What titles tell of the number",
        caption="Nats that the number in a document's title costs less than without knowing the name, over everybody's "
        "documents: a measure of the count that asks nothing.",
        y_label="nats saved",
        cells=tuple(cells),
        unit="number",
    )
