"""The card of a model: which study and which claims answer each of its questions.

nosce card ./smollm2 --other ./gemma3 --budget 90m
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from nosce.errors import UsageError
from nosce.pipeline.cards.card import ModelCard, make_card
from nosce.pipeline.cards.planning import CardRequest
from nosce.pipeline.cards.questions import CardClaim, CardQuestion
from nosce.pipeline.command_lines import default_store_root
from nosce.pipeline.devices import DeviceRequest
from nosce.pipeline.from_python import setting_text
from nosce.store.store import Store
from nosce.studies import MODEL_CONFIGS
from nosce.studies.settings import apply_settings, names_field
from nosce.study import SCALES

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LEARNS = CardQuestion(
    id="asked",
    text="Can it be asked for what it learns by heart?",
    study="biographies",
    models="the model",
    combination="any",
    claims=(
        CardClaim(
            id="extraction-gap",
            if_holds="What it learns in five shuffled wordings it can be asked for more often than what it learns in "
            "one.",
            if_fails="Five shuffled wordings make what it learns no easier to ask for than one wording.",
            speaks="for",
            absent="Whether several wordings help: the two rows of the table were not both trained.",
        ),
        CardClaim(
            id="single-near-chance",
            if_holds="What it learns in one wording it can hardly be asked for: a guess is nearly as good.",
            if_fails="What it learns in one wording it can be asked for more often than a guess is right.",
            speaks="against",
            absent="Whether one wording is enough: the row of one wording was not trained.",
        ),
    ),
    figures=("accuracy",),
    judged="Exact match of the whole value and its end. The answer is the likeliest token at each place, given the "
    "right tokens before it, so it is no free reply.",
)
COUNTS = CardQuestion(
    id="how-much",
    text="Does it know how much it knows?",
    study="diaries",
    models="the model",
    claims=(
        CardClaim(
            id="count-known",
            if_holds="Asked for all that a person wrote, it gives the right number of entries more often than a blind "
            "guess.",
            if_fails="Asked for all that a person wrote, it gives the right number of entries no more often than a "
            "blind guess.",
            speaks="for",
        ),
        CardClaim(
            id="scattered-recalled",
            if_holds="More than half of the diaries whose entries stood apart are recited whole.",
            if_fails="At most half of the diaries whose entries stood apart are recited whole.",
        ),
    ),
    figures=("recalled", "by-number"),
    judged="The free reply is cut into entries. It counts where it has as many entries as the person wrote, and ends.",
)
KNOWS_ITSELF = CardQuestion(
    id="itself",
    text="Does it know what it would answer, better than others and a constant do?",
    study="introspection",
    models="the model and the others",
    claims=(
        CardClaim(
            id="self-beats-cross-A-*",
            if_holds="It is right about its own answers more often than {other}, which was taught the same.",
            if_fails="It is right about its own answers no more often than {other}, which was taught the same.",
            speaks="for",
            needs="others",
            absent="Better than another model: no --other was given.",
        ),
        CardClaim(
            id="self-beats-constant-A",
            if_holds="It is right about its own answers more often than the best constant reply.",
            if_fails="It is right about its own answers no more often than the best constant reply.",
            speaks="for",
            absent="Better than the best constant: the model was not taught, so nothing was tested.",
        ),
        CardClaim(
            id="self-beats-cross-A-*",
            if_holds="It is right about its own answers more often than a copy of it that learnt other answers first.",
            if_fails="It is right about its own answers no more often than a copy of it that learnt other answers "
            "first.",
            needs="no others",
        ),
    ),
    figures=("observers", "tasks"),
    judged="A report is right where it is the stated property of the answer that the model itself gives to the quoted "
    "prompt.",
)
STATES = CardQuestion(
    id="states",
    text="Are the states of a program in it?",
    study="karel",
    models="the model",
    claims=(
        CardClaim(
            id="position+0",
            if_holds="Once it has learnt programs, probes read the robot's position from its states better than from "
            "the words, or from the model before.",
            if_fails="Once it has learnt programs, probes read the robot's position from its states no better than "
            "from the words, or from the model before.",
            speaks="for",
            absent="Whether the position is in it: the study has no such claim for this model.",
        ),
        CardClaim(
            id="front+0",
            if_holds="So they read what stands before the robot.",
            if_fails="They read what stands before the robot no better than that.",
        ),
        CardClaim(
            id="selective",
            if_holds="The probe reads what is in the states, more than it memorises.",
            if_fails="The probe may only memorise.",
        ),
        CardClaim(
            id="writes-programs",
            if_holds="It writes programs that do what an unseen specification shows.",
            if_fails="It seldom writes programs that do what an unseen specification shows.",
        ),
    ),
    figures=("floors", "probes"),
    judged="The program is run on the specification's input; it is right where the end is the specified one.",
)
RISES = CardQuestion(
    id="rise",
    text="Do its abilities rise or jump along its checkpoints or its family?",
    study="emergence",
    models="the ladder",
    combination="any",
    words=("jumps", "rises"),
    claims=(
        CardClaim(
            id="*-exact-jumps",
            if_holds="Exact match makes half of its rise within a quarter of the range of sizes: it jumps.",
            if_fails="Exact match makes less than half of its rise within any quarter of the range of sizes.",
            speaks="for",
            absent="Whether exact match rises or jumps: the test needs models of five sizes. Give checkpoints or "
            "smaller and larger models with --ladder.",
        ),
        CardClaim(
            id="*-log-likelihood-smooth",
            if_holds="The log-likelihood of the same answers rises without a jump.",
            if_fails="The log-likelihood of the same answers jumps too.",
        ),
        CardClaim(
            id="*-edit-distance-smooth",
            if_holds="The edit distance of the same replies falls without a jump.",
            if_fails="The edit distance of the same replies jumps too.",
        ),
        CardClaim(
            id="*-falls/{model}",
            if_holds="{model} is right less often with each further digit of the answer.",
            if_fails="{model} is right as often with each further digit of the answer.",
        ),
    ),
    figures=("sizes", "lengths-exact"),
    judged="Exact match of the first line of the free reply.",
)
CARD_QUESTIONS = (LEARNS, COUNTS, KNOWS_ITSELF, STATES, RISES)


def card_request(
    model: str,
    *,
    others: Sequence[str] = (),
    ladder: str = "",
    scale: str = "laptop",
    settings: Sequence[str] = (),
    budget: str | None = None,
) -> CardRequest:
    """What a card is made from.

    Args:
        model: The model, as `--model` takes one.
        others: Other models, which predict the model's answers.
        ladder: Models by size, separated by commas. Empty: the model and the others.
        scale: Name of the scale of all studies.
        settings: Fields of the studies' configurations, each `key=value` for every study that has the field, or
            `study.key=value` for one.
        budget: Time for all studies together, e.g. 60m. None: the sizes of the scale.

    Raises:
        UsageError: There is no such scale, or a setting names no field of any study.
    """
    if scale not in SCALES:
        raise UsageError(f"there is no scale {scale!r}; take one of {', '.join(SCALES)}.")
    return CardRequest(
        model=model,
        others=tuple(part.strip() for other in others for part in other.split(",") if part.strip()),
        ladder=ladder,
        scale=scale,
        settings=tuple(settings),
        settings_by_study=_settings_by_study(settings, scale),
        budget=budget,
        questions=CARD_QUESTIONS,
    )


def card(
    model: str | Path,
    *,
    other: str | Path | Sequence[str | Path] = (),
    ladder: Sequence[str | Path] = (),
    scale: str = "laptop",
    settings: Mapping[str, object] | None = None,
    budget: str | None = None,
    store: str | Path | None = None,
    workers: int | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> ModelCard:
    """Ask a model the five questions of its card, and return the answers; `ModelCard.write` writes the page.

    Steps are made in processes of their own, as those of `nosce.run`: in a script, call this below
    `if __name__ == "__main__":`. A study that fails loses none of the others; its answer says so.

    Args:
        model: A folder, an id of the Hugging Face hub, or an endpoint.
        other: Other models, which predict the model's answers.
        ladder: Models by size, each with `=SIZE` behind it if need be. Empty: the model and the others.
        scale: Name of the scale of all studies.
        settings: Fields of the studies' configurations, e.g. `{"lora": 8, "diaries.n_diarists": 12}`.
        budget: Time for all studies together, e.g. "60m". None: the sizes of the scale.
        store: Folder of the results. None: $NOSCE_STORE, else .nosce/ in the current folder.
        workers: Steps made at once. None: one a core, or one a GPU.
        device: "cpu", "cuda" or one GPU such as "cuda:1". None: "cuda" where there is a GPU.
        quiet: Print no progress; it goes to stderr otherwise.

    Raises:
        UsageError: A model, a setting or a scale is not there, or the budget is too little for every question.
        SpecError: No study can be run on the model.
        Interrupted: The user stopped it; the same call goes on.
    """
    others = [other] if isinstance(other, str | Path) else list(other)
    request = card_request(
        str(model),
        others=[str(one) for one in others],
        ladder=",".join(map(str, ladder)),
        scale=scale,
        settings=[f"{key}={setting_text(value)}" for key, value in (settings or {}).items()],
        budget=budget,
    )
    opened_store = Store.open(Path(store) if store is not None else default_store_root())
    console = Console(stderr=True, soft_wrap=True, quiet=quiet)
    return make_card(request, opened_store, console, devices=DeviceRequest(workers=workers, device=device))


def _settings_by_study(settings: Sequence[str], scale: str) -> dict[str, tuple[str, ...]]:
    """The settings of each study that takes a model.

    Raises:
        UsageError: No study has the field.
    """
    studies = list(dict.fromkeys(one.study for one in CARD_QUESTIONS if one.study in MODEL_CONFIGS))
    chosen: dict[str, list[str]] = {study: [] for study in studies}
    for setting in settings:
        first, _, rest = setting.partition(".")
        named = [first] if first in studies else [one for one in studies if _has_field(one, scale, setting)]
        if not named:
            key = setting.partition("=")[0]
            raise UsageError(
                f"--set {key}=... names a field of none of {', '.join(studies)}; `nosce list {studies[0]}` has the "
                "fields of one of them."
            )
        for study in named:
            chosen[study].append(rest if first in studies else setting)
    for study, parts in chosen.items():
        if (config := _config(study, scale)) is not None:
            apply_settings(config, parts, study=study)  # a wrong value is said before any work
    return {study: tuple(parts) for study, parts in chosen.items()}


def _config(study: str, scale: str) -> DataclassInstance | None:
    """The configuration of a study on a model; None for a scale that the study does not have."""
    module, _, variable = MODEL_CONFIGS[study].partition(":")
    configs: Mapping[str, Callable[[], DataclassInstance]] = vars(importlib.import_module(module))[variable]
    return configs[scale]() if scale in configs else None


def _has_field(study: str, scale: str, setting: str) -> bool:
    config = _config(study, scale)
    return config is not None and names_field(config, setting.partition("=")[0])
