"""Seeded cases for the fuzzers: command lines, tables and study files, most of them wrong in one or two ways."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from nosce.studies import BUILT_IN

ChoiceT = TypeVar("ChoiceT")


class Dice:
    """Draws of a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def random(self) -> float:
        """A number from 0 to 1."""
        return float(self._rng.random())

    def randrange(self, end: int) -> int:
        """A whole number from 0 to below the end."""
        return int(self._rng.integers(end))

    def choice(self, options: Sequence[ChoiceT]) -> ChoiceT:
        """One of these."""
        return options[self.randrange(len(options))]

    def sample(self, options: Sequence[ChoiceT], k: int) -> list[ChoiceT]:
        """So many of these, without repeats."""
        return [options[int(n)] for n in self._rng.permutation(len(options))[:k]]

    def randbytes(self, count: int) -> bytes:
        """So many bytes."""
        return self._rng.bytes(count)


FIXTURES = Path(__file__).parents[1] / "fixtures"
NUMBERS = [
    *("-1", "0", "1", "2", "10", "100", "1000000", str(2**31), str(2**63), str(10**30), "-0", "1.5", "nan", "inf"),
    *("-inf", "1e5", "1e400", "0x10", "１", "", " ", "one", "1_000", "+1", "--1", "1;2", "٣"),
]
WORDS = [
    *(
        "",
        " ",
        "-",
        "--",
        "---",
        ".",
        "..",
        "/",
        "~",
        "*",
        "t[1]",
        "?",
        "\\",
        "'",
        '"',
        "$HOME",
        "%s",
        "{}",
        "[bold]x[/bold]",
    ),
    *("a" * 5_000, "é" * 300, "\x1b[31m", "\x07", "\udcff", "\u202e", "模型", "a\nb", "a\tb", "null", "None", "True"),
    *(
        ":",
        ":f",
        "f:",
        "a:b:c",
        "nosce:f",
        "os:system",
        "sys:exit",
        "json:loads",
        ".x:f",
        "a..b:f",
        "/dev/null",
        "/dev/zero:f",
    ),
    *(
        "/proc/self/mem",
        "/root/none/x",
        "x.csv",
        "x.parquet",
        "x.jsonl",
        "s3://b/x.csv",
        "http://localhost:1/x.parquet",
    ),
]
OPTIONS = {
    "list": ["--store", "--json"],
    "run": [
        "--scale",
        "--seeds",
        "--arms",
        "--workers",
        "--device",
        "--dry-run",
        "--threads",
        "--max-cost",
        "--rerun-stale",
    ],
    "plan": ["--scale", "--seeds", "--arms", "--workers", "--store", "--json"],
    "show": ["--scale", "--store", "--json"],
    "report": ["--out", "--open", "--store"],
    "explain": ["--store", "--json"],
    "export": ["--seed", "--scale", "--store"],
    "doctor": ["--store", "--json"],
    "audit": [
        "--study",
        "--scale",
        "--lower-is-better",
        "--log-likelihood",
        "--figure",
        "--resamples",
        "--store",
        "--json",
    ],
    "power": ["--sizes", "--items", "--seeds", "--simulations", "--json"],
}
FLAGS = {
    "--json",
    "--dry-run",
    "--rerun-stale",
    "--open",
    "--lower-is-better",
    "--log-likelihood",
    "--version",
    "--help",
}
COUNTS = {"list": 1, "run": 1, "plan": 1, "show": 1, "explain": 1, "export": 3, "audit": 1}  # arguments


# --- command lines ---


def command_line(rng: Dice, folder: Path, store: Path) -> list[str]:
    """Words behind `nosce`: a command with its options, some of them twisted, and now and then anything at all."""
    command = rng.choice([*OPTIONS] * 6 + WORDS[:20])
    known = OPTIONS.get(command, ["--store"])
    words = [command, *(_argument(rng, folder) for _ in range(_about(rng, COUNTS.get(command, 0))))]
    for option in rng.sample(known, k=rng.randrange(min(3, len(known)) + 1)):
        words += [option] if option in FLAGS else [option, _value(rng, option, folder)]
    if "--store" not in words:  # never the folder of whoever runs the tests
        words += ["--store", str(rng.choice([store, store, folder / "empty"]))] if "--store" in known else []
    if command == "power":  # a design takes seconds, so none of them is tried
        words += ["--sizes", rng.choice(["-1", "0", "1", "3", "100000000"])]
    return _twisted(rng, words) if command != "power" else words


