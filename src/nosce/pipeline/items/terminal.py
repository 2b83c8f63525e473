"""An item in the terminal: texts as wide as the terminal, one line a run of checkpoints with the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from nosce.pipeline.items.building import TOKEN_NATS
from nosce.pipeline.items.item import (
    OUTCOME_SIGNS,
    ItemCheckpoint,
    ItemReadings,
    ItemTraining,
    StudyItem,
)
from nosce.records import Walkthrough, WalkthroughStep
from nosce.store.text import printable

OUTCOME_STYLES = {"right": "green", "wrong": "red"}
MAX_SHOWN_CHARACTERS = 600  # of a training text or a prompt; `--json` has all of it
MAX_SHOWN_NAMES = 6  # of arms in a sentence
GAP = 2  # columns between boards that stand side by side


def print_item(item: StudyItem, console: Console) -> None:
    """Print an item for a person to read."""
    for indent, text in item_lines(item, console.width):
        console.print(Padding(text, (0, 0, 0, indent), expand=False) if text.plain else "", highlight=False)


def item_lines(item: StudyItem, width: int) -> Iterator[tuple[int, Text]]:
    """The lines of an item, each with the columns by which it is set in."""
    entry = item.entry
    yield 0, Text(printable(f"{entry.entity}, seed {entry.seed}"), style="bold")
    yield 0, Text(printable(f"{item.study}, {item.scale}; unit: {item.unit}. {_tally(item)}"))
    for training in item.training:
        yield 0, Text("")
        yield from _training_lines(training)
    for arm, of_arm in groupby(item.readings, key=lambda one: one.arm):
        for (stage, evaluation, kind), rows in groupby(of_arm, key=lambda one: (one.stage, one.evaluation, one.kind)):
            yield 0, Text("")
            yield 0, _heading(arm, stage, evaluation, kind)
            readings = list(rows)
            yield from (_table_lines(readings) if kind in ("probe", "patch") else _asked_lines(readings))
    for walk in item.walks:
        yield 0, Text("")
        yield from _walk_lines(walk, width)
    if item.absent:
        yield 0, Text("")
    for sentence in item.absent:
        yield 0, Text(printable(sentence), style="dim")


def _tally(item: StudyItem) -> str:
    entry = item.entry
    if not entry.n_asked:
        return "No answer about it was judged."
    arms = f", in {_names(entry.wrong_arms)}" if entry.wrong_arms else ""
    return f"After the last checkpoints {entry.n_wrong} of {entry.n_asked} answers were wrong{arms}."


def _names(names: Sequence[str]) -> str:
    """The first names; how many others there are is said."""
    others = len(names) - MAX_SHOWN_NAMES
    return ", ".join(names) if others <= 1 else f"{', '.join(names[:MAX_SHOWN_NAMES])} and {others} more arms"


def _heading(arm: str, stage: str, evaluation: str, kind: str) -> Text:
    words = {"asked": "", "baseline": ", without a model", "probe": ", a probe", "patch": ", patching"}
    return Text(printable(f"{arm}: {evaluation} after {stage}{words[kind]}"), style="bold")


def _training_lines(training: ItemTraining) -> Iterator[tuple[int, Text]]:
    yield 0, Text(printable(f"Trained on, in {_names(training.arms)}"), style="bold")
    if training.note:
        yield 2, Text(printable(training.note))
    for attribute, facts in groupby(training.facts, key=lambda fact: fact.attribute):
        wordings = list(facts)
        total = sum(fact.exposures for fact in wordings)
        used = [f"{fact.wording or 'the only wording'} {fact.exposures:,}" for fact in wordings if fact.exposures]
        named = f": {', '.join(used)}" if any(fact.wording for fact in wordings) else ""
        yield 2, Text(printable(f"{attribute}: {total:,} exposures in {len(used)} of {len(wordings)} wordings{named}"))
    for document in training.documents:
        yield 2, Text(printable(f"Text {document.id}, trained on {document.exposures:,} times:"))
        yield 4, _shown(document.text, "Only its tokens were kept.")
    if training.n_documents > len(training.documents):
        yield 2, Text(f"{training.n_documents - len(training.documents):,} more texts are not shown.")


def _asked_lines(readings: Sequence[ItemReadings]) -> Iterator[tuple[int, Text]]:
    prompt = ""
    for one in readings:
        split = f", {one.split}" if one.split else ""
        yield 2, Text(printable(f"{one.item}{split}"), style="cyan")
        if one.prompt is not None and one.prompt != prompt:
            yield 4, _named("prompt", one.prompt)
            if one.prompt_note:
                yield 4, Text(printable(one.prompt_note), style="dim")
        elif one.prompt is not None:
            yield 4, Text("prompt  as above", style="dim")
        prompt = one.prompt or ""
        if one.target is not None:
            yield 4, _named("target", one.target)
        for same in _same_answers(one):
            yield 4, _answer_line(one, same)
        if tokens := _token_line(one):
            yield 4, tokens


def _same_answers(one: ItemReadings) -> Iterator[list[ItemCheckpoint]]:
    """Runs of checkpoints with the same answer and outcome."""
    for _, same in groupby(one.checkpoints, key=lambda point: (one.answer(point), one.outcome(point))):
        yield list(same)


def _answer_line(one: ItemReadings, same: Sequence[ItemCheckpoint]) -> Text:
    first, last = same[0], same[-1]
    steps = f"step {first.step:,}" if first is last else f"steps {first.step:,} to {last.step:,}"
    line = Text(f"{steps}  ")
    outcome = one.outcome(last)
    if outcome is not None:
        line.append(f"{OUTCOME_SIGNS[outcome]} {outcome}", style=OUTCOME_STYLES.get(outcome, "yellow"))
        line.append(f" by {one.judged}" if one.judged != "exact" else "")
        line.append("  ")
    answer = one.answer(last)
    line.append(Text(printable(_cut(answer) or "(nothing)"), style="bold") if answer is not None else Text("no answer"))
    if (chance := _range([point.probability for point in same])) is not None:
        line.append(f"  p(target) {chance}")
    others = [metric for metric in one.metrics if metric != one.judged and not TOKEN_NATS.fullmatch(metric)]
    line.append(printable(_metrics_text(one, same, others)), style="dim")
    return line


def _metrics_text(one: ItemReadings, same: Sequence[ItemCheckpoint], metrics: Sequence[str]) -> str:
    """The other metrics of a run of checkpoints: the last value of each, or "not measured"."""
    parts = []
    for metric in metrics:
        value = same[-1].values[one.metrics.index(metric)]
        if value is not None:
            parts.append(f"{metric} {value:.3g}")
    return f"  {', '.join(parts)}" if parts else ""


def _token_line(one: ItemReadings) -> Text | None:
    """The tokens of the target, each with its probability at the last checkpoint that has them."""
    point = next((point for point in reversed(one.checkpoints) if point.token_probabilities), None)
    if point is None:
        return None
    tokens = (*one.target_tokens, "(end)") if one.target_tokens else ()
    shown = []
    for number, probability in enumerate(point.token_probabilities):
        name = tokens[number] if tokens else f"token {number + 1}"
        shown.append(f"{name} {probability:.2f}")
    return Text(printable(f"token probabilities  {' · '.join(shown)}"))


def _table_lines(readings: Sequence[ItemReadings]) -> Iterator[tuple[int, Text]]:
    """Probes and patches: a line a metric with the values of each attribute, after the last step of the evaluation."""
    last_step = max(one.checkpoints[-1].step for one in readings)
    shares: dict[str, dict[str, list[float]]] = {}
    for one in readings:
        point = one.checkpoints[-1]
        for metric, value in zip(one.metrics, point.values, strict=True):
            if value is not None and point.step == last_step:
                shares.setdefault(metric, {}).setdefault(one.attribute or one.item, []).append(value)
    counted = "read right of read" if readings[0].kind == "probe" else "yes of pairs"
    yield 2, Text(f"after step {last_step:,}, {counted}", style="dim")
    for metric, attributes in shares.items():
        parts = [f"{attribute} {_share(values)}" for attribute, values in attributes.items()]
        yield 2, Text(printable(f"{metric}: {', '.join(parts)}"))


def _share(values: Sequence[float]) -> str:
    if all(value in (0, 1) for value in values):
        return f"{sum(values):.0f}/{len(values)}"
    return f"{sum(values) / len(values):.3g}" + (f" (mean of {len(values)})" if len(values) > 1 else "")


def _walk_lines(walk: Walkthrough, width: int) -> Iterator[tuple[int, Text]]:
    yield 0, Text(printable(walk.title), style="bold")
    yield 2, Text(printable(walk.caption), style="dim")
    row: list[WalkthroughStep] = []
    for frame in walk.frames:
        if row and sum(map(_frame_width, row)) + _frame_width(frame) > width - GAP:
            yield from _board_row(row)
            row = []
        row.append(frame)
    if row:
        yield from _board_row(row)
    for number, frame in enumerate(walk.frames):
        missed = [one for one in frame.beliefs if one.read != one.true]
        for one in missed:
            text = f"{number}. {frame.word}: a probe reads {one.what} {one.read} ({one.sure:.0%}), it is {one.true}"
            yield 2, Text(printable(text))


def _frame_width(frame: WalkthroughStep) -> int:
    return max(len(frame.word), *(len(row) for row in frame.picture), 1) + GAP


def _board_row(frames: Sequence[WalkthroughStep]) -> Iterator[tuple[int, Text]]:
    """Boards side by side, with the operation above each."""
    height = max(len(frame.picture) for frame in frames)
    rows = [[frame.word, *frame.picture] + [""] * (height - len(frame.picture)) for frame in frames]
    for number in range(height + 1):
        cells = [row[number].ljust(_frame_width(frame)) for row, frame in zip(rows, frames, strict=True)]
        yield 2, Text(printable("".join(cells).rstrip()), no_wrap=True)
    yield 2, Text("")


def _named(name: str, text: str) -> Text:
    line = Text(f"{name}  ", style="dim")
    line.append(printable(_cut(text)), style="default not dim")
    return line


def _shown(text: str | None, otherwise: str) -> Text:
    return Text(otherwise, style="dim") if text is None else Text(printable(_cut(text)))


def _cut(text: str) -> str:
    """A text without the end of a long one; how long it is is said."""
    if len(text) <= MAX_SHOWN_CHARACTERS:
        return text
    return f"{text[:MAX_SHOWN_CHARACTERS]} ... (cut; {len(text):,} characters in all)"


def _range(values: Sequence[float | None]) -> str | None:
    """The first and the last probability; None where none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    first, last = (_chance(value) for value in (known[0], known[-1]))
    return first if first == last else f"{first} to {last}"


def _chance(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 else f"{value:.2g}"
