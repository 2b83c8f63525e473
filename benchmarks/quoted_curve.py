"""How many quoted answers teach a model to report properties of an answer that it can read, by property.

    PYTHONPATH=src python benchmarks/quoted_curve.py FOLDER --out DIR [--settings world:2000:32:5e-4,words:2000:0:1e-4]
        [--properties "first character,starts with vowel"] [--questions 80]

Claims of `nosce run introspection --model` need this skill in more than 95 % of such questions. Each setting teaches
the folder, by the study's own recipe, so many different questions about quoted answers, each once, and nothing about
its own. `world` quotes random answers of the built-in tasks, as `given_per_label` does; `words` quotes texts of words
of the folder's own vocabulary. The third part of a setting is the rank of the low-rank updates, as `--lora` (0 trains
all weights), the fourth the peak learning rate. The models are then tested with the folder's answers to prompts of the
unseen split, and with texts of words that no training has. Intervals are Wilson's over questions. Adds the settings to
DIR/quoted_curve.csv.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import binomtest

from nosce.data.worlds.behaviours.natural_text import LIST_PROPERTIES, NaturalTextBehaviours
from nosce.models.api.base import ChatRequest, complete_all
from nosce.models.api.finetune import ChatExample
from nosce.models.api.local import LocalChatModel
from nosce.pipeline.context import StepContext
from nosce.seeds import Seed
from nosce.studies.introspection.asked import MEASURED_TASKS, PROMPTED_INTROSPECTION_CONFIGS
from nosce.studies.introspection.finetune import finetune_local_model
from nosce.studies.introspection.prompted_scoring import ReplyScorer, is_report_match
from nosce.studies.introspection.quoted_texts import quoted_examples, vocabulary
from nosce.studies.models import low_rank_update
from nosce.train.config import RuntimeConfig

SEED = Seed(0) / "quoted curve"
Quoted = tuple[str, str, str]  # a property, the question that quotes an answer, the label


def world_of(n_strings: int) -> NaturalTextBehaviours:
    return NaturalTextBehaviours(strings_per_task=n_strings, tasks=MEASURED_TASKS)


def quoted(world: NaturalTextBehaviours, text: str, name: str) -> Quoted | None:
    """A question about a property of a text; None where it has none that a report can match."""
    label = world.property_value(name, text, SEED)
    return (name, world.given_answer_question(text, name), label) if label and label == label.strip() else None


def world_questions(names: Sequence[str], n: int) -> list[Quoted]:
    """Questions that quote random answers of the seen split of the built-in tasks, no question twice."""
    world, found = world_of(n), {}
    for prompt in world.prompts(SEED / "world"):
        text = world.random_answer(prompt, SEED / "quoted") if prompt.split == "seen" else ""
        for name in prompt.property_names if text else ():
            if name in names and (one := quoted(world, text, name)):
                found.setdefault(one[1], one)
    return shuffled(list(found.values()), "world order")[:n]


def word_questions(words: Sequence[str], names: Sequence[str], n: int, seed: Seed) -> list[Quoted]:
    """Questions that quote texts of words, the properties in turn."""
    examples = quoted_examples(world_of(2), names, words, n, seed)
    return [(names[number % len(names)], one.prompt, one.completion) for number, one in enumerate(examples)]


def own_questions(folder: Path, names: Sequence[str], per_property: int) -> list[Quoted]:
    """Questions that quote the folder's own answers to prompts of the unseen split, at most so many a property."""
    world = world_of(40)
    prompts = [prompt for prompt in world.prompts(SEED / "tested") if prompt.split == "unseen"]
    replies = complete_all(chat(folder), [ChatRequest.from_user(p.text, max_new_tokens=24) for p in prompts])
    scorer, found = ReplyScorer(world, SEED), {}
    for prompt, reply in zip(prompts, replies, strict=True):
        for name in prompt.property_names:
            if name in names and scorer.label(prompt, name, reply) is not None:
                one = quoted(world, reply.text, name)
                found.setdefault(one[1], one) if one else None
    kept, counts = [], Counter()
    for one in shuffled(list(found.values()), "tested order"):
        counts[one[0]] += 1
        kept += [one] if counts[one[0]] <= per_property else []
    return kept


