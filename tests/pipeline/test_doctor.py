"""The doctor finds an extra by the packages that the extra asks for."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from nosce.pipeline import doctor

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def without(monkeypatch, *missing):
    """No package of these names is installed; every other one is, as version 1."""

    def version(package):
        if package in missing:
            raise metadata.PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(doctor, "version", version)


def test_every_extra_of_the_project_is_looked_for_by_its_own_packages():
    """The table of the doctor is that of pyproject.toml, but for the extras of the developers."""
    asked = {
        extra: {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}
        for extra, requirements in PROJECT["optional-dependencies"].items()
        if extra not in ("dev", "docs")
    }
    assert {extra: set(packages) for extra, (packages, _) in doctor.EXTRAS.items()} == asked


@pytest.mark.parametrize("extra", doctor.EXTRAS)
def test_an_extra_without_one_of_its_packages_is_missing(monkeypatch, extra):
    """Whatever else is installed, e.g. what another extra brings."""
    for package in doctor.EXTRAS[extra][0]:
        without(monkeypatch, package)
        _, found, so = doctor._extras_row()

        assert f"{extra} (" not in found
        assert f"pip install 'nosce[{extra}]'" in so
        assert all(f"{other} (" in found for other in doctor.EXTRAS if other != extra)


def test_nothing_is_missing_where_all_are_installed(monkeypatch):
    """All extras with their versions; without any the row says none."""
    without(monkeypatch)
    assert doctor._extras_row() == (
        "extras",
        "api (httpx2 1), ray (ray 1), scores (sacrebleu 1, rouge-score 1), gguf (gguf 1), excel (fastexcel 1), "
        "inspect (inspect-ai 1), tensorboard (tensorboard 1)",
        "nothing is missing",
    )
    without(monkeypatch, "httpx2", "ray", "sacrebleu", "gguf", "fastexcel", "inspect-ai", "tensorboard")
    assert doctor._extras_row()[1] == "none"
