"""Documents per second and peak memory of the biographies world, at 1,000, 10,000 and 100,000 people.

Each size is rendered in a process of its own, and once more as a whole corpus (rendered, tokenized, written, on two
cores), several times in turn. Peaks are those of the largest process and, where there are several, of its largest
helper. The ratio is that of the smallest size's seconds per document to this one's: 1 says that the
cost of a document stays the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

from measure import in_turns, write

RENDER = """
import json, resource, sys, tempfile, time
from pathlib import Path
from nosce.seeds import Seed
from nosce.pipeline.steps import corpus
from nosce.pipeline.context import StepContext
from nosce.data.tokenizer import TokenizerSpec
from nosce.train.config import RuntimeConfig
from nosce.data.worlds.biographies.world import Biographies
people, what = int(sys.argv[1]), sys.argv[2]
world = Biographies(people=people, augmentation="multi5+permute")
start, count = time.perf_counter(), 0
if what == "rendered":
    for document in world.documents(Seed(0)):
        count += 1
else:
    with tempfile.TemporaryDirectory() as folder:
        spec = corpus.CorpusSpec(world=world, seed=Seed(0), tokenizer=TokenizerSpec())
        context = StepContext(folder=Path(folder) / "corpus", runtime=RuntimeConfig(threads=2))
        corpus.make(spec, {}, context)
    count = 5 * people
seconds = time.perf_counter() - start
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"seconds": seconds, "documents": count, "mib": peaks}))
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    for what in ("rendered", "written"):
        peaks: dict[str, list[float]] = {}

        def made(people: int, what: str = what, peaks: dict[str, list[float]] = peaks) -> float:
            done = subprocess.run(
                [sys.executable, "-c", RENDER, str(people), what], capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout)
            peaks[str(people)] = [max(pair) for pair in zip(peaks.get(str(people), [0, 0]), found["mib"], strict=True)]
            return found["seconds"] / found["documents"]

        found = in_turns({str(p): lambda p=p: made(p) for p in chosen.people}, chosen.repeats)
        smallest = found[str(min(chosen.people))]
        for people, each in found.items():
            whole = [seconds * 5 * int(people) for seconds in each]
            scaled = [seconds * 5 * int(people) for seconds in smallest]
            note = f"{1 / statistics.median(each):,.0f} documents/s; {peaks[people][0]:,.0f} MiB peak"
            note += f", helpers {peaks[people][1]:,.0f} MiB each" if peaks[people][1] else ""
            write("worlds", f"biographies multi5+permute, {int(people):,} people x 5, {what}", whole, scaled, note)


if __name__ == "__main__":
    main()
