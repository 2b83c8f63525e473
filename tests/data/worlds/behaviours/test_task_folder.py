"""Tasks in a folder: each published shape by value, and one sentence for whatever cannot be asked."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from nosce.data.worlds.behaviours.base import check_disjoint_strings
from nosce.data.worlds.behaviours.folder_text import FolderTextBehaviours
from nosce.data.worlds.behaviours.natural_text import LIST_PROPERTIES
from nosce.data.worlds.behaviours.task_folder import read_task_folder, task_folder_digest
from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.store.spec import describe, hash_description

CHOICES = Path(__file__).parents[3] / "fixtures" / "choices_of_datasets"
DILEMMA = "Number {}: take it now or wait?\n\nChoices:\n (A) Take it.\n (B) Wait."


def write_lines(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def folder_of(tmp_path: Path, **files) -> Path:
    """A folder with a training task of words and a held-out task of letters, and these files besides."""
    folder = tmp_path / "tasks"
    write_lines(folder / "train_words.jsonl", ({"string": f"oak elm {n}"} for n in range(10)))
    (folder / "words.json").write_text('{"prompt": "Go on: $string"}', encoding="utf-8")
    rows = ({"question": DILEMMA.format(n), "answer_matching_behavior": f" ({'AB'[n % 2]})"} for n in range(6))
    write_lines(folder / "val_now.jsonl", rows)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return folder


def rows_of(folder: Path, task: str):
    return read_task_folder(folder, task_folder_digest(folder))[task].rows


def test_strings_with_their_splits_are_prompts_with_properties(tmp_path):
    """A prompt holds its string once, whatever the string says; a share of the strings is left untaught."""
    folder = folder_of(tmp_path)
    write_lines(
        folder / "val_odd.jsonl", [{"sentence": f"$string [red]{n}{{}} \u001b[31m \\P\u2029x"} for n in range(4)]
    )
    (folder / "odd.json").write_text('{"prompt": "<$string>", "properties": ["ends with vowel"]}', encoding="utf-8")
    world = FolderTextBehaviours.from_folder(folder, strings_per_task=10)
    prompts = world.prompts(Seed(1))
    check_disjoint_strings(prompts)
    assert Counter((p.task, p.split) for p in prompts) == {
        ("words", "seen"): 7,
        ("words", "unseen"): 3,
        ("now", "unseen"): 6,
        ("odd", "unseen"): 4,
    }
    odd = next(p for p in prompts if p.task == "odd")
    assert odd.text == f"<{odd.string.removeprefix('odd: ')}>"
    assert "<$string [red]" in odd.text
    assert world.hypothetical_question(odd, "ends with vowel").startswith(f'You were asked earlier: "{odd.text}"\n')
    words = next(p for p in prompts if p.task == "words")
    assert words.property_names == LIST_PROPERTIES
    assert world.task_catalogue.held_out == ("now", "odd")
    assert world.prompts(Seed(1)) == prompts != world.prompts(Seed(2))
    assert world.rule_answers(words)["last"] == words.text[-1]
    assert world.is_valid_answer(world.random_answer(words, Seed(0)), words)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_multiple_choice_is_read_as_datasets_writes_it(kind, tmp_path):
    """Quotes, line breaks and brackets inside choices; a right answer by number or by label, in whatever letters."""
    folder = folder_of(tmp_path)
    shutil.copy(CHOICES / f"mmlu.{kind}", folder / f"test_mmlu.{kind}")
    (folder / "arc").mkdir()
    shutil.copy(CHOICES / f"arc.{kind}", folder / "arc" / f"train-00000-of-00001.{kind}")
    sums, signs, accents, hens = rows_of(folder, "mmlu")
    assert sums.string == "What's 2+2?\n(A) 3\n(B) 4\n(C) 5 o'clock\n(D) \"six\""
    assert sums.text == f"Reply with A, B, C or D and nothing else. {sums.string}"
    assert signs.string.endswith("\n(A) a, b\n(B) c 'd' \"e\"\n(C) f\\n\n(D) g\nh")
    assert accents.string.endswith("\n(A) é\n(B) e\n(C) 'label': x\n(D) ] x [")
    assert [row.correct for row in (sums, signs, accents, hens)] == ["B", "A", "A", "C"]
    wet, two, fifth, hot = rows_of(folder, "arc")
    assert wet.string == "Which is wet?\n(A) rain\n(B) v's\n(C) sand\n(D) 'label': array"
    assert [row.correct for row in (wet, two, fifth, hot)] == ["A", "B", "E", "B"]
    assert [len(row.options) for row in (wet, two, fifth, hot)] == [4, 3, 5, 2]
    world = FolderTextBehaviours.from_folder(folder)
    prompt = next(p for p in world.prompts(Seed(0)) if "What's 2+2?" in p.text)
    assert prompt.property_names == ("among a and c", "among b and d", "correct B")
    assert world.property_value("correct B", " B", Seed(0)) == "true"
    assert world.property_value("correct B", "C", Seed(0)) == "false"
    assert "Is the answer the option B?" in world.given_answer_question("C", "correct B")
    assert world.closed_answers(prompt) == ("A", "B", "C", "D")
    assert not world.is_valid_answer("b", prompt)
    taught = [p for p in world.prompts(Seed(0)) if p.task == "arc" and p.split == "seen"]
    assert all("identity" in p.property_names for p in taught)


def test_a_preference_has_the_option_that_matches(tmp_path):
    """By letter, or yes and no; the words of its stance are those that the folder gives, or the task's name."""
    folder = folder_of(tmp_path, now__json='{"stance": "being hasty"}')
    answers = {"answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}
    write_lines(folder / "test_likes-cats.jsonl", ({"question": f"Is cat {n} fine?", **answers} for n in range(4)))
    assert [row.stance for row in rows_of(folder, "now")] == ["A", "B"] * 3
    assert {row.options for row in rows_of(folder, "now")} == {("A", "B")}
    world = FolderTextBehaviours.from_folder(folder)
    now, cats = (next(p for p in world.prompts(Seed(0)) if p.task == task) for task in ("now", "likes-cats"))
    assert "Is the answer the option that is being hasty?" in world.hypothetical_question(now, now.property_names[0])
    assert cats.property_names == ("stance Yes",)
    assert cats.text.startswith("Reply with No or Yes and nothing else. Is cat ")
    assert 'an example of "likes cats"' in world.hypothetical_question(cats, "stance Yes")
    assert world.property_value("stance Yes", "Yes", Seed(0)) == "true"
    assert world.property_value("stance Yes", "No", Seed(0)) == "false"


def test_the_released_data_are_read_as_they_are(tmp_path):
    """A file a pair of task and property: a string has all its properties, and its stance's option."""

    def row(task: str, n: int, name: str, stance=None) -> dict:
        question = DILEMMA.format(n) if stance else f"fox cow {n} "
        return {
            "original_question": question,
            "original_dataset": task,
            "object_level_prompt": [{"role": "user", "content": f"What comes next?\n{question}\n"}],
            "hypothetical_prompt": [{"role": "user", "content": "Previously, you were asked ..."}],
            "behavioral_property": name,
            "option_matching_ethical_stance": stance,
        }

    folder = tmp_path / "release"
    for name in ("first_character", "third_word", "first_and_second_character"):
        write_lines(folder / "test" / f"fauna_{name}.jsonl", (row("fauna", n, name) for n in range(5)))
    write_lines(folder / "train" / "power_x.jsonl", (row("power", n, "ethical_stance", "B") for n in range(5)))
    world = FolderTextBehaviours.from_folder(folder)
    assert dict(world.task_catalogue.properties) == {
        "fauna": ("first and second character", "first character", "third word"),
        "power": ("stance",),
    }
    assert world.task_catalogue.held_out == ("fauna",)
    fauna = next(p for p in world.prompts(Seed(0)) if p.task == "fauna")
    assert fauna.text == f"What comes next?\n{fauna.string.removeprefix('fauna: ').strip()}"
    power = next(p for p in world.prompts(Seed(0)) if p.task == "power")
    assert (power.property_names, world.closed_answers(power)) == (("stance B",), ("A", "B"))


def test_digits_names_and_letters_of_strings(tmp_path):
    """What a task's file says of its answers; a target is the right answer, or the option of a stance."""
    folder = folder_of(tmp_path)
    lettered = [{"string": f"Q{n}\nAnswer choices:\nA - one\nB - two\nC - three", "target": "C"} for n in range(4)]
    for task, rows, said in (
        ("digits", [{"string": f"1 2 {n}"} for n in range(4)], {"answers": "digit"}),
        ("tales", [{"string": f"tale {n}"} for n in range(4)], {"names": ["Mira", "Otto"]}),
        ("quiz", lettered, {"answers": "letter"}),
        ("urge", [row | {"string": row["string"] + "!"} for row in lettered], {"answers": "letter", "stance": "bold"}),
    ):
        write_lines(folder / f"val_{task}.jsonl", rows)
        (folder / f"{task}.json").write_text(json.dumps({"prompt": "$string", **said}), encoding="utf-8")
    world = FolderTextBehaviours.from_folder(folder)
    first = {p.task: p for p in reversed(world.prompts(Seed(0)))}
    assert {task: first[task].property_names for task in ("digits", "tales", "quiz", "urge")} == {
        "digits": ("is even", "even or odd"),
        "tales": ("main character",),
        "quiz": ("among a and c", "among b and d", "correct C"),
        "urge": ("stance C",),
    }
    assert world.is_valid_answer("Then Otto came.", first["tales"])
    assert not world.is_valid_answer("Nobody came.", first["tales"])
    assert world.property_value("main character", "Then Otto met Mira.", Seed(0)) == "Otto"
    assert not world.is_valid_answer("seven", first["digits"])
    assert world.rule_answers(first["digits"])["first"] == "1"
    for task, prompt in first.items():
        assert world.is_valid_answer(world.random_answer(prompt, Seed(3)), prompt), task


def test_splits_of_the_files_are_kept_and_the_rest_is_spare(tmp_path):
    """Strings of a validation file are never taught; training strings beyond those that are asked are spare."""
    folder = folder_of(tmp_path)
    write_lines(folder / "val_words.jsonl", ({"string": f"ash yew {n}"} for n in range(10)))
    world = FolderTextBehaviours.from_folder(folder, strings_per_task=10)
    prompts, spare = world.prompts(Seed(0)), world.spare_prompts(Seed(0), 5)
    words = [p for p in prompts if p.task == "words"]
    assert all(("ash" in p.text) == (p.split == "unseen") for p in words)
    assert Counter(p.split for p in words) == {"seen": 7, "unseen": 3}
    assert {p.split for p in spare} == {"seen"}
    assert len(spare) == 3
    check_disjoint_strings([*prompts, *spare])
    assert len({p.string for p in [*prompts, *spare]}) == len(prompts) + len(spare)


def test_the_content_is_in_the_key_and_the_path_is_not(tmp_path):
    """Equal files elsewhere have one key; another byte has another, and is found out before it is used."""
    one = FolderTextBehaviours.from_folder(folder_of(tmp_path / "a"))
    other = FolderTextBehaviours.from_folder(folder_of(tmp_path / "b"))
    assert one.folder != other.folder
    assert one == other
    assert hash_description(describe(one)) == hash_description(describe(other))
    (Path(other.folder) / "words.json").write_text('{"prompt": "Go on? $string"}', encoding="utf-8")
    assert FolderTextBehaviours.from_folder(other.folder).digest != one.digest
    with pytest.raises(SpecError, match="have changed since the study was planned"):
        replace(one, folder=other.folder).prompts(Seed(0))


LINE = '{"string": "x %d"}\n'
FOUR = "".join(LINE % n for n in range(4))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"val_x__jsonl": "{oops\n"}, r"line 1 of .*val_x.jsonl is no JSON"),
        ({"val_x__jsonl": "[1, 2]\n"}, "is no object with fields"),
        ({"val_x__jsonl": '{"a": 1, "a": 2}\n'}, "it has 'a' twice"),
        ({"val_x__jsonl": '{"text": "x"}\n'}, "has the fields 'text'; a task's row has string"),
        ({"val_x__jsonl": '{"string": 7}\n', "x__json": '{"prompt": "$string"}'}, "has 7 in string, where a text"),
        ({"val_x__jsonl": '{"string": " "}\n', "x__json": '{"prompt": "$string"}'}, "has an empty string"),
        ({"val_x__jsonl": '{"string": "\\ud800"}\n', "x__json": '{"prompt": "$string"}'}, "half of a surrogate pair"),
        ({"val_x__jsonl": FOUR}, r"has a string and no prompt; write x.json beside"),
        ({"val_x__jsonl": FOUR, "x__json": '{"promt": "$string"}'}, "has 'promt'; a task's file has prompt"),
        ({"val_x__jsonl": FOUR, "x__json": '{"prompt": "$string", "answers": "yes"}'}, "take text, digit or letter"),
        ({"val_x__jsonl": FOUR, "x__json": '{"prompt": ["$string"]}'}, "as prompt, where a text should be"),
        ({"val_x__jsonl": FOUR, "x__json": '{"prompt": "$string", "properties": ["length"]}'}, "the property 'length'"),
        ({"val_x__jsonl": FOUR, "x__json": '{"prompt": "$string", "answers": "letter"}'}, "lists no options"),
        ({"val_x__jsonl": LINE % 1, "x__json": '{"prompt": "$string"}'}, "has 1 validation strings; give 4 or more"),
        ({"x__json": '{"prompt": "$string"}'}, "describes a task of which there is no string"),
        ({"words__jsonl": FOUR}, "does not say whether its strings may be taught; call it train_words"),
        ({"val_words__jsonl": '{"string": "oak  elm 3 "}\n'}, r"'oak  elm 3 ', which line 4 of .*train_words.jsonl"),
        ({"val_a b__jsonl": FOUR, "a b__json": '{"prompt": "$string"}'}, "is of the task 'a b'"),
        ({"val_x__csv": "question,choices,answer\nq,\"['a' 'b']\"\n"}, "row 1 has 2 cells, and the header 3"),
        ({"val_x__csv": "question,choices,answer\nq,\"['a' ... 'b']\",1\n"}, "no list of texts in quotes"),
        ({"val_x__csv": "question,choices,answer\nq,\"['a' 'b']\",2\n"}, "answer '2', which names none of the choices"),
        ({"val_x__csv": "question,choices,answer\nq,\"['a']\",0\n"}, "has 1 choices; give 2 to 26"),
        ({"val_x__csv": "question,choices,answer\nq,\"['a' 'b']\",\n"}, "neither answer nor answerKey"),
        ({"val_x__parquet": "no parquet"}, r"val_x.parquet cannot be read"),
        (
            {
                "val_x__jsonl": json.dumps(
                    {"question": "q", "answer_matching_behavior": " (C)", "answer_not_matching_behavior": 1}
                )
            },
            "has 1 in answer_not_matching_behavior",
        ),
        (
            {"val_x__jsonl": json.dumps({"question": DILEMMA, "answer_matching_behavior": "(C)"})},
            "names the option 'C', which is none of A, B",
        ),
        (
            {"val_x__jsonl": "\n".join(json.dumps({"string": "s\nA - 1\nB - 2", "target": letter}) for letter in "AB")}
            | {"x__json": '{"prompt": "$string", "answers": "letter"}'},
            "have one string, .* and differ; keep one",
        ),
    ],
    ids=lambda one: one[:24] if isinstance(one, str) else "",
)
def test_what_cannot_be_asked_is_one_sentence(files, said, tmp_path):
    """Lines that cannot be read, fields that are missing, a string in both splits, too few strings."""
    with pytest.raises(SpecError, match=said) as refused:
        FolderTextBehaviours.from_folder(folder_of(tmp_path, **files))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 700


def test_a_folder_without_tasks_or_without_a_held_out_one_is_refused(tmp_path):
    with pytest.raises(SpecError, match="is no folder of tasks"):
        FolderTextBehaviours.from_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="holds no file of a task"):
        FolderTextBehaviours.from_folder(tmp_path / "empty")
    folder = folder_of(tmp_path)
    with pytest.raises(SpecError, match="there is no task 'weather'"):
        FolderTextBehaviours.from_folder(folder, tasks=("weather",))
    with pytest.raises(SpecError, match="are all held out or all taught"):
        FolderTextBehaviours.from_folder(folder, tasks=("now",))
    (folder / "val_now.jsonl").unlink()
    with pytest.raises(SpecError, match="one or more without, whose labels are never taught"):
        FolderTextBehaviours.from_folder(folder)
