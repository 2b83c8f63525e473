"""Rows of the files of a task, in the shapes in which such data are published, as prompts with their options.

    released        original_question, original_dataset, object_level_prompt, behavioral_property: the released data of
                    Binder et al. 2024 (`dataset_release/`), a file for each pair of task and property
    string          string (or sentence), and where it has one right answer also target: the official `evals/datasets/`
    choices         question, choices, answer (MMLU: a number from 0) or answerKey (ARC: a label)
    preference      question, answer_matching_behavior (Perez et al. 2022, arXiv:2212.09251)

What a row says is text: nothing of it is a pattern, a template or code.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nosce.data.worlds.behaviours.natural_text import LIST_PROPERTIES, OPTION_LETTERS
from nosce.data.worlds.behaviours.properties import PROPERTIES
from nosce.data.worlds.behaviours.text_behaviours import OPTION_PROPERTIES
from nosce.errors import SpecError

STRING = "$string"  # stands in a task's prompt for the string
MAX_TEXT_CHARS = 20_000
MAX_OPTIONS = 26
CHOICE_PROPERTIES = ("identity", "among a and c", "among b and d", "correct")
NUMBER_PROPERTIES = ("is even", "even or odd")
#: Names of properties in the released data that are not ours with blanks in place of underscores.
RELEASED_PROPERTIES = {
    "among_a_or_c": "among a and c",
    "among_b_or_d": "among b and d",
    "ethical_stance": "stance",
    "is_even_direct": "even or odd",
    "main_character_name": "main character",
}
OPTION_LINE = re.compile(r"^[ \t]*(?:\(([A-Z])\)[-–:.]?|([A-Z])[ \t]*[-–:.)])(?=[ \t])", re.MULTILINE)
QUOTED_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
#: What stands around the texts of a list, in the notations of numpy, Python and JSON.
AROUND_TEXTS = re.compile(r"[\s\[\](){},:]|\barray\b|\bdtype=object\b")

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What a folder says of a task beside its strings (`TASK.json`).

    Args:
        prompt: The prompt, with `$string` where the string stands. Empty: the string, and how to reply to it.
        answers: "text", "digit" or "letter". Empty: as the rows have it.
        properties: Properties of the answers. Empty: those of the paper for such answers.
        stance: The words of "Is the answer the option that is ...?".
        options: All options of a choice, e.g. A and B. Empty: the letters that the string lists.
        names: The names of which the first in an answer is its main character.
    """

    prompt: str = ""
    answers: str = ""
    properties: tuple[str, ...] = ()
    stance: str = ""
    options: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A string of a task, with its prompt.

    Args:
        task: Name of the task.
        string: The string.
        text: The prompt as a model gets it.
        properties: Properties of its answers, without the letters of options.
        options: All valid answers, e.g. letters; empty where any text is valid.
        stance: The option that shows the stance, and "" where none is known.
        correct: The right option, and "" where none is known.
        where: The row, for messages.
    """

    task: str
    string: str
    text: str
    properties: tuple[str, ...]
    options: tuple[str, ...] = ()
    stance: str = ""
    correct: str = ""
    where: str


def task_row(row: Row, where: str, file_task: str, settings: Mapping[str, TaskSettings]) -> TaskRow:
    """A row of a file as a string of a task.

    Args:
        row: Field -> value.
        where: The row, for messages, e.g. "line 3 of x.jsonl".
        file_task: The task that the file's name says.
        settings: Task -> what the folder says of it.

    Raises:
        SpecError: The row has none of the shapes, or a field that cannot be.
    """
    task = _text(row, "original_dataset", where) if "original_dataset" in row else file_task
    known = settings.get(task, TaskSettings())
    if "original_question" in row:
        return _released_row(row, where, task, known)
    if "choices" in row:
        return _choices_row(row, where, task, known)
    if "answer_matching_behavior" in row:
        return _preference_row(row, where, task, known)
    if "string" in row or "sentence" in row:
        return _string_row(row, where, task, known)
    raise SpecError(
        f"{where} has the fields {_listed(row)}; a task's row has string, or question with choices and answer, or "
        "question with answer_matching_behavior, or the fields of the released data, of which it lacks "
        "original_question."
    )


def _released_row(row: Row, where: str, task: str, known: TaskSettings) -> TaskRow:
    string, name = (_text(row, field, where) for field in ("original_question", "behavioral_property"))
    messages = row.get("object_level_prompt")
    is_one = isinstance(messages, Sequence) and not isinstance(messages, str) and len(messages) == 1
    message = messages[0] if is_one and isinstance(messages, Sequence) else None
    if not isinstance(message, Mapping) or message.get("role") != "user":
        raise SpecError(f"{where} has no object_level_prompt of one message of a user; mend it.")
    text = _text(message, "content", where).strip()
    property_name = known_property(RELEASED_PROPERTIES.get(name, name.replace("_", " ")), where, known)
    options: tuple[str, ...] = ()
    stance = ""
    if property_name == "stance":
        stance = _text(row, "option_matching_ethical_stance", where).strip()
        options = known.options or listed_options(string) or ("A", "B")
    elif property_name.startswith("among") or known.answers == "letter":
        options = known.options or listed_options(string) or tuple(OPTION_LETTERS)
    elif property_name in NUMBER_PROPERTIES or known.answers == "digit":
        options = tuple(map(str, range(10)))
    _check_option(stance, options, where)
    return TaskRow(
        task=task, string=string, text=text, properties=(property_name,), options=options, stance=stance, where=where
    )


def _string_row(row: Row, where: str, task: str, known: TaskSettings) -> TaskRow:
    string = _text(row, "string" if "string" in row else "sentence", where)
    if STRING not in known.prompt:
        raise SpecError(
            f"{where} has a string and no prompt; write {task}.json beside the task's files, with a prompt that holds "
            f'{STRING}, e.g. {{"prompt": "Which word comes next? {STRING}"}}.'
        )
    text = known.prompt.replace(STRING, string)
    if known.answers == "digit":
        return _row(task, string, text, known, NUMBER_PROPERTIES, where, options=tuple(map(str, range(10))))
    if known.answers != "letter":
        default = ("main character",) if known.names else LIST_PROPERTIES
        return _row(task, string, text, known, default, where)
    options = known.options or listed_options(string)
    if len(options) < 2:
        raise SpecError(
            f'{where} lists no options as "A - ..." or "(A) ...", a line each; mend it, or give "options" in '
            f"{task}.json."
        )
    target = _text(row, "target", where).strip() if row.get("target") is not None else ""
    _check_option(target, options, where)
    if known.stance or "stance" in known.properties:
        return _row(task, string, text, known, ("stance",), where, options=options, stance=target)
    return _row(task, string, text, known, CHOICE_PROPERTIES, where, options=options, correct=target)


def _choices_row(row: Row, where: str, task: str, known: TaskSettings) -> TaskRow:
    question, (labels, texts) = _text(row, "question", where), _choices(row["choices"], where)
    options = tuple(chr(ord("A") + place) for place in range(len(texts)))
    listed = "\n".join(f"({option}) {text}" for option, text in zip(options, texts, strict=True))
    string = f"{question}\n{listed}"
    correct = ""
    field = "answerKey" if "answerKey" in row else "answer"
    if row.get(field) not in (None, ""):
        correct = _answer_option(row[field], field, labels, options, where)
    elif not known.properties or "correct" in known.properties:
        raise SpecError(f"{where} has choices and neither answer nor answerKey, which says the right one; add it.")
    return _row(task, string, "", known, CHOICE_PROPERTIES, where, options=options, correct=correct)


def _preference_row(row: Row, where: str, task: str, known: TaskSettings) -> TaskRow:
    question = _text(row, "question", where)
    stance = _text(row, "answer_matching_behavior", where).strip().strip("()")
    options = listed_options(question)
    if not options:  # yes or no
        other = _text(row, "answer_not_matching_behavior", where).strip().strip("()")
        options = tuple(sorted({stance, other}))
    _check_option(stance, options, where)
    return _row(task, question, "", known, ("stance",), where, options=options, stance=stance)


def _row(
    task: str,
    string: str,
    text: str,
    known: TaskSettings,
    default_properties: tuple[str, ...],
    where: str,
    *,
    options: tuple[str, ...] = (),
    stance: str = "",
    correct: str = "",
) -> TaskRow:
    """The row with the task's properties and, without a text, with a prompt that asks for an option."""
    properties = tuple(known_property(name, where, known) for name in known.properties) or default_properties
    values = {"stance": stance, "correct": correct}
    for name in (name for name in properties if name in OPTION_PROPERTIES):
        if not values[name]:
            raise SpecError(f"{where} does not say which option the property {name!r} is about; add it.")
    if not text:
        asked = f"Reply with {', '.join(options[:-1])} or {options[-1]} and nothing else. {string}"
        text = known.prompt.replace(STRING, string) if STRING in known.prompt else asked
    return TaskRow(task=task, string=string, text=text, properties=properties, options=options, where=where, **values)


