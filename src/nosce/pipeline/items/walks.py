"""Programs stepped through: the state of the world after each operation of a target and of a model's answer.

A world that can draw its states says so by a probe of the arm: the probe's tracer draws them. Where the evaluation kept
what its probes read on the way, the readings of the probes stand beside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from nosce.pipeline.items.item import ItemReadings
from nosce.pipeline.items.sources import ItemSources
from nosce.pipeline.items.texts import EntityTexts
from nosce.pipeline.steps.evaluation import EvaluationStepSpec
from nosce.records import Question, Walkthrough, WalkthroughStep, from_json
from nosce.store.store import Store

if TYPE_CHECKING:
    from nosce.evals.probing.programs import ProgramTracer

REPLIES = frozenset({"GenerationEval", "ConstantBaseline"})


class ItemWalker:
    """Steps through programs.

    Args:
        store: The store.
        sources: The evaluations of the plan.
    """

    def __init__(self, store: Store, sources: ItemSources) -> None:
        self._store, self._sources = store, sources

    @cached_property
    def _tracers(self) -> Mapping[tuple[str, int], ProgramTracer]:
        """What draws states, by arm and seed."""
        from nosce.evals.probing.program_states import ProgramStateProbe

        tracers: dict[tuple[str, int], ProgramTracer] = {}
        for source in self._sources.evaluations:
            if source.type != "ProgramStateProbe" or (source.arm, source.seed) in tracers:
                continue
            live = self._sources.live_steps.get(source.step)
            if live is None or not isinstance(live.spec, EvaluationStepSpec):
                continue
            if isinstance(live.spec.evaluation, ProgramStateProbe):
                tracers[source.arm, source.seed] = live.spec.evaluation.tracer
        return tracers

    @cached_property
    def _probed(self) -> Mapping[tuple[str, int], tuple[Walkthrough, ...]]:
        """The walkthroughs with probes that evaluations kept, by arm and seed."""
        kept: dict[tuple[str, int], tuple[Walkthrough, ...]] = {}
        for source in self._sources.evaluations:
            file = self._store.folder(source.step) / "walks.json"
            if file.exists():
                walks = from_json(json.loads(file.read_text(encoding="utf-8")), Walkthrough)
                kept[source.arm, source.seed] = (*kept.get((source.arm, source.seed), ()), *walks)
        return kept

    def walks(
        self, seed: int, readings: Sequence[ItemReadings], texts: Callable[[str], EntityTexts]
    ) -> Iterator[Walkthrough]:
        """The target and the last answers of each arm that can be drawn, each text once an arm."""
        by_name = {(one.arm, one.stage, one.name): one for one in self._sources.evaluations if one.seed == seed}
        seen: set[tuple[str, str]] = set()
        for one in readings:
            source, tracer = by_name.get((one.arm, one.stage, one.evaluation)), self._tracers.get((one.arm, seed))
            if source is None or source.type not in REPLIES or source.corpus is None or tracer is None:
                continue
            question = texts(source.corpus).questions.get(one.item)
            if question is None:
                continue
            last = one.checkpoints[-1]
            written = (f"{one.evaluation} ({one.outcome(last) or 'not judged'})", one.answer(last))
            for what, text in (("target", one.target), written):
                if text is not None and (one.arm, text) not in seen and tracer.is_traceable(text):
                    seen.add((one.arm, text))
                    yield self._walk(tracer, question, text, f"{one.arm}, {what}: {text}", (one.arm, seed))

    def _walk(
        self, tracer: ProgramTracer, question: Question, text: str, title: str, arm: tuple[str, int]
    ) -> Walkthrough:
        for kept in self._probed.get(arm, ()):
            if kept.title.startswith(f"{question.entity}: {text} ("):
                return Walkthrough(title=title, caption=kept.caption, frames=kept.frames)
        before, *after = tracer.render_steps(question, text)
        frames = [WalkthroughStep("(start)", before[1], None, ())]
        frames += [WalkthroughStep(word, picture, None, ()) for word, picture in after]
        caption = (
            "On the first input, with the operation that was carried out above each state. No probe's reading of this "
            "program was kept."
        )
        return Walkthrough(title=title, caption=caption, frames=tuple(frames))
