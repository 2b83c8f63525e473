"""`--set key=value` changes fields of a configuration, and says what it cannot do before any work."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from nosce.errors import SpecError, UsageError
from nosce.studies.settings import apply_settings, settable_fields


@dataclass(frozen=True)
class Inner:
    people: int = 3
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"

    def __post_init__(self):
        if self.people < 1:
            raise SpecError("Inner needs people.")


@dataclass(frozen=True)
class Config:
    steps: int = 1
    world: Inner = field(default_factory=Inner)
    other: Inner = field(default_factory=Inner)
    seeds: tuple[int, ...] = (0,)
    top: float | None = None
    chat: bool = False
    folder: str = ""
    limit: int = 7
    shape: tuple[int, int] = (6, 6)
    table: dict[str, int] = field(default_factory=dict)


def changed(*settings):
    return apply_settings(Config(), settings, study="s")


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("world.people=50", "world.people", 50),
        ("limit=1_000", "limit", 1_000),
        ("world.rate=1e-3", "world.rate", 1e-3),
        ("world.rate = .25", "world.rate", 0.25),
        ("other.kind=b", "other.kind", "b"),
        ("seeds=1,2, 3", "seeds", (1, 2, 3)),
        ("seeds=", "seeds", ()),
        ("shape=2, 3", "shape", (2, 3)),
        ("top=2", "top", 2.0),
        ("top=none", "top", None),
        ("chat=yes", "chat", True),
        ("chat=false", "chat", False),
        ("folder=~/a=b.txt", "folder", "~/a=b.txt"),
    ],
)
def test_a_setting_changes_its_field_alone(setting, path, value):
    found = changed(setting)
    one = found
    for name in path.split("."):
        one = getattr(one, name)
    assert one == value
    assert type(one) is type(value)
    back = apply_settings(found, [f"{path}={'none' if path == 'top' else ''}"], study="s") if path == "top" else None
    assert back is None or back == Config()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("limit", "has no value"),
        ("replay=texts", "--replay means nothing to s, whose configuration has no such field; leave it out"),
        ("peple=3", "names no field of s's configuration; take e.g. "),
        ("people=3", "could mean world.people, other.people"),
        ("limit=x", "is not a whole number"),
        ("limit=1.5", "is not a whole number"),
        ("limit=1e3", "is not a whole number"),
        ("world.rate=nan", "is not a number"),
        ("world.rate=inf", "is not a number"),
        ("world.rate=1e9999", "is not a number"),
        ("chat=2", "is not yes or no"),
        ("world.kind=c", "is none of a, b"),
        ("table=3", "names no field"),
        ("steps=5", "names no field"),  # follows from other fields
        ("limit=none", "is not a whole number"),
        ("shape=2", "gives 1 values; give 2 between commas"),
        ("shape=2,x", "is not a whole number"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(setting, said):
    with pytest.raises(UsageError) as error:
        changed(setting)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_that_the_configuration_refuses_is_named_with_its_reason():
    with pytest.raises(SpecError, match=r"--set world.people=0 was refused: Inner needs people"):
        changed("world.people=0")


def test_one_field_is_set_once():
    with pytest.raises(UsageError, match=r"gives world\.people twice, '3' and '4'"):
        changed("world.people=3", "world.people=4")


def test_every_field_that_is_listed_can_be_set():
    values = {int: "2", float: "0.5", str: "a", bool: "yes"}
    for path in settable_fields(Config()):
        one = Config()
        for name in path.split("."):
            one = getattr(one, name)
        text = "1,1" if path == "shape" else values.get(type(one), "1")
        assert apply_settings(Config(), [f"{path}={text}"], study="s")
    assert "table" not in settable_fields(Config())