def shuffled(values: list[Quoted], name: str) -> list[Quoted]:
    return [values[place] for place in (SEED / name).numpy().permutation(len(values)).tolist()]


def chat(folder: Path) -> LocalChatModel:
    return LocalChatModel(folder, dtype="float32")


def taught(folder: Path, questions: Sequence[Quoted], rank: int, rate: float, out: Path) -> Path:
    """The folder after it was taught questions, each once, by the recipe of the scale laptop."""
    config = PROMPTED_INTROSPECTION_CONFIGS["laptop"]()
    training = replace(config.training, steps=max(1, len(questions) // config.training.batch_size), peak_lr=rate)
    examples = [ChatExample(question, label) for _, question, label in questions]
    context = StepContext(folder=out / "step", runtime=RuntimeConfig(threads=torch.get_num_threads()))
    finetune_local_model(folder, examples, training, low_rank_update(rank), out / "taught", SEED / "teaching", context)
    return out / "taught"


def rows(folder: Path, tests: dict[str, list[Quoted]]) -> Iterator[dict[str, object]]:
    """How often a folder's model is right, by the kind of text and by property, beside the best constant."""
    for kind, questions in tests.items():
        requests = [ChatRequest.from_user(question, max_new_tokens=8) for _, question, _ in questions]
        replies = complete_all(chat(folder), requests)
        right = [is_report_match(r.text, label) for r, (_, _, label) in zip(replies, questions, strict=True)]
        for name in ("all", *dict.fromkeys(one[0] for one in questions)):
            of = [n for n, one in enumerate(questions) if name in ("all", one[0])]
            k, counts = sum(right[n] for n in of), Counter(questions[n][2] for n in of)
            low, high = binomtest(k, len(of)).proportion_ci(method="wilson")
            constant = counts.most_common(1)[0][1] / len(of)
            values = {"tested": kind, "property": name, "n": len(of), "right": k / len(of)}
            yield values | {"low": low, "high": high, "constant": None if name == "all" else constant}


def main() -> None:
    """Teach and test the folder in each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--settings", default="none:0:0:0,world:2000:32:5e-4,words:2000:32:5e-4,words:2000:0:1e-4,words:4000:0:3e-4"
    )
    parser.add_argument("--properties", default=",".join(LIST_PROPERTIES))
    parser.add_argument("--questions", type=int, default=20, help="questions a property that test a model")
    options = parser.parse_args()
    names, per_property = options.properties.split(","), options.questions
    options.out.mkdir(parents=True, exist_ok=True)
    words = shuffled_words(vocabulary(options.folder))
    tested_words, taught_words = words[: len(words) // 10], words[len(words) // 10 :]
    tests = {
        "own answers": own_questions(options.folder, names, per_property),
        "words": word_questions(tested_words, names, per_property * len(names), SEED / "tested texts"),
    }
    table = options.out / "quoted_curve.csv"
    found = pl.read_csv(table).to_dicts() if table.is_file() else []
    for setting in options.settings.split(","):
        (kind, n, rank, rate), start = setting.split(":"), time.perf_counter()
        questions = {
            "none": lambda n: [],
            "world": lambda n: world_questions(names, n),
            "words": lambda n: word_questions(taught_words, names, n, SEED / "taught texts"),
        }[kind](int(n))
        place = options.out / setting.replace(":", "-")
        folder = taught(options.folder, questions, int(rank), float(rate), place) if questions else options.folder
        minutes = round((time.perf_counter() - start) / 60, 1)
        facts = {
            "source": kind,
            "properties": len(names),
            "examples": len(questions),
            "rank": int(rank),
            "rate": float(rate),
            "minutes": minutes,
        }
        found += [facts | row for row in rows(folder, tests)]
        pl.DataFrame(found, infer_schema_length=None).write_csv(table, float_precision=4)
        for row in found[-2 * (1 + len(names)) :]:
            print(setting, row["tested"], row["property"], f"{100 * row['right']:.0f} % of {row['n']}", flush=True)


def shuffled_words(words: list[str]) -> np.ndarray:
    return (SEED / "words").numpy().permutation(words)


if __name__ == "__main__":
    main()
