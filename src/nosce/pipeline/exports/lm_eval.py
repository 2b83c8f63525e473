"""`nosce export --as lm-eval`: the questions of a checkpoint as tasks of lm-evaluation-harness.

NAME.yaml                the group of all tasks
NAME_<set>.yaml          one task for each evaluation and split
<set>.jsonl              its questions
questions.py             reads them, wherever the folder lies
nosce.json               our numbers

The prompt is the question's text and nothing else, decoding is greedy, and right is a reply that equals the target. The
tasks name fields of the data instead of templates, so that no character of a question means anything to Jinja.
Source: lm-evaluation-harness, docs/task_guide.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nosce.data.tokenizer import read_settings
from nosce.errors import UsageError
from nosce.models.architecture import ENCODER_FAMILIES
from nosce.pipeline.exports.asked import AskedSet, asked_sets, task_name
from nosce.pipeline.exports.target import ExportTarget, write_files

READER = '''"""Questions of a task, from the file beside this one (lm-evaluation-harness calls `load`)."""

import json
from pathlib import Path

from datasets import Dataset


def load(file, **_):
    """The questions of a file as the split `test`."""
    lines = Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()
    return {"test": Dataset.from_list([json.loads(line) for line in lines])}
'''


def write_lm_eval_tasks(target: ExportTarget, folder: Path) -> str:
    """Write one task for each evaluation and split, and a group of all.

    Args:
        target: The checkpoint.
        folder: Where to write.

    Returns:
        A sentence on what was written.

    Raises:
        UsageError: The checkpoint was asked no questions with exact answers, its model generates no text, or prompt
            and answer together exceed its positions.
        NosceError: The disk refuses.
    """
    sets, config = asked_sets(target), read_settings(target.checkpoint_folder / "config.json")
    _check_model(target, sets, config)
    group = task_name(target)
    files = {"questions.py": READER, f"{group}.yaml": _group_yaml(group, sets)}
    for one in sets:
        files[f"{one.short_name}.jsonl"] = one.lines()
        files[f"{group}_{one.short_name}.yaml"] = _task_yaml(f"{group}_{one.short_name}", one)
    command = lm_eval_command(group, opens_with_eos=not config.get("is_encoder_decoder"))
    files["nosce.json"] = json.dumps({"tasks": [one.numbers() for one in sets]}, indent=2) + "\n"
    files["README.md"] = _read_me(target, group, sets, command)
    write_files(folder, files)
    return f"the tasks {group} of {target.label} are now in {folder}; there, `{command}` runs them."


def lm_eval_command(group: str, *, opens_with_eos: bool) -> str:
    """The command that runs a group in its folder, on the exported model in the folder `MODEL`."""
    opening = ",add_bos_token=True" if opens_with_eos else ""
    words = ["lm_eval", "--model", "hf", "--model_args", f"pretrained=MODEL{opening}"]
    return " ".join([*words, "--include_path", ".", "--tasks", group])


def _check_model(target: ExportTarget, sets: Sequence[AskedSet], config: dict[str, object]) -> None:
    if config["model_type"] in ENCODER_FAMILIES:
        raise UsageError(
            f"{target.label} is a bidirectional model, which writes no text, so lm-evaluation-harness cannot ask it; "
            "take --as dataset or --as inspect."
        )
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    for one in sets:
        length = 1 + one.max_prompt_tokens + one.max_new_tokens
        if isinstance(positions, int) and length > positions and not config.get("is_encoder_decoder"):
            raise UsageError(
                f"the longest prompt of {one.evaluation} ({one.max_prompt_tokens:,} tokens) and its longest answer "
                f"({one.max_new_tokens:,}) exceed the {positions:,} positions of the model together, and "
                "lm-evaluation-harness would cut prompts; take --as dataset or --as inspect."
            )


def _group_yaml(group: str, sets: Sequence[AskedSet]) -> str:
    names = "".join(f"  - {group}_{one.short_name}\n" for one in sets)
    return (
        f"group: {group}\ntask:\n{names}aggregate_metric_list:\n  - metric: exact_match\n    weight_by_size: true\n"
        "metadata:\n  version: 1.0\n"
    )


def _task_yaml(name: str, asked: AskedSet) -> str:
    """A task; all names in it are of small letters, digits and underscores."""
    return (
        f"task: {name}\n"
        "custom_dataset: !function questions.load\n"
        f"dataset_kwargs:\n  file: {asked.short_name}.jsonl\n"
        "test_split: test\noutput_type: generate_until\nnum_fewshot: 0\n"
        'doc_to_text: prompt\ndoc_to_target: target\ntarget_delimiter: ""\n'
        f"generation_kwargs:\n  until: [{_yaml_string(asked.eos_token)}]\n  do_sample: false\n  temperature: 0.0\n"
        f"  max_gen_toks: {asked.max_new_tokens}\n"
        "metric_list:\n  - metric: exact_match\n    aggregation: mean\n    higher_is_better: true\n"
        "metadata:\n  version: 1.0\n"
    )


def _yaml_string(text: str) -> str:
    """A text in YAML's double quotes, with every character but those of ASCII written as its number.

    JSON's way to write a character beyond 65,535 as two halves would be two characters in YAML.
    """
    plain = {sign for sign in map(chr, range(32, 127)) if sign not in '"\\'}
    return '"' + "".join(sign if sign in plain else f"\\U{ord(sign):08x}" for sign in text) + '"'


def _read_me(target: ExportTarget, group: str, sets: Sequence[AskedSet], command: str) -> str:
    rows = "".join(f"| `{group}_{one.short_name}` | {len(one.items):,} | {one.accuracy:.4f} |\n" for one in sets)
    return (
        f"# {target.study.title}: {target.label}\n\nTasks of lm-evaluation-harness from the study "
        f"`{target.study.name}` at scale `{target.study.scale}`. Write the model with `nosce export` into a folder, "
        f"put that folder in the place of MODEL, and run here:\n\n    {command}\n\n"
        f"nosce's own numbers, of the same checkpoint:\n\n| task | questions | exact match |\n|---|---|---|\n{rows}"
    )
