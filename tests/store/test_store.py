"""The store: a step is whole or not there, damage is seen, and a lease dies with its holder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from nosce.errors import DamagedError, LeasedError, StoreError, UsageError
from nosce.store import fingerprint as source
from nosce.store.files import SCRATCH
from nosce.store.store import Store

NAME = "corpus-0123456789abcdef0123"
DATA = {"data.bin": bytes(range(256)) * 40, "words.txt": "Þórshöfn\n".encode(), "tokenizer/tokenizer.json": b"{}"}
NUMBER = count()


@pytest.fixture
def here(tmp_path) -> Store:
    """A new store."""
    return Store.open(tmp_path / "store")


def make(here: Store, name: str = NAME, data: dict[str, bytes] = DATA, **provenance) -> Path:
    """What a step function and the store do together: files in the work folder, then finished."""
    for path, content in data.items():
        (here.work_folder(name) / path).parent.mkdir(parents=True, exist_ok=True)
        (here.work_folder(name) / path).write_bytes(content)
    return here.finish(name, {"kind": "corpus", "spec": {"people": 10}}, provenance)


def bytes_below(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(code: str, *words: object) -> subprocess.CompletedProcess:
    """A Python program in a process of its own, with this file's helpers at hand."""
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_store import *\n"
    return subprocess.run([sys.executable, "-c", start + code, *map(str, words)], capture_output=True, text=True)


def test_a_finished_step_is_what_was_made(here):
    """The data come out as they went in, beside what they are and where they come from."""
    folder = make(here, seconds=1.5)
    assert folder == here.folder(NAME) == here.verified(NAME)
    assert {path: content for path, content in bytes_below(folder).items() if path in DATA} == DATA
    step_record = here.step_record(NAME)
    assert step_record.spec == {"kind": "corpus", "spec": {"people": 10}}
    assert step_record.provenance["seconds"] == 1.5
    assert [record.name for record in here.step_records()] == [NAME]


def test_an_unfinished_step_is_not_there(here):
    """While its files are being written a step cannot be found, and its work folder is gone once it is whole."""
    here.work_folder(NAME).mkdir()
    (here.work_folder(NAME) / "data.bin").write_bytes(b"half")
    assert not here.has(NAME)
    assert not here.folder(NAME).exists()
    assert here.step_records() == []
    make(here)
    assert here.has(NAME)
    assert not here.work_folder(NAME).exists()


