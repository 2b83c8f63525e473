"""Write biographies in the prose of a language model, checked fact by fact, for the study's arm `written by a model`.

export OPENAI_API_KEY=...
export NOSCE_PRICE_IN=0.15 NOSCE_PRICE_OUT=0.60   # of a million tokens; what is not said costs nothing
python -m nosce.studies.biographies.write_prose texts.jsonl                     # by the endpoint's NOSCE_MODEL
python -m nosce.studies.biographies.write_prose texts.jsonl --model ./smollm2   # by a folder, which asks no endpoint
nosce run biographies --set written=texts.jsonl

The people are the first of the study at the scale and seed 0, so the study reads the texts at seed 0. Run again, it
goes on where it stopped. A text counts if the name and all six values stand in it letter for letter, for which a small
model needs many attempts.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nosce.data.worlds.biographies.prose import fact_phrases
from nosce.data.worlds.biographies.world import Biographies, person
from nosce.errors import NosceError
from nosce.models.api.base import ChatModel
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.local import LocalChatModel
from nosce.models.api.openai import OpenAIClient
from nosce.seeds import Seed
from nosce.studies.biographies.rewriting import Profile, RewritingConfig, RewritingStats, rewrite_profiles
from nosce.studies.biographies.scales import biographies_config

SEED = Seed(0) / "world"  # the facts of a study's seed 0


def write_texts(
    world: Biographies, model: ChatModel, replies: ResponseCache, config: RewritingConfig, file: Path
) -> RewritingStats:
    """Write the texts about all people of a world into a file.

    Args:
        world: The people.
        model: Writes the texts.
        replies: Keeps every reply, so that nothing is asked twice.
        config: How texts are requested.
        file: Gets the texts.

    Raises:
        DataError: After all attempts a person has no text.
    """
    people = [Profile(n, (who := person(world, n, SEED)).name, fact_phrases(who)) for n in range(world.people)]
    return rewrite_profiles(CachedChatModel(model, replies), people, config, SEED, file)


def write_from_command_line(arguments: Sequence[str] | None = None) -> None:
    """Write the texts that the command line asks for, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="gets the texts")
    parser.add_argument("--model", type=Path, help="folder of a chat model; without one, the endpoint writes")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--entries", type=int, default=1, help="texts of each person")
    parser.add_argument("--attempts", type=int, default=5, help="at a text")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--scale", default="laptop", help="of the study that reads the texts")
    options = parser.parse_args(arguments)
    world = biographies_config(options.scale, [f"world.people={options.people}"]).world
    config = RewritingConfig(entries=options.entries, attempts=options.attempts, temperature=options.temperature)
    replies = ResponseCache(options.file.with_suffix(".replies.jsonl"))
    print(write_texts(world, _model(options.model, replies), replies, config, options.file))


def _model(folder: Path | None, replies: ResponseCache) -> ChatModel:
    """The model in a folder, or the one behind the endpoint that the environment names."""
    if folder is not None:
        return LocalChatModel(folder)
    endpoint = EndpointConfig.from_environment(os.environ.get("NOSCE_MODEL", "gpt-4o-mini"))
    return OpenAIClient(endpoint, replies)


if __name__ == "__main__":
    try:
        write_from_command_line()
    except NosceError as error:
        sys.exit(f"{error}")
