"""Exported tasks of lm-evaluation-harness: their form, and that its accuracy is ours."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.fixtures.tool_pythons import python_with, run_tool
from tests.pipeline.exports.test_asked import HOSTILE, hostile_set, smoke_target

from nosce.errors import UsageError
from nosce.pipeline.export import export_checkpoint
from nosce.pipeline.exports import lm_eval
from nosce.pipeline.exports.asked import asked_sets

GROUP = "nosce_biographies_adamw_smoke_multi5_permute"


class _Loader(yaml.SafeLoader):
    """The harness's tag for a function beside the file."""


_Loader.add_constructor("!function", lambda loader, node: f"function {loader.construct_scalar(node)}")


def read_yaml(text: str) -> dict[str, object]:
    """A task's file as the harness reads it."""
    return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader with one tag more


@pytest.fixture
def tasks(smoke_store, tmp_path):
    """The folder with the tasks of the smoke study."""
    said = export_checkpoint(smoke_target(smoke_store), tmp_path / "tasks", "lm-eval", "unknown")
    assert f"--tasks {GROUP}`" in said
    return tmp_path / "tasks"


def test_the_tasks_ask_the_prompts_and_nothing_else(tasks, smoke_store):
    """Fields in place of templates, no blank before the target, greedy, and room for the longest answer."""
    group = read_yaml((tasks / f"{GROUP}.yaml").read_text())
    assert group["group"] == GROUP
    for one, name in zip(asked_sets(smoke_target(smoke_store)), group["task"], strict=True):
        task = read_yaml((tasks / f"{name}.yaml").read_text())
        assert task["task"] == name
        assert (task["doc_to_text"], task["doc_to_target"], task["target_delimiter"]) == ("prompt", "target", "")
        assert task["generation_kwargs"]["do_sample"] is False
        assert task["generation_kwargs"]["max_gen_toks"] == one.max_new_tokens
        rows = [json.loads(line) for line in (tasks / task["dataset_kwargs"]["file"]).read_text().splitlines()]
        assert [(row["prompt"], row["target"]) for row in rows] == [
            (item.question.prompt, item.question.target) for item in one.items
        ]
    assert {one["accuracy"] for one in json.loads((tasks / "nosce.json").read_text())["tasks"]}
    compile((tasks / "questions.py").read_text(), "questions.py", "exec")


def test_a_hostile_end_token_is_text(tmp_path):
    """Quotes, line ends and tags of YAML stay inside the string that they are in."""
    task = read_yaml(lm_eval._task_yaml("name", hostile_set(tmp_path)))
    assert task["generation_kwargs"]["until"] == [HOSTILE]
    assert task["custom_dataset"] == "function questions.load"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "modernbert"}, "is a bidirectional model, which writes no text"),
        ({"model_type": "gpt_neox", "max_position_embeddings": 13}, r"\(9 tokens\) .* exceed the 13 positions"),
    ],
)
def test_what_the_harness_would_ask_otherwise_is_refused(config, said, smoke_store, tmp_path):
    """A model that writes nothing, and prompts that would be cut."""
    with pytest.raises(UsageError, match=said):
        lm_eval._check_model(smoke_target(smoke_store), [hostile_set(tmp_path)], config)


def test_prompts_that_fit_are_not_refused(smoke_store, tmp_path):
    """14 positions are enough for the opening token, 9 of a prompt and 4 of an answer."""
    config = {"model_type": "gpt_neox", "max_position_embeddings": 14}
    lm_eval._check_model(smoke_target(smoke_store), [hostile_set(tmp_path)], config)


def test_a_folder_that_holds_something_is_left_alone(tasks, smoke_store):
    """Nothing is overwritten, whatever the form."""
    before = sorted(tasks.iterdir())
    for form in ("hf", "dataset", "lm-eval", "inspect"):
        with pytest.raises(UsageError, match="is not an empty folder"):
            export_checkpoint(smoke_target(smoke_store), tasks, form, "unknown")
    assert sorted(tasks.iterdir()) == before


@pytest.mark.parametrize(("form", "name"), [("lm-eval", "mit"), ("inspect", "mit"), ("hf", "My licence: yes")])
def test_a_licence_that_no_card_would_have_is_refused(form, name, smoke_store, tmp_path):
    """Where there is no card, and where the hub knows no such name."""
    with pytest.raises(UsageError, match="--license"):
        export_checkpoint(smoke_target(smoke_store), tmp_path / "new", form, name)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_accuracy_of_the_harness_is_ours(tasks, smoke_store, tmp_path):
    """The real tool on the exported model: as many right answers, question for question."""
    python = python_with("lm_eval", "torch")
    export_checkpoint(smoke_target(smoke_store), tmp_path / "model", "hf", "unknown")
    words = ["--model", "hf", "--model_args", f"pretrained={tmp_path / 'model'},add_bos_token=True", "--tasks", GROUP]
    words += ["--include_path", ".", "--batch_size", "16", "--device", "cpu", "--output_path", str(tmp_path / "out")]
    run_tool(python, "-m", "lm_eval", *words, cwd=tasks, HF_HOME=str(tmp_path / "home"))
    (path,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(path.read_text())["results"]
    ours = {f"{GROUP}_{one.short_name}": one.accuracy for one in asked_sets(smoke_target(smoke_store))}
    assert {name: results[name]["exact_match,none"] for name in ours} == pytest.approx(ours, abs=1e-12)
    assert len(ours) == 2
