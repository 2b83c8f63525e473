"""A description is a name: equal things have equal digests, and whatever changes a thing changes its digest."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field, is_dataclass, make_dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import numpy as np
import pytest

import nosce
from nosce.errors import SpecError
from nosce.seeds import Seed
from nosce.store.spec import (
    LATER,
    canonical_json,
    describe,
    diff_descriptions,
    flatten_description,
    hash_description,
    spec_classes,
    spec_name,
)


@dataclass(frozen=True, kw_only=True)
class Village:
    """A stand-in for a world."""

    people: int = 10
    names: tuple[str, ...] = ("Åsa", "Ben")
    torn: bool = False
    note: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A spec that holds another one."""

    world: Village = field(default_factory=Village)
    rate: float = 1e-3
    start: str | None = None
    seed: Seed = Seed(0) / "world"


def named(thing: object) -> str:
    """The digest of a thing's description."""
    return hash_description(describe(thing))


def test_equal_things_have_equal_digests():
    """Two specs that compare equal are one, whether a default was written out or left."""
    assert named(Arm()) == named(Arm(world=Village(people=10), rate=0.001)) == named(replace(Arm()))


CHANGES = {
    "number": Arm(rate=2e-3),
    "last bit of a number": Arm(rate=math.nextafter(1e-3, 1)),
    "inner number": Arm(world=Village(people=11)),
    "order of a tuple": Arm(world=Village(names=("Ben", "Åsa"))),
    "length of a tuple": Arm(world=Village(names=("Åsa",))),
    "letter": Arm(world=Village(names=("Asa", "Ben"))),
    "split of a word": Arm(world=Village(names=("ÅsaBen",))),
    "truth": Arm(world=Village(torn=True)),
    "none for a word": Arm(start="None"),
    "empty for none": Arm(start=""),
    "root of the seed": Arm(seed=Seed(1) / "world"),
    "name of the seed": Arm(seed=Seed(0) / "other"),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_any_change_gives_another_digest(changed):
    """No field is overlooked, however deep or small its change, and the change can be named."""
    assert named(CHANGES[changed]) != named(Arm())
    assert diff_descriptions(describe(CHANGES[changed]), describe(Arm()))


def test_a_changed_default_gives_another_digest():
    """A default that was raised is a new key, though nobody wrote it down: no silent reuse."""
    old, new = (make_dataclass("Thing", [("people", int, default)], frozen=True) for default in (1, 2))
    assert named(old()) != named(new())
    assert named(old(2)) == named(new())


def test_an_added_field_or_another_class_gives_another_digest():
    """A class that learnt a field, or goes by another name, makes other things than before."""
    old = make_dataclass("Thing", [("people", int, 1)], frozen=True)
    more = make_dataclass("Thing", [("people", int, 1), ("cities", int, 0)], frozen=True)
    other = make_dataclass("Other", [("people", int, 1)], frozen=True)
    assert len({named(kind()) for kind in (old, more, other)}) == 3


def test_what_equality_ignores_the_digest_ignores():
    """A field that is no part of what a thing is (`compare=False`) is no part of its name."""
    assert named(Village(note="mine")) == named(Village())


@pytest.mark.parametrize(
    "thing",
    [
        math.nan,
        math.inf,
        -math.inf,
        len,
        lambda: 0,
        {1, 2},
        frozenset({"a"}),
        b"bytes",
        Path("x"),
        np.arange(2),
        np.int64(1),
        object(),
        Village,
        1j,
    ],
    ids=lambda thing: type(thing).__name__,  # an address would differ between two workers
)
def test_what_has_no_fixed_bytes_is_refused(thing):
    """A NaN, a function, a set and the like are refused where the name is made, deep inside too, in one sentence."""
    for holder in (thing, [thing], {"a": (1, thing)}, Arm(start=thing)):
        with pytest.raises(SpecError, match=r"^a spec holds .* which has no fixed bytes to hash; .*\.$"):
            describe(holder)


def test_a_description_is_plain_json():
    """What is hashed is what can be stored and read again, in any language, with any alphabet."""
    description = describe(Arm())
    assert json.loads(canonical_json(description)) == description
    assert "Åsa" in canonical_json(description)
    assert hash_description(json.loads(json.dumps(description))) == hash_description(description)


def test_the_order_of_names_does_not_matter():
    """Fields are sorted by name, so that moving a line in a class moves no result."""
    assert hash_description({"a": 1, "b": [1, 2]}) == hash_description({"b": [1, 2], "a": 1})
    assert hash_description({"a": [1, 2]}) != hash_description({"a": [2, 1]})


def test_the_bytes_of_a_digest_never_move():
    """A digest written down once is met again: stores made earlier keep their names."""
    assert (
        hash_description({"people": 10, "rate": 0.001, "names": ["Åsa", None, True]})
        == "23d73b75ed464b688e99de56c43ca292c9db2447ec3cdf92434e69b6aaa687e6"
    )


def test_differences_name_the_path_and_both_values():
    """`explain` can say which number was changed, where it stands, and from what to what."""
    changed = Arm(world=Village(people=11, names=("Åsa", "Cleo")), seed=Seed(1) / "world")
    assert diff_descriptions(describe(Arm()), describe(changed)) == [
        ("seed", "0/world", "1/world"),
        ("world.names[1]", "Ben", "Cleo"),
        ("world.people", 10, 11),
    ]
    assert diff_descriptions(describe(Arm()), describe(Arm())) == []


def test_differences_see_what_one_side_lacks():
    """A value that stands only on one side is named, and the other side counts as None."""
    assert diff_descriptions({"a": [1, 2]}, {"a": [1], "b": "new"}) == [("a[1]", 2, None), ("b", None, "new")]


def test_leaves_reach_every_value():
    """Every plain value of a description is found once, by its path."""
    assert flatten_description({"a": 1, "b": {"c": [2, {"d": None}], "e": []}}) == {
        "a": 1,
        "b.c[0]": 2,
        "b.c[1].d": None,
        "b.e": [],
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": 1, "b": None}), ({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": True}), ({"a": {}}, {"a": None})],
)
def test_whatever_changes_the_digest_can_be_named(one, other):
    """Two descriptions with different digests differ somewhere that `explain` can show."""
    assert hash_description(one) != hash_description(other)
    assert diff_descriptions(one, other)


