"""The README and its Chinese version: short, in step with each other and with results/; and the site's pages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import nosce

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READMES = ["README.md", "README.zh.md"]
#: Pages without a table of contents of their own, with the reason.
NO_CONTENTS = {"claims.md": "tables that `nosce.bench_table` writes; the site has contents beside every page"}

readme = pytest.mark.parametrize("name", READMES)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_is_short():
    """At most 1,200 words, as `wc -w` counts them."""
    assert len(text_of("README.md").split()) <= 1200


def ledger(name: str) -> dict[str, list[str]]:
    """The rows of the table of studies, by the page that each links: answer, holds, undecided, fails."""
    rows = {}
    for line in text_of(name).splitlines():
        if line.startswith("|") and (link := re.search(r"\(results/([^)]+)/index\.html\)", line)):
            rows[link[1]] = [cell.strip() for cell in line.strip("|").split("|")][1:]
    return rows


def published(page: str) -> list[dict]:
    return json.loads((ROOT / "results" / page / "show.json").read_text(encoding="utf-8"))["claims"]


@readme
def test_the_ledger_has_every_study_with_its_verdicts(name):
    """One row for each folder of results/ with claims, and the numbers of its verdicts."""
    pages = [path.parent.relative_to(ROOT / "results").as_posix() for path in ROOT.glob("results/*/*/show.json")]
    wanted = {}
    for page in pages:
        verdicts = Counter(claim["verdict"] for claim in published(page))
        wanted[page] = [str(verdicts[verdict]) for verdict in ("holds", "undecided", "fails")]
    assert {page: row[1:] for page, row in ledger(name).items()} == wanted


def intervals(text: str) -> list[tuple[str, ...]]:
    """Every number with an interval: `80.2 points [65.6, 96.4]`."""
    number = r"(-?\d+(?:\.\d+)?)"
    return re.findall(rf"{number}(?: %| points| 个百分点)? \[{number}, {number}\]", text)


@readme
def test_numbers_of_answers_are_those_of_a_claim(name):
    """A number with an interval in the ledger is the estimate of a claim of that page, rounded as it stands."""
    found = 0
    for page, row in ledger(name).items():
        claims = [(c["estimate"], c["low"], c["high"]) for c in published(page) if c["low"] is not None]
        for shown in intervals(row[0]):
            digits = [len(x.partition(".")[2]) for x in shown]
            rounded = {tuple(f"{100 * x:.{d}f}" for x, d in zip(c, digits, strict=True)) for c in claims}
            assert shown in rounded, f"{page} has no claim with {shown}"
            found += 1
    assert found >= 8


GUIDES = ["biographies", "diaries", "karel", "introspection", "emergence"]


def sections(name: str) -> tuple[str, str]:
    """The guide's text, and its section with the results, down to the first subsection."""
    text = text_of(f"docs/studies/{name}.md")
    return text, re.split(r"^##", text.partition("## What came out")[2], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_counts_the_verdicts_of_its_study(name):
    """The sentence that begins with "Of 31 claims 24 hold"."""
    counted = re.search(r"Of (\d+) claims (\d+) hold, (\d+) (?:is|are) undecided and (\w+) fails?\.", sections(name)[0])
    verdicts = Counter(claim["verdict"] for claim in published(f"{name}/laptop"))
    wanted = (sum(verdicts.values()), verdicts["holds"], verdicts["undecided"], verdicts["fails"])
    assert tuple(int(x.replace("none", "0")) for x in counted.groups()) == wanted


@pytest.mark.parametrize("name", GUIDES)
def test_intervals_of_a_guide_are_those_of_a_claim(name):
    """In its table of results: a share or a number, rounded as it stands, of either sign; and the verdict beside it."""
    number = r"([+-]?\d[\d,]*(?:\.\d+)?)"
    claims = [claim for claim in published(f"{name}/laptop") if claim["low"] is not None]
    found = 0
    for line in sections(name)[1].splitlines():
        said = re.match(r"hold|undecided|fail", line.strip("| ").rpartition("|")[2].strip())
        for shown in re.findall(rf"{number}(?: [%a-z]+)? \[{number}, {number}\]", line if line.startswith("|") else ""):
            matching = {claim["verdict"] for claim in claims if is_rounded(shown, claim)}
            assert matching, f"no claim of {name} is {shown}"
            assert said is None or any(verdict.startswith(said[0]) for verdict in matching), line
            found += 1
    assert found >= 5


def is_rounded(shown: tuple[str, ...], claim: dict) -> bool:
    """Whether the texts are the claim's estimate and interval, as shares in percent or as numbers, up to the sign."""
    digits = [len(x.partition(".")[2]) for x in shown]
    values = [float(x.replace(",", "")) for x in shown]
    for factor in (1, 100, -1, -100):
        low, high = sorted((factor * claim["low"], factor * claim["high"]))
        exact = (factor * claim["estimate"], low, high)
        if all(abs(value - x) <= 0.5001 * 10**-d for value, x, d in zip(values, exact, digits, strict=True)):
            return True
    return False


def commands(name: str) -> list[str]:
    """The indented lines without their comments, as they stand one after the other."""
    return [re.sub(r"\s+# .*", "", line).strip() for line in text_of(name).splitlines() if line.startswith("    ")]


def test_both_readmes_have_the_same_commands():
    """Line by line, comments aside; and the same words between backticks, in any order."""
    assert commands("README.md") == commands("README.zh.md")
    inline = [Counter(re.findall(r"`([^`]+)`", text_of(name))) for name in READMES]
    assert inline[0] - Counter(["single", "multi5+permute"]) == inline[1]


def test_both_readmes_have_the_same_numbers_and_links():
    """All numbers in digits outside commands, and all places that links lead to but the other README."""
    numbers, links = [], []
    for name in READMES:
        text = "\n".join(line for line in text_of(name).splitlines() if not line.startswith("    "))
        links.append(Counter(re.findall(r"\]\(([^)]+)\)", text)) - Counter(READMES))
        numbers.append(Counter(re.findall(r"-?\d[\d,.]*\d|\d", re.sub(r"\]\([^)]*\)|`[^`]*`", "]", text))))
    assert links[0] == links[1]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_long_page_has_a_table_of_contents(path):
    """A page of more than 1,500 words begins with links to all its sections."""
    text = path.read_text(encoding="utf-8")
    if len(text.split()) <= 1500 or path.name in NO_CONTENTS:
        return
    sections = re.findall(r"^## (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    contents = text.partition("On this page: ")[2].partition("\n\n")[0]
    assert re.findall(r"\[([^\]]+)\]\(#", contents) == sections


def test_the_site_has_every_page_once():
    """The navigation of mkdocs.yml, and no page twice."""
    shown = re.findall(r"^ *- .*?([\w/-]+\.md)$", text_of("mkdocs.yml"), re.MULTILINE)
    assert sorted(shown) == [path.relative_to(DOCS).as_posix() for path in PAGES]


def test_the_reference_has_every_public_name_once():
    """`make docs` fills it from docstrings."""
    assert sorted(re.findall(r"^::: nosce\.(\w+)$", text_of("docs/api.md"), re.MULTILINE)) == sorted(nosce.__all__)


def test_every_question_cites_a_thread_and_gives_a_command_or_a_page():
    """At least eight; a thread is a repository with a number, and the text of the link is the address's."""
    questions = re.split(r"^## ", text_of("docs/faq.md"), flags=re.MULTILINE)[1:]
    assert len(questions) >= 8
    for question in questions:
        threads = re.findall(r"\[([\w./-]*)#(\d+)\]\(https://github\.com/([\w./-]+)/(?:issues|pull)/(\d+)\)", question)
        assert threads, question
        repository = threads[0][0]
        for shown, number, there, there_number in threads:
            repository = shown or repository
            assert (repository, number) == (there, there_number)
        assert re.search(r"^    nosce |\]\([\w-]+\.md", question, re.MULTILINE), question


@pytest.mark.parametrize("path", [*map(ROOT.joinpath, READMES), *PAGES], ids=lambda path: path.name)
def test_addresses_are_well_formed(path):
    """Links into the network are looked at and not followed: https, a host, and the forms of arXiv and GitHub."""
    for address in re.findall(r"\]\((\w+:[^)\s]+)\)", path.read_text(encoding="utf-8")):
        parts = urlsplit(address)
        assert parts.scheme == "https", address
        assert "." in parts.netloc, address
        if parts.netloc == "arxiv.org":
            assert re.fullmatch(r"/abs/\d{4}\.\d{5}", parts.path), address
        if parts.netloc == "github.com":
            assert re.fullmatch(r"/[\w.-]+/[\w.-]+(/(issues|pull)/\d+)?", parts.path), address


def test_the_source_of_the_site_holds_what_pages_link(tmp_path):
    """Every relative link of every staged page leads to a file that is staged too."""
    words = [sys.executable, str(DOCS / "stage_site.py"), str(tmp_path / "source")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stderr == ""
    staged = sorted((tmp_path / "source").rglob("*.md"))
    assert len(staged) > len(PAGES)
    for path in staged:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            place = target.partition("#")[0]
            if place and not re.match(r"[a-z]+:", place):
                assert (path.parent / place).resolve().is_relative_to(tmp_path), f"{path}: {target}"
                assert (path.parent / place).exists(), f"{path}: {target}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    """`make docs`, as far as it goes without installing; the reference is filled in, and no page asks another host."""
    program = shutil.which("zensical", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("zensical is not installed; `pip install 'nosce[docs]'` brings it")
    source = tmp_path / "build" / "site-source"
    subprocess.run([sys.executable, str(DOCS / "stage_site.py"), str(source)], check=True)
    (tmp_path / "mkdocs.yml").write_text(text_of("mkdocs.yml"))
    (tmp_path / "src").symlink_to(ROOT / "src")
    words = [program, "build", "--strict", "--clean", "--config-file", "mkdocs.yml"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert 'id="nosce.Claim"' in (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    for path in (tmp_path / "site").glob("*.html"):
        assert not re.search(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="http', path.read_text("utf-8"))
