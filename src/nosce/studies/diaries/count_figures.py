"""The figures of the study diaries that ask where the number of entries is stored: in titles, or in hidden states."""

from __future__ import annotations

import json
from pathlib import Path

from nosce.analysis.figures import BarCell, BarFigure
from nosce.analysis.measures import Contrast, Mean
from nosce.models.architecture import Architecture, Pretrained
from nosce.studies.diaries.arms import (
    HEADER_MASKED,
    HEADER_NAME_ONLY,
    HEADER_NUMBER_FIRST,
    HEADER_REPEATED,
    SCATTERED,
    SETUPS,
)
from nosce.studies.diaries.config import DiariesConfig
from nosce.studies.diaries.selections import (
    HEADER_FREQUENCIES,
    UNSEEN_DIARISTS_CAPTION,
    count_probe_scores,
    header_nats,
    patched_stop_scores,
    recitation_scores,
    reference_arm,
    stop_auc,
)

_PATCHING_CAPTION = (
    "; and the share of hosts that stop behind as many entries as a donor with fewer has, with the donor's hidden "
    "states patched into the question."
)


def localization_figure(config: DiariesConfig) -> BarFigure:
    """By layer: whether a probe reads the number of entries, and whether a donor's patched states move it."""
    family, _, largest = config.primary_ladder
    n_layers = _num_layers(config.model(family, largest))
    sites = [*(f"residual.{layer}" for layer in range(n_layers)), "final"]
    cells = []
    for setup in SETUPS:
        arm = reference_arm(config, setup)
        for site in sites:
            cells += _count_probe_cells(arm, setup, site)
            cells += _count_patching_cells(arm, setup, site) if config.patching else []
        guess = Mean(selection=count_probe_scores(arm, "constant/question"))
        unpatched = Mean(selection=patched_stop_scores(arm, "unpatched"))
        for site in sites:
            baseline_label = "best constant, or unpatched"
            cells.append(BarCell(site, baseline_label, guess, _probe_panel(setup), baseline=True))
            if config.patching:
                cells.append(BarCell(site, baseline_label, unpatched, _patching_panel(setup), baseline=True))
    return BarFigure(
        id="where",
        title="Where is the number of entries represented?",
        caption=f"Linear probes by layer, {UNSEEN_DIARISTS_CAPTION}{_PATCHING_CAPTION if config.patching else '.'}",
        y_label="share",
        cells=tuple(cells),
    )


def _num_layers(model: Architecture | Pretrained) -> int:
    """Blocks of an architecture, or of a pretrained folder's decoder."""
    if isinstance(model, Architecture):
        return model.layers
    from transformers import AutoConfig

    loaded = AutoConfig.for_model(**json.loads((Path(model.folder) / "config.json").read_text(encoding="utf-8")))
    return int(loaded.get_text_config(decoder=True).num_hidden_layers)


def _probe_panel(setup: str) -> str:
    return f"number read by a probe, {setup}"


def _patching_panel(setup: str) -> str:
    return f"stops where the donor's ends, {setup}"


def _count_probe_cells(arm: str, setup: str, site: str) -> list[BarCell]:
    """How often a probe reads the number of entries at a site."""
    metrics = {
        "at the question's end": f"question/{site}",
        "at a title's end": f"title/{site}",
        "shuffled numbers": f"shuffled/question/{site}",
    }
    measures = {group: Mean(selection=count_probe_scores(arm, metric)) for group, metric in metrics.items()}
    return [BarCell(site, group, measure, _probe_panel(setup)) for group, measure in measures.items()]


def _count_patching_cells(arm: str, setup: str, site: str) -> list[BarCell]:
    """How often a host stops where the donor's diary ends, with the donor's states patched in at a site."""
    metrics = {
        "question's last token": f"last/donor/{site}",
        "whole question": f"whole/donor/{site}",
        "whole, donor of equal number": f"whole/same/{site}",
    }
    measures = {group: Mean(selection=patched_stop_scores(arm, metric)) for group, metric in metrics.items()}
    return [BarCell(site, group, measure, _patching_panel(setup)) for group, measure in measures.items()]


def header_figures(config: DiariesConfig) -> tuple[BarFigure, ...]:
    """Whether the loss on titles stores the number of entries, and what a title says about it."""
    plain = reference_arm(config)
    if not config.has_primary_decoder:
        return ()
    if not config.has_title_arms:
        return (_header_nats_figure({"plain": plain}),)
    number_first = {"number before the name": HEADER_NUMBER_FIRST} if config.ablations else {}
    arms: dict[str, str] = {"plain": plain, "title's loss masked": HEADER_MASKED, **number_first}
    encoders = config.trained_encoder_decoders
    arms |= {f"{family}": reference_arm(config, SCATTERED, family) for family in encoders}
    if encoders:
        arms |= {"title repeated": HEADER_REPEATED, "title learnt": HEADER_NAME_ONLY}
    cells = []
    for label, arm in arms.items():
        cells += [
            BarCell("stops told (area)", label, stop_auc(arm)),
            BarCell("whole", label, Mean(selection=recitation_scores(arm))),
            BarCell("number of entries", label, Mean(selection=recitation_scores(arm, "count"))),
        ]
    return _header_ablation_figure(tuple(cells)), _header_nats_figure({"plain": plain, **number_first})


def _header_ablation_figure(cells: tuple[BarCell, ...]) -> BarFigure:
    return BarFigure(
        id="puzzle",
        title="Does the loss on titles store the number?",
        caption=f"{UNSEEN_DIARISTS_CAPTION.capitalize()}: how well stops are recognised (a half is chance), "
        "whole diaries, the number. Scattered documents, largest size. The last two are of the encoder-decoder: with "
        "the title repeated, its encoder reads the title with the number; with the title learnt, its encoder reads the "
        "name alone.",
        y_label="share",
        cells=cells,
    )


def _header_nats_figure(arms: dict[str, str]) -> BarFigure:
    """What the number in a title costs a model that learns to write the title."""
    cells = []
    for label, arm in arms.items():
        saved = Contrast(terms=((1.0, header_nats(arm, evaluation=HEADER_FREQUENCIES)), (-1.0, header_nats(arm))))
        max_saved = Contrast(
            terms=(
                (1.0, header_nats(arm, evaluation=HEADER_FREQUENCIES)),
                (-1.0, header_nats(arm, "nats/own", HEADER_FREQUENCIES)),
            )
        )
        cells += [BarCell(label, "saved", saved), BarCell(label, "the most there is", max_saved, baseline=True)]
    return BarFigure(
        id="titles",
        title="What titles say about the number",
        caption="Nats that the number in a document's title costs less than a predictor that does not know the "
        "name, over all documents: a measure of the count that asks no question.",
        y_label="nats saved",
        cells=tuple(cells),
        unit="number",
    )
