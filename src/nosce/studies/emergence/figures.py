"""The figures of the study emergence: the same outputs by several rulers, along sizes, tokens, loss and places."""

from __future__ import annotations

from nosce.analysis.emergence.measures import Foretold
from nosce.analysis.figures import Chart, Lines, Point, Rungs
from nosce.analysis.measures import Mean, Select
from nosce.analysis.training_curves import Curve
from nosce.studies.emergence.selections import EDIT, LIKELIHOOD, SEEN, Ladder, Seen, outcome

WORDS = {"exact": "exact match", EDIT: "edit distance (tokens)", LIKELIHOOD: "log-likelihood (nats)"}


def figures(ladders: tuple[Ladder, ...], seen: tuple[Seen, ...]) -> tuple[Chart, ...]:
    """All of them."""
    return (
        _sizes(ladders),
        *(_training(ladder) for ladder in ladders),
        *(_loss(ladder) for ladder in ladders),
        *(_places(ladder) for ladder in ladders),
        Foretold(
            id="foretold",
            title="Could it have been foreseen?",
            caption="Exact match of each size, foretold from all smaller ones: from exact match alone, through the "
            "log-likelihood, or as the size before. Bars: 95 % intervals of what would be observed.",
            x_label="weights",
            y_label="exact match",
            scalings=tuple(ladder.by_size() for ladder in ladders),
        ),
        *(_seen(one) for one in seen),
    )


def _sizes(ladders: tuple[Ladder, ...]) -> Rungs:
    tested = max(ladder.points[-1][0] for ladder in ladders)
    alone = f" Beyond {tested:,.0f} weights: one seed, not tested." if any(one.beyond for one in ladders) else ""
    return Rungs(
        id="sizes",
        title="The same outputs by three rulers",
        caption=f"Problems that nobody was trained on, in either order; means over seeds and problems.{alone}",
        x_label="weights",
        y_label="",
        points=tuple(
            Point(size, ladder.name, Mean(select=outcome(arm, metric)), panel=words)
            for metric, words in WORDS.items() for ladder in ladders for size, arm in (*ladder.points, *ladder.beyond)
        ),
        unit="number",
        y_scales="own",
    )  # fmt: skip


def _training(ladder: Ladder) -> Lines:
    return Lines(
        id=f"{ladder.name}-training",
        title=f"{ladder.name.capitalize()} along training",
        caption="Each size at twelve places evenly spaced in the logarithm of tokens.",
        x_label="tokens seen",
        y_label="",
        panels=tuple(
            (words, tuple((_short(arm), Curve(select=outcome(arm, metric, "every"))) for _, arm in ladder.points))
            for metric, words in WORDS.items()
        ),
        per_step=ladder.per_step,
        unit="number",
        x_scale="log",
        y_scales="own",
    )


def _loss(ladder: Ladder) -> Rungs:
    return Rungs(
        id=f"{ladder.name}-loss",
        title=f"{ladder.name.capitalize()}, exact match against loss",
        caption="Every size at every checkpoint. Were exact match a matter of loss alone, all would lie on one curve.",
        x_label="log-likelihood of an answer (nats)",
        y_label="exact match",
        points=tuple(
            Point(Mean(select=outcome(arm, LIKELIHOOD, step)), _short(arm), Mean(select=outcome(arm, "exact", step)))
            for _, arm in ladder.points for step in ladder.steps
        ),
        x_scale="linear",
    )  # fmt: skip


def _places(ladder: Ladder) -> Rungs:
    panels = {"place": "this digit is right", "first": "all digits up to it are"}
    return Rungs(
        id=f"{ladder.name}-places",
        title=f"{ladder.name.capitalize()}, digit by digit",
        caption="After training; digits in the order they are written in, the last one of the number first.",
        x_label="digit",
        y_label="share",
        points=tuple(
            Point(float(place), _short(arm), Mean(select=outcome(arm, f"{metric} {place}")), panel=words)
            for metric, words in panels.items() for _, arm in ladder.points for place in range(1, ladder.places + 1)
        ),
        x_scale="linear",
    )  # fmt: skip


def _seen(seen: Seen) -> Rungs:
    sharp, smooth, _, x_label = SEEN[seen.kind]
    chosen = {
        "reconstruction": ("within 0.5", "within 1.5", "squared_error"),
        "classes": ("right", "all 3", "all 10", "nats"),
        "sequences": ("right", "all 3", "all 5", "nats 5"),
    }[seen.kind]
    shares = [metric for metric in chosen if metric != smooth and "nats" not in metric]
    return Rungs(
        id=seen.kind,
        title=f"{seen.kind.capitalize()}: {sharp}, and what lies behind it",
        caption="Digits that come with scikit-learn, 500 of them held out; means over seeds.",
        x_label=x_label,
        y_label="",
        points=tuple(
            Point(size, metric.replace("_", " "), Mean(select=_read(seen.kind, arm, metric)),
                  panel="share" if metric in shares else metric.replace("_", " "))
            for metric in chosen for size, arm in seen.points
        ),
        unit="number",
        y_scales="own",
    )  # fmt: skip


def _read(kind: str, arm: str, metric: str) -> Select:
    quantity = "nats" if "nats" in metric else "error" if "error" in metric else "share"
    return Select(readout=kind, metric=metric, arm=arm, quantity=quantity)


def _short(arm: str) -> str:
    """The shape alone."""
    return arm.rpartition(" ")[2]