def test_a_slash_inside_a_seeds_name_is_refused():
    """Two places that draw differently would be described alike."""
    assert (Seed(0) / "a/b").digest() != (Seed(0) / "a" / "b").digest()
    with pytest.raises(SpecError, match="slash"):
        describe(Seed(0) / "a/b")


def _village(module: str, **extra: object) -> object:
    """An instance of a frozen class `Village` that lives in a module."""
    fields: list = [("people", int, 10), *extra.pop("fields", [])]
    kind = make_dataclass("Village", fields, frozen=True, namespace=extra)
    kind.__module__ = module  # Python 3.12 overwrites one in the namespace, and 3.11 has no argument for it
    return kind()


def test_a_class_of_ours_may_move_to_another_module():
    """The key of a step says what a class is called, not in which file of the package it stands."""
    here, there = _village("nosce.data.worlds.village"), _village("nosce.studies.village.world")
    assert hash_description(describe(here)) == hash_description(describe(there))


def test_a_class_that_was_renamed_may_keep_its_name_in_keys():
    """`spec_name` is what stands in descriptions, of the class that declares it alone."""
    assert describe(_village("nosce.data.worlds.village", spec_name="Hamlet"))["type"] == "Hamlet"


def test_classes_of_two_users_are_two():
    """Anybody else's classes of one name are told apart by their modules."""
    assert describe(_village("my_study")) != describe(_village("your_study"))
    assert describe(_village("my_study")) != describe(_village("nosce.data.worlds.village"))


def test_a_later_field_counts_once_it_is_used():
    """A field that is marked as later leaves old keys alone until somebody sets it."""
    later = ("boats", int, field(default=0, metadata=LATER))
    assert describe(_village("nosce.village", fields=[later])) == describe(_village("nosce.village"))
    used = ("boats", int, field(default=1))
    assert describe(_village("nosce.village", fields=[used])) != describe(_village("nosce.village"))


def test_the_classes_of_a_spec_are_found_at_every_depth():
    """What a step was made by is looked up from the classes in its spec."""
    assert set(spec_classes({"a": [Arm()], "b": (Village(),)})) == {Arm, Village}


def test_hashed_names_are_unique():
    """Two dataclasses of the package never go by one name, so that no step is taken for another's."""
    kinds = []
    for _, name, _ in walk_packages(nosce.__path__, "nosce."):
        if "__main__" not in name:
            members = vars(import_module(name)).values()
            kinds += [m for m in members if isinstance(m, type) and m.__module__ == name and is_dataclass(m)]
    names = Counter(spec_name(kind) for kind in kinds)
    assert len(kinds) > 100
    assert {name for name, times in names.items() if times > 1} == set()
