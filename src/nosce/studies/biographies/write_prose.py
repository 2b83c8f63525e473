"""Write biographies in the prose of a model behind an endpoint, checked fact by fact; then a world that tells them.

export OPENAI_API_KEY=...
export NOSCE_PRICE_IN=0.15 NOSCE_PRICE_OUT=0.60   # of a million tokens; what is not said costs nothing
python -m nosce.studies.biographies.write_prose texts.jsonl  # 200 people; run again, it goes on where it stopped
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nosce.data.worlds.biographies.prose import FreeBiographies, PrewrittenTexts, fact_phrases
from nosce.data.worlds.biographies.world import Biographies, person
from nosce.errors import NosceError
from nosce.models.api.cache import CachedChatModel, ResponseCache
from nosce.models.api.endpoint import EndpointConfig
from nosce.models.api.openai import OpenAIClient
from nosce.seeds import Seed
from nosce.studies.biographies.rewriting import Profile, RewritingConfig, rewrite_profiles

WORLD = Biographies(people=200, name_pool_sizes=(20, 20, 40))
SEED = Seed(0) / "world"  # the facts of a study's seed 0


def write_texts(file: Path) -> FreeBiographies:
    """The world of the texts."""
    endpoint = EndpointConfig.from_environment(os.environ.get("NOSCE_MODEL", "gpt-4o-mini"))
    replies = ResponseCache(file.with_suffix(".replies.jsonl"))
    people = [Profile(n, (who := person(WORLD, n, SEED)).name, fact_phrases(who)) for n in range(WORLD.people)]
    print(
        rewrite_profiles(
            CachedChatModel(OpenAIClient(endpoint, replies), replies), people, RewritingConfig(entries=1), SEED, file
        )
    )
    return FreeBiographies(population=WORLD, rewriter=PrewrittenTexts.from_file(file))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m nosce.studies.biographies.write_prose FILE")
    try:
        write_texts(Path(sys.argv[1]))
    except NosceError as error:
        sys.exit(f"{error}")
