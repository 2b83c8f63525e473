"""The method of a run in few lines, with the paper's sizes beside where they are known."""

import csv
import importlib.resources
from dataclasses import replace

import pytest
from tests.fixtures import little_studies
from tests.studies.test_paper_table import ROWS

from nosce.pipeline.method_lines import MAX_LINES, PAPER_SIZES, method_lines, paper_sizes
from nosce.pipeline.plan import StudyRequest, build_plan
from nosce.pipeline.plan_record import PlanRecord


@pytest.fixture(scope="module")
def record():
    study = little_studies.one_arm("smoke")
    return PlanRecord.of(StudyRequest(study="little.py:one_arm", scale="smoke"), build_plan(study))


def test_the_sizes_are_those_of_the_plan(record):
    """World, model, training and later stages."""
    lines = {line.name: line.here for line in method_lines(record)}
    assert lines["conditions"] == "1: only"
    assert lines["training seeds"] == "1 (seed 0)"
    assert lines["model"].startswith("2x64")
    assert lines["optimizer steps"] == "6"
    assert lines["texts a step"] == "12"
    assert lines["learning rate"] == "0.005"
    assert lines["steps of finetune"] == "4"
    assert lines["checkpoints"] == "2"
    assert len(lines) <= MAX_LINES


def test_the_paper_s_sizes_are_those_of_the_built_in_study_alone(record):
    """Not of somebody's own file of the same name, nor of a model that was trained elsewhere."""
    assert not any(line.paper for line in method_lines(record))
    ours = replace(record, study="biographies", requested_as="biographies")
    assert {line.name: line.paper for line in method_lines(ours)}["optimizer steps"] == "80,000"
    assert not any(line.paper for line in method_lines(replace(ours, requested_as="mine.py:study")))
    assert not any(line.paper for line in method_lines(replace(ours, models="smollm2")))
    assert paper_sizes("nobody's") == {}


def test_the_paper_s_sizes_are_those_of_the_documentation():
    """Each number stands in docs/paper-scale.md, with its source."""
    text = importlib.resources.files("nosce.studies").joinpath(PAPER_SIZES).read_text(encoding="utf-8")
    known = {(row.study, row.setting, row.paper) for row in ROWS if row.scale == "paper"}
    listed = [(row["study"], row["setting"], row["paper"]) for row in csv.DictReader(text.splitlines())]
    assert listed
    assert not {*listed} - known
