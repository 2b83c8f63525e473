"""Logs of inspect_ai 0.3.285 with `mockllm/model`: six made-up models on two tasks; only the .eval files are kept.

python inspect_logs.py FOLDER
"""

import random  # noqa: TID251
import sys

from inspect_ai import Task
from inspect_ai import eval as ieval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import choice, f1, match
from inspect_ai.solver import generate, multiple_choice

out = sys.argv[1]
rng = random.Random(1)
N = 12


def answers(texts):
    it = iter(texts)

    def f(input, tools, tool_choice, config):
        o = ModelOutput.from_content("m", next(it))
        o.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return o

    return f


samples = [Sample(id=f"q{i}", input=f"{i}+{i}=", target=str(2 * i)) for i in range(N)]
mc = [Sample(id=f"m{i}", input="which?", choices=["a", "b", "c", "d"], target="ABCD"[i % 4]) for i in range(N)]
for size, p in [
    ("tiny-70m", 0.0),
    ("tiny-160m", 0.1),
    ("tiny-410m", 0.15),
    ("tiny-1b", 0.2),
    ("tiny-1.4b", 0.9),
    ("tiny-2.8b", 1.0),
]:
    texts = [s.target if rng.random() < p else "7 or so" for s in samples]
    for fmt in ("eval", "json"):
        t = Task(dataset=MemoryDataset(samples, name="sums"), solver=generate(), scorer=[match(), f1()], name="sums")
        log = ieval(
            t,
            model=get_model("mockllm/" + size, custom_outputs=answers(texts)),
            log_dir=f"{out}/{fmt}",
            log_format=fmt,
            display="none",
            max_samples=1,
            max_connections=1,
            log_realtime=False,
        )
        print(
            size,
            log[0].status,
            log[0].results.scores[0].metrics["accuracy"].value if log[0].results else log[0].error.message[:300],
        )
    t = Task(dataset=MemoryDataset(mc, name="mc"), solver=multiple_choice(), scorer=choice(), name="letters")
    outs = [
        "ANSWER: " + (s.target if rng.random() < max(p, 0.25) else "ABCD"[("ABCD".index(s.target) + 1) % 4]) for s in mc
    ]
    ieval(
        t,
        model=get_model("mockllm/" + size, custom_outputs=answers(outs)),
        log_dir=f"{out}/eval",
        log_format="eval",
        display="none",
        max_samples=1,
        max_connections=1,
    )