def _about(rng: Dice, number: int) -> int:
    return max(0, number + rng.choice([0] * 12 + [-1, 1]))


def _twisted(rng: Dice, words: list[str]) -> list[str]:
    match rng.randrange(14):
        case 0:
            return [*words[: rng.randrange(len(words))], rng.choice(WORDS), *words[rng.randrange(len(words)) :]]
        case 1:
            return words[:-1] or words  # without a word there is help
        case 2:
            return [*words, rng.choice(["--help", "--version", "--nothing", "-x", "--json=1", "--store=", "--scale"])]
        case 3:
            return [rng.choice(["--version", "--help", "--json", "-h", "--store"]), *words]
        case _:
            return words


def _argument(rng: Dice, folder: Path) -> str:
    files = [str(path) for path in folder.iterdir()]
    studies = [
        *BUILT_IN,
        "little",
        f"{FIXTURES / 'little_studies.py'}:one_arm",
        f"{FIXTURES / 'little_studies.py'}:none",
    ]
    return rng.choice([*3 * studies, *2 * ["corpus", "training-", "single", "only", "multi5+permute"], *files, *WORDS])


def _value(rng: Dice, option: str, folder: Path) -> str:
    files = [str(path) for path in folder.iterdir()]
    inside = [str(folder / name) for name in ("new", "new/deeper/still", "x" * 300, "a\x1b[31m", "é")]
    match option:
        case "--store" | "--out" | "--figure":
            return rng.choice(
                [*files, *inside, "/dev/null", "/dev/full", "/proc/nothing", "", "\x00".join(["a", "b"])[:1]]
            )
        case "--scale":
            return rng.choice(["smoke", "laptop", "gpu", "paper", "demo", *WORDS])
        case "--arms" | "--study" | "--device":
            return rng.choice(["only", "single", ",", "single,single", "cpu", "biographies", *WORDS])
        case _:
            return rng.choice(NUMBERS)


def file_system(folder: Path) -> None:
    """Files and folders of every kind that a command line may name."""
    folder.mkdir()
    (folder / "file").write_text("words")
    (folder / "binary.csv").write_bytes(bytes(range(256)))
    (folder / "empty.csv").touch()
    (folder / "folder.csv").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "t.csv").write_text("size,right,asked\n1,0,10\n10,5,10\n100,9,10\n")
    (folder / "study.py").write_text("def study(scale):\n    return 1 / 0\n")
    store = folder / "spoiled"
    (store / "plans").mkdir(parents=True)
    (store / "plans" / "a.json").write_text("[" * 9_000)
    (store / "steps" / "training-0").mkdir(parents=True)
    (store / "steps" / "training-0" / "manifest.json").write_text("[]")
    (folder / "half").mkdir()
    (folder / "half" / "steps").write_text("a file where a folder should be")


# --- tables ---

COLUMNS = ["size", "sharp", "item", "seed", "right", "asked", "chance", "length", "continuous", "\x1b"]
VALUES: list[Any] = [
    *(
        None,
        0,
        1,
        -1,
        2,
        0.5,
        1.5,
        1e18,
        10**18,
        10**30,
        1e308,
        -1e308,
        1e-320,
        float("nan"),
        float("inf"),
        True,
        False,
    ),
    *(
        "",
        " ",
        "a",
        "nan",
        "inf",
        "1,5",
        "1.000,5",
        "0x1",
        "\x1b[31m",
        "\u202e",
        "<script>",
        "=1+1",
        "NULL",
        "１",
        "1e3",
    ),
    *([], [1], [None], {"a": 1}, {}, [[1]], "a\nb", 'a"b', "\ufeff"),
]