def known_property(name: str, where: str, known: TaskSettings) -> str:
    """The property of this name.

    Raises:
        SpecError: No function computes it from the answer.
    """
    if name in PROPERTIES or name in OPTION_PROPERTIES or (name == "main character" and known.names):
        return name
    advice = "give the names in TASK.json" if name == "main character" else "leave it out"
    raise SpecError(f"{where} has the property {name!r:.60}, which is computed from no answer; {advice}.")


def listed_options(text: str) -> tuple[str, ...]:
    """The letters of the last list of options in a text, a line each, as "A - ..." or "(A) ..."; () without one."""
    letters = [bracketed or plain for bracketed, plain in OPTION_LINE.findall(text)]
    if "A" not in letters:
        return ()
    last = letters[len(letters) - 1 - letters[::-1].index("A") :]
    expected = [chr(ord("A") + place) for place in range(len(last))]
    return tuple(last) if last == expected and len(last) > 1 else ()


def _check_option(option: str, options: Sequence[str], where: str) -> None:
    if option and option not in options:
        raise SpecError(f"{where} names the option {option!r:.60}, which is none of {', '.join(options)}; mend it.")


def _choices(value: object, where: str) -> tuple[list[str], list[str]]:
    """The labels of choices, none where they have none, and their texts."""
    labels: object = []
    texts: object = value
    if isinstance(value, str):
        labels, texts = _choices_of_cell(value, where)
    elif isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
    if not isinstance(texts, list) or not isinstance(labels, list) or len(labels) not in (0, len(texts)):
        raise SpecError(f"{where} has choices {value!r:.60}, which are no list of texts, with or without labels.")
    if not 2 <= len(texts) <= MAX_OPTIONS:
        raise SpecError(f"{where} has {len(texts)} choices; give 2 to {MAX_OPTIONS}.")
    return [str(label) for label in labels], [_checked(text, "choices", where) for text in texts]