KILLED = """
module, name = sys.argv[2].split(".")
setattr(sys.modules[module], name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
make(Store(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("moment", ["hashlib.file_digest", "os.fsync", "os.replace"])
def test_a_power_cut_while_finishing_leaves_no_step(here, moment):
    """A process killed anywhere before the rename leaves nothing that looks finished, and all its work."""
    assert run(KILLED, here.root, moment).returncode == -signal.SIGKILL
    assert not here.has(NAME)
    assert not here.folder(NAME).exists()
    assert {path: content for path, content in bytes_below(here.work_folder(NAME)).items() if path in DATA} == DATA
    make(here)
    assert here.verified(NAME) == here.folder(NAME)


def test_notes_of_a_step_to_itself_are_not_kept(here):
    """What a step wrote down for going on later is gone from what is finished."""
    (here.work_folder(NAME) / SCRATCH).mkdir(parents=True)
    (here.work_folder(NAME) / SCRATCH / "resume.safetensors").write_bytes(b"long")
    folder = make(here)
    assert not (folder / SCRATCH).exists()
    here.verified(NAME)


def test_the_digest_is_of_the_data_alone(here):
    """Equal data have one digest whoever made them and when; other data, or another file name, have another."""
    digests = [
        here.step_record(name).digest
        for name, data, seconds in [
            ("a-1", DATA, 1),
            ("b-2", DATA, 2),
            ("c-3", {**DATA, "data.bin": b"x"}, 1),
            ("d-4", {**DATA, "more": b""}, 1),
        ]
        if make(here, name, data, seconds=seconds)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def flip(folder: Path) -> str:
    """One bit of one file; size and time are as before."""
    path = folder / "data.bin"
    stamp = path.stat()
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return "data.bin"


def lose(folder: Path) -> str:
    """A file is gone."""
    (folder / "tokenizer" / "tokenizer.json").unlink()
    return "tokenizer/tokenizer.json"


def add(folder: Path) -> str:
    """A file that nobody made."""
    (folder / "tokenizer" / "extra.json").write_text("{}")
    return "tokenizer/extra.json"


def cut(folder: Path) -> str:
    """A file that ends too early."""
    (folder / "data.bin").write_bytes(DATA["data.bin"][:-1])
    return "data.bin"


def rewrite(folder: Path) -> str:
    """What the step is said to be was edited."""
    (folder / "spec.json").write_text(json.dumps({"kind": "corpus", "spec": {"people": 11}}))
    return "spec.json"


def cut_manifest(folder: Path) -> str:
    """The list of checksums ends too early."""
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(text[: len(text) // 2])
    return "manifest.json"


def empty_manifest(folder: Path) -> str:
    """The list of checksums has its length and no content, as after a power cut."""
    (folder / "manifest.json").write_bytes(bytes(200))
    return "manifest.json"


@pytest.mark.parametrize("damage", [flip, lose, add, cut, rewrite, cut_manifest, empty_manifest])
def test_damage_is_seen_and_named(here, damage):
    """Whatever happens to a finished folder, it is not used, and one sentence says which file it was."""
    file = damage(make(here))
    with pytest.raises(DamagedError) as refusal:
        here.verified(NAME)
    assert file in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_a_step_without_manifest_is_not_there(here):
    """A folder that lost its manifest is no finished step, so it is made again."""
    (make(here) / "manifest.json").unlink()
    assert not here.has(NAME)
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        here.verified(NAME)


def test_unreadable_steps_do_not_hide_the_others(here):
    """A listing of the store leaves out a folder whose description is cut and shows all others."""
    make(here)
    (make(here, "corpus-other") / "spec.json").write_text("{")
    assert [record.name for record in here.step_records()] == [NAME]
    with pytest.raises(DamagedError, match="corpus-other"):
        here.step_record("corpus-other")


def test_many_damaged_files_are_counted(here):
    """A sentence names three files and counts the rest, rather than a hundred names."""
    folder = make(here, data={f"{n}.bin": b"x" for n in range(9)})
    for file in folder.glob("*.bin"):
        file.write_bytes(b"y")
    with pytest.raises(DamagedError, match=r"0\.bin, 1\.bin, 2\.bin and 6 more;"):
        here.verified(NAME)


HOLD = """
with Store(Path(sys.argv[1])).lease(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lease_excludes_others_and_dies_with_its_holder(here):
    """A step that another process makes cannot be leased; when that one is killed, it can, without cleaning up."""
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_store import *\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", start + HOLD, str(here.root), NAME], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LeasedError, match=rf"^{NAME} is being made by \S+:{holder.pid} since .*\.$"):
            here.lease(NAME).__enter__()
        with here.lease("another-step"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(10)
        deadline = time.monotonic() + 10
        while True:  # the kernel closes a dead process's files in its own time
            try:
                with here.lease(NAME):
                    break
            except LeasedError:
                assert time.monotonic() < deadline


def test_a_lease_excludes_its_own_process_too(here):
    """Two workers of one process cannot make the same step, and a lease can be taken again once it ended."""
    with here.lease(NAME), pytest.raises(LeasedError, match=str(os.getpid())), here.lease(NAME):
        pass
    with here.lease(NAME):
        pass


def test_a_lease_is_given_back_when_its_block_fails(here):
    """A step that raises does not keep others from trying."""
    with pytest.raises(ZeroDivisionError), here.lease(NAME):
        raise ZeroDivisionError
    with here.lease(NAME):
        pass


def in_one_sentence(refusal: StoreError) -> bool:
    """One line, one full stop at its end, and something to do."""
    text = str(refusal)
    return "\n" not in text and text.endswith(".") and ". " not in text and "--store" in text


def test_a_store_that_is_a_file_is_refused(tmp_path):
    """A path that is a file is refused with a sentence that names it, and stays what it was."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt") as refusal:
        Store.open(tmp_path / "notes.txt")
    assert in_one_sentence(refusal.value)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("place", ["/proc/nosce", "/sys/nosce", "{tmp}/notes.txt/store"])
def test_a_disk_that_refuses_is_one_sentence(place, tmp_path):
    """Where no folder can be made, whatever the system's reason, the sentence names the place."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError) as refusal:
        Store.open(place.format(tmp=tmp_path))
    assert in_one_sentence(refusal.value)
    assert place.format(tmp=tmp_path) in str(refusal.value)


FULL = """
import resource
from nosce.store.store import store_write_error
here = Store(Path(sys.argv[1]))
here.work_folder(NAME).mkdir()
for path in ("a.bin", "b.bin"):
    (here.work_folder(NAME) / path).write_bytes(b"x" * 64)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    here.finish(NAME, {"kind": "corpus"}, {"note": "y" * 200})
except OSError as error:
    print(store_write_error(error, here.work_folder(NAME)))
    sys.exit(3)
"""


def test_a_full_disk_while_finishing_leaves_no_step(here):
    """Where the disk ends in the middle of finishing, nothing looks finished, and it can be finished later."""
    done = run(FULL, here.root)
    assert done.returncode == 3, done.stderr
    assert in_one_sentence(StoreError(done.stdout.strip()))
    assert not here.has(NAME)
    assert not here.folder(NAME).exists()
    here.finish(NAME, {"kind": "corpus"}, {})
    here.verified(NAME)
    assert (here.folder(NAME) / "a.bin").read_bytes() == b"x" * 64


def test_what_is_set_aside_keeps_its_bytes(here):
    """A step that is moved out of the way is gone under its name and whole under another."""
    before = bytes_below(make(here))
    target = here.set_aside(NAME, "damaged")
    assert not here.has(NAME)
    assert target.parent == here.root / "damaged"
    assert target.name.startswith(NAME)
    assert bytes_below(target) == before


def test_a_step_made_again_sets_the_old_one_aside(here):
    """Finishing a step that is there replaces it in one rename and throws nothing away."""
    before = bytes_below(make(here))
    make(here, data={"data.bin": b"new"})
    assert (here.folder(NAME) / "data.bin").read_bytes() == b"new"
    assert [bytes_below(folder) for folder in (here.root / "replaced").iterdir()] == [before]


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """A module of somebody's project that makes a step."""
    path = tmp_path / f"maker{next(NUMBER)}.py"
    path.write_text("PEOPLE = 10\n")
    monkeypatch.syspath_prepend(tmp_path)
    return path


def test_a_step_is_stale_when_its_code_changed(here, module):
    """A step says which module has changed since it was made; a comment is no change."""
    roots = [module.stem]
    make(here, roots=roots, modules=source.module_hashes(*roots), inputs={})
    assert here.stale_reason(here.step_record(NAME)) is None
    module.write_text("PEOPLE = 10  # as in the paper\n")
    assert here.stale_reason(here.step_record(NAME)) is None
    module.write_text("PEOPLE = 11  # more than in the paper\n")
    assert module.stem in here.stale_reason(here.step_record(NAME))


def test_a_step_is_stale_when_its_code_is_gone(here, module):
    """Code that cannot be found any more cannot be trusted to give the same."""
    roots = [module.stem]
    make(here, roots=roots, modules=source.module_hashes(*roots), inputs={})
    module.unlink()
    assert module.stem in here.stale_reason(here.step_record(NAME))


def test_a_step_is_stale_when_an_input_changed(here):
    """A step made from data that were since made again with other bytes says so; equal bytes do not matter."""
    make(here, "corpus-a")
    make(here, NAME, roots=[], modules={}, inputs={"corpus-a": here.step_record("corpus-a").digest})
    assert here.stale_reason(here.step_record(NAME)) is None
    make(here, "corpus-a", seconds=2)
    assert here.stale_reason(here.step_record(NAME)) is None
    here.set_aside("corpus-a", "elsewhere")
    assert here.stale_reason(here.step_record(NAME)) is None
    make(here, "corpus-a", {"data.bin": b"new"})
    assert "corpus-a" in here.stale_reason(here.step_record(NAME))


def test_a_step_can_be_made_again_and_again(tmp_path):
    """Three results of one step within a second: the last one stands, the two before are set aside."""
    here = Store.open(tmp_path)
    for number in range(3):
        here.work_folder("a-1").mkdir()
        (here.work_folder("a-1") / "data").write_text(str(number))
        here.finish("a-1", {}, {})
    assert len(list((tmp_path / "replaced").iterdir())) == 2


def test_a_path_the_system_will_not_look_at_is_one_sentence(tmp_path):
    """A name too long (or, for anybody but root, a folder above that may not be read) is a StoreError too."""
    with pytest.raises(StoreError):
        Store.open(tmp_path / ("g" * 300))


def test_a_step_whose_input_is_damaged_can_be_asked_about(tmp_path):
    """Whether a step is stale can be said, or at least listed, when one of its inputs cannot be read."""
    here = Store.open(tmp_path)
    for name, inputs in (("a-1", {}), ("b-2", {"a-1": "0"})):
        here.work_folder(name).mkdir()
        here.finish(name, {}, {"roots": [], "modules": {}, "inputs": inputs})
    (here.folder("a-1") / "provenance.json").write_text("{")
    assert here.stale_reason(here.step_record("b-2")) is not None


@pytest.mark.parametrize("file", ["manifest.json", "spec.json", "provenance.json"])
def test_json_that_is_no_object_is_damage(tmp_path, file):
    """A file of the store that holds something else than it should is damage, whatever JSON it is."""
    here = Store.open(tmp_path)
    here.work_folder("a-1").mkdir()
    here.finish("a-1", {}, {})
    (here.folder("a-1") / file).write_text("[]")
    with pytest.raises(DamagedError):
        here.verified("a-1")
    if file == "provenance.json":
        with pytest.raises(DamagedError):
            _ = here.step_record("a-1").digest
