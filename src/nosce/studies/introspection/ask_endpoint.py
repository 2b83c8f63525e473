"""Introspection of a model behind any endpoint that speaks OpenAI's protocol, and of another taught as many labels.

export OPENAI_API_KEY=...        # read from the environment alone, never stored
export NOSCE_PRICE_IN=0.15 NOSCE_PRICE_OUT=0.60   # of a million tokens, by your contract, for --max-cost
nosce run nosce.studies.introspection.ask_endpoint:study --max-cost 20

NOSCE_TUNING=no asks a server without fine-tuning jobs all that needs none.
"""

from __future__ import annotations

import os

from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours
from nosce.models.api.endpoint import EndpointConfig, yes_or_no
from nosce.models.api.finetune import FineTuningJobConfig
from nosce.studies.introspection.prompted import PromptedIntrospection
from nosce.studies.introspection.study import prompted_introspection_study
from nosce.studies.introspection.subjects import RemoteSubject
from nosce.study import Scale, Study

#: One round, batch of 20, twice the usual rate: appendix A.1.1 of the paper.
TUNING = FineTuningJobConfig(epochs=1, batch_size=20, learning_rate_multiplier=2.0)


def study(scale: Scale) -> Study:
    """The scale sets the number of strings a task. Answers are requested twice: an endpoint's answers may differ."""
    strings = {"smoke": 4, "laptop": 60, "gpu": 400, "paper": 1_000}.get(scale, 60)
    tuning = TUNING if yes_or_no("NOSCE_TUNING") else None
    model, other_model = (os.environ.get(name, "") or "gpt-4o-mini" for name in ("NOSCE_MODEL", "NOSCE_OTHER"))
    subject, other = _remote_subject(model, tuning), _remote_subject(other_model, tuning)
    experiment = PromptedIntrospection(
        world=NaturalTextBehaviours(strings_per_task=strings),
        subject=subject,
        other_subjects=(other,) if other != subject and tuning is not None else (),
        repeat_answers=True,
        n_samples=20 if scale == "paper" else 0,
    )
    return prompted_introspection_study(experiment, scale=scale)


def _remote_subject(model: str, tuning: FineTuningJobConfig | None) -> RemoteSubject:
    return RemoteSubject(endpoint=EndpointConfig.from_environment(model), tuning=tuning)