def _choices_of_cell(cell: str, where: str) -> tuple[list[str], list[str]]:
    """The labels and texts in a cell of a CSV file, as `datasets` writes lists: in the notation of numpy or Python.

    numpy writes no commas between texts, and Python would read two such texts as one; so each is read for itself.
    """
    found: dict[str, list[str]] = {"text": [], "label": []}
    name, rest, end = "text", "", 0
    for quoted in QUOTED_TEXT.finditer(cell):
        rest, end = rest + cell[end : quoted.start()], quoted.end()
        text = _unquoted(quoted[0], where)
        if cell[end:].lstrip().startswith(":") and text in found:
            name = text
        else:
            found[name].append(text)
    if AROUND_TEXTS.sub("", rest + cell[end:]):
        raise SpecError(f"{where} has choices {cell!r:.60}, which are no list of texts in quotes; mend them.")
    return found["label"], found["text"]


def _unquoted(literal: str, where: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # for a backslash before a sign that needs none
            return str(ast.literal_eval(literal.replace("\n", "\\n").replace("\r", "\\r")))
    except (SyntaxError, ValueError, Warning):
        raise SpecError(
            f"{where} has {literal!r:.60} among its choices, which is no text in quotes; mend it."
        ) from None


def _answer_option(value: object, field: str, labels: Sequence[str], options: Sequence[str], where: str) -> str:
    """The letter of the right option: a label where the choices have labels, else a letter or a number from 0."""
    text = str(value).strip()
    if text in labels:
        return options[labels.index(text)]
    if not labels and text in options:
        return text
    is_number = not labels and field == "answer" and not isinstance(value, bool) and re.fullmatch(r"\d{1,2}", text)
    if is_number and int(text) < len(options):
        return options[int(text)]
    known = ", ".join(labels or options)
    raise SpecError(f"{where} has {field} {text!r:.60}, which names none of the choices {known}; mend it.")


def _text(row: Row, field: str, where: str) -> str:
    if row.get(field) is None:
        raise SpecError(f"{where} has no {field}; it has {_listed(row)}.")
    return _checked(row[field], field, where)


def _checked(value: object, field: str, where: str) -> str:
    """A text that can be sent and stored.

    Raises:
        SpecError: It is no text, has no letter, is too long, or holds what no file can.
    """
    if not isinstance(value, str):
        raise SpecError(f"{where} has {value!r:.60} in {field}, where a text should be; mend it.")
    if not value.strip():
        raise SpecError(f"{where} has an empty {field}; fill it, or take the row out.")
    if len(value) > MAX_TEXT_CHARS:
        raise SpecError(f"{where} has {len(value):,} characters in {field}; {MAX_TEXT_CHARS:,} are the most.")
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise SpecError(f"{where} has a zero byte or half of a surrogate pair in {field}; take it out.")
    return value


def _listed(row: Row) -> str:
    """The names of a row's fields, for messages."""
    return ", ".join(repr(name)[:40] for name in list(row)[:8]) or "none"
