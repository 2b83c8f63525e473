"""Processes that render a world with a hash seed of their own: kept for the next world, and never one that is stale."""

from __future__ import annotations

import sys

import pytest

from nosce.data import rendering_process
from nosce.data.rendering_process import digest_in_other_process
from nosce.errors import LeakageError
from nosce.records import Document
from nosce.seeds import Seed


def three_texts(seed):
    for number in range(3):
        yield Document(str(number), "a", f"text {number} of {seed}", ())


def in_order_of_a_set(seed):
    yield from (Document(word, word, word, ()) for word in {"acorn", "basil", "cedar", "dill", "elder", "fern"})


def failing(seed):
    raise ValueError("planted")
    yield


def process_id(hash_seed):
    return rendering_process._processes[hash_seed].process.pid


def test_one_process_serves_one_world_after_the_other():
    """Its hash seed is its own; a second world needs no second start."""
    first = digest_in_other_process(in_order_of_a_set, Seed(0), "1", 10)
    started = process_id("1")
    assert digest_in_other_process(in_order_of_a_set, Seed(0), "1", 10) == first
    assert digest_in_other_process(three_texts, Seed(0), "1", 10) != first
    assert process_id("1") == started
    assert digest_in_other_process(in_order_of_a_set, Seed(0), "2", 10) != first


def test_a_process_in_which_a_world_failed_is_replaced():
    """The next world is rendered by a new one."""
    with pytest.raises(LeakageError, match="could not render"):
        digest_in_other_process(failing, Seed(0), "1", 10)
    assert "1" not in rendering_process._processes
    assert len(digest_in_other_process(three_texts, Seed(0), "1", 10)) == 64


def test_another_import_path_needs_another_process(tmp_path, monkeypatch):
    """Two users' files of one name are two worlds."""
    code = "from nosce.records import Document\ndef texts(seed):\n    yield Document('0', 'a', {word!r}, ())\n"
    digests = []
    for word in ("acorn", "basil"):
        folder = tmp_path / word
        folder.mkdir()
        (folder / "users_world.py").write_text(code.format(word=word))
        with monkeypatch.context() as patched:
            patched.syspath_prepend(folder)
            import users_world

            digests.append(digest_in_other_process(users_world.texts, Seed(0), "1", 10))
        del sys.modules["users_world"]
    assert digests[0] != digests[1]


def test_a_process_that_may_end_any_moment_is_not_asked(monkeypatch):
    """After a while without questions a new one is started."""
    digest_in_other_process(three_texts, Seed(0), "1", 10)
    started = process_id("1")
    monkeypatch.setattr(rendering_process, "MAX_REUSE_SECONDS", 0.0)
    digest_in_other_process(three_texts, Seed(0), "1", 10)
    assert process_id("1") != started