def table(rng: Dice, path: Path) -> Path:
    """A table of outcomes as a file: sound ones and such with one to three faults of content, form or bytes."""
    rows = _items(rng) if rng.random() < 0.5 else _counts(rng)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        rows = rng.choice(_FAULTS)(rng, rows)
    kind = rng.choice(["csv", "csv", "jsonl", "parquet", "csv.gz"])
    content = _bytes(rng, rows, kind)
    if rng.random() < 0.25:
        content = rng.choice(_SPOILED)(rng, content)
    file = path.with_name(f"{path.name}.{rng.choice([kind] * 20 + ['csv', 'jsonl', 'parquet', 'txt'])}")
    file.write_bytes(content)
    return file


def _items(rng: Dice) -> list[dict[str, Any]]:
    sizes = sorted(rng.sample([10, 20, 40, 100, 1e3, 1e4, 1e6, 1e9, 1e12, 0.001], k=rng.choice([2, 3, 5, 6])))
    return [
        {"size": size, "item": f"i{n}", "seed": seed, "sharp": float(rng.random() < k / len(sizes))}
        | ({"continuous": -rng.random(), "length": n % 3 + 1, "chance": 0.25} if len(sizes) > 3 else {})
        for seed in range(rng.choice([1, 1, 2, 6]))
        for k, size in enumerate(sizes)
        for n in range(rng.choice([1, 5, 5, 5]) if k == -1 else 5)
    ]


def _counts(rng: Dice) -> list[dict[str, Any]]:
    asked = rng.choice([1, 10, 1_000, 10**6, 10**15])
    with_score = rng.random() < 0.5
    return [
        {"size": 10.0**k, "right": int(asked * rng.random()), "asked": asked, "series": f"s{s}"}
        | ({"continuous": -rng.random()} if with_score else {})
        for s in range(rng.choice([1, 1, 2, 6]))
        for k in range(rng.choice([2, 3, 5]) if s == -1 else 5)
    ]


def _put_value(rng: Dice, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    row = rng.choice(rows) if rows else {}
    return [{**r, rng.choice([*row]): rng.choice(VALUES)} if r is row and row else r for r in rows]


def _put_column(rng: Dice, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    name, value = (
        rng.choice(["size", "sharp", "item", "seed", "right", "asked", "chance", "length", "continuous", "\x1b"]),
        rng.choice(VALUES),
    )
    return [{**row, name: value} for row in rows]


def _drop_column(rng: Dice, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [*rows[0]] if rows else ["size"]
    dropped = rng.choice(names)
    return [{name: value for name, value in row.items() if name != dropped} for row in rows]


def _scale_column(rng: Dice, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    name, by = rng.choice([*rows[0]] if rows and rows[0] else ["size"]), rng.choice([0, -1, 0.1, 1e15, 1e300, 1e-300])
    return [{**row, name: row[name] * by if isinstance(row.get(name), int | float) else row.get(name)} for row in rows]


_FAULTS: list[Callable[[Dice, list[dict[str, Any]]], list[dict[str, Any]]]] = [
    _put_value,
    _put_value,
    _put_column,
    _drop_column,
    _scale_column,
    lambda rng, rows: rows[: rng.randrange(len(rows) + 1)],
    lambda rng, rows: rows + rows[: rng.randrange(len(rows) + 1)],
    lambda rng, rows: rng.sample(rows, k=len(rows)),
    lambda rng, rows: [{**row, "\ufeffsize": 1} for row in rows],
    lambda _, rows: [row | ({"late": n} if n > 3 else {}) for n, row in enumerate(rows)],
]


def _bytes(rng: Dice, rows: list[dict[str, Any]], kind: str) -> bytes:
    if kind == "jsonl":
        return "".join(json.dumps(row, default=str) + "\n" for row in rows).encode("utf-8", "replace")
    if kind == "parquet":
        content = io.BytesIO()
        try:
            pl.DataFrame(rows, infer_schema_length=None, strict=False).write_parquet(content)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, OverflowError, ValueError):
            pl.DataFrame([{name: str(value) for name, value in row.items()} for row in rows]).write_parquet(content)
        return content.getvalue()
    separator = rng.choice([",", ",", ",", ";", "\t", "|"])
    names = list(dict.fromkeys(name for row in rows for name in row))
    if names and rng.random() < 0.05:
        names.append(rng.choice(names))
    lines = [names, *(["" if row.get(name) is None else str(row.get(name)) for name in names] for row in rows)]
    text = "".join(separator.join(line) + "\n" for line in lines)
    encoding = rng.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
    content_bytes = text.encode(encoding, "replace")
    return gzip.compress(content_bytes) if kind == "csv.gz" else content_bytes


def _flip(rng: Dice, content: bytes) -> bytes:
    spoiled = bytearray(content)
    for _ in range(1 + rng.randrange(8)):
        if spoiled:
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
    return bytes(spoiled)


_SPOILED: list[Callable[[Dice, bytes], bytes]] = [
    _flip,
    lambda rng, content: content[: rng.randrange(len(content) + 1)],
    lambda rng, content: content + content[: rng.randrange(len(content) + 1)],
    lambda rng, content: rng.randbytes(200),
    lambda _, content: b"",
    lambda _, content: content.replace(b"\n", b"\r"),
    lambda _, content: b"\n\n" + content,
    lambda _, content: b"# a comment\n" + content,
    lambda _, content: content + b'{"size": ' + b"[" * 5_000,
    lambda _, content: content.replace(b",", b', "', 3),
]


# --- study files ---

EXPRESSIONS = [
    *(
        "None",
        "0",
        "-1",
        "1.5",
        "10**12",
        "10**30",
        "float('nan')",
        "float('inf')",
        "''",
        "' '",
        "'x'",
        "'../up'",
        "'\\x1b[31m'",
    ),
    *("()", "[]", "{}", "(1, 2)", "('a',)", "(None,)", "True", "b'x'", "object()", "lambda: 0", "int", "...", "1j"),
    *(
        "'x' * 10_000",
        "(0,) * 5",
        "range(3)",
        "{'a'}",
        "DOZEN",
        "RECIPE",
        "ASKING",
        "Study",
        "1 / 0",
        "undefined",
        "[[]]",
    ),
    *("Architecture.named('2x64')", "RecallEval()", "Mean(selection=Selection(evaluation='x'))", "numpy.int64(3)"),
]
LINES = [
    *(
        "import sys; sys.exit(0)",
        "raise SystemExit('x')",
        "raise KeyError('x')",
        "raise ValueError('\\n\\x1b[31m')",
        "1 / 0",
    ),
    *(
        "import nowhere",
        "from nosce import Nothing",
        "x = (",
        "def",
        "\x00",
        "\t bad",
        "exit()",
        "raise Exception",
        "assert False",
    ),
    *(
        "raise MemoryError",
        "raise RecursionError",
        "class E(BaseException): pass\nraise E('x')",
        "del Study",
        "Study = None",
    ),
    *("import os; os.environ.clear()", "print('words')", "nosce = 1", "raise OSError(28, 'No space left on device')"),
]


def study_file(rng: Dice, path: Path) -> str:
    """A study file with one to three expressions replaced, a line put in, or its end cut off; how it is named."""
    text = (FIXTURES / "little_studies.py").read_text(encoding="utf-8").partition("def _with(")[0]
    text = text.replace("from dataclasses import replace", "from dataclasses import replace\n\nimport numpy")
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        text = _with_expression(rng, text)
    match rng.randrange(8):
        case 0:
            lines = text.splitlines(keepends=True)
            place = rng.randrange(len(lines))
            text = "".join([*lines[:place], rng.choice(LINES) + "\n", *lines[place:]])
        case 1:
            text = text[: rng.randrange(len(text))]
    path.write_text(text, errors="surrogatepass")
    return f"{path}:{rng.choice(['one_arm'] * 20 + ['none', 'Study', 'DOZEN', '__name__', 'one_arm.x', ''])}"


def _with_expression(rng: Dice, text: str) -> str:
    """The text with the value behind one `name=` replaced."""
    places = [n for n, sign in enumerate(text) if sign == "=" and text[n - 1].isalpha() and text[n + 1] != "="]
    start = rng.choice(places) + 1
    depth, end = 0, start
    while end < len(text) and not (depth == 0 and text[end] in ",)\n"):
        depth += (text[end] in "([{") - (text[end] in ")]}")
        end += 1
    return text[:start] + rng.choice(EXPRESSIONS) + text[end:]
