"""What several tests lean on: a world of a dozen people, the command, and one finished store for all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Before torch or tokenizers are imported: one thread each, or two workers of xdist would use four on two cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest
from filelock import FileLock

from nosce.seeds import Seed
from nosce.steps.corpus import CorpusSpec, make
from nosce.steps.job import Job
from nosce.text.corpus import Corpus
from nosce.text.tokenizer import TokenizerSpec
from nosce.worlds.biographies import Biographies

DATA = Path(__file__).parent / "data"


class Nosce:
    """The installed command of the Python that runs the tests, as a function of its words."""

    def __init__(self) -> None:
        self.path = str(Path(sys.executable).with_name("nosce"))

    def __call__(
        self, *words: object, cwd: Path | None = None, before: Callable[[], None] | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; other keyword arguments are environment variables."""
        return subprocess.run([self.path, *map(str, words)], capture_output=True, text=True, timeout=300, cwd=cwd,
                              env=self.surroundings(**variables), preexec_fn=before)  # fmt: skip

    def start(self, *words: object, **variables: str) -> subprocess.Popen[str]:
        """Start it in a process group of its own, as a shell would."""
        return subprocess.Popen([self.path, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=self.surroundings(**variables), start_new_session=True)  # fmt: skip

    def surroundings(self, **more: str) -> dict[str, str]:
        """An environment without what the tester's own shell says about stores and colours."""
        unwanted = {"NOSCE_STORE", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "PYTEST_CURRENT_TEST"}
        return {name: value for name, value in os.environ.items() if name not in unwanted} | {"COLUMNS": "160"} | more


@pytest.fixture(scope="session")
def nosce() -> Nosce:
    """The command line, in processes of its own."""
    return Nosce()


@pytest.fixture(scope="session")
def little() -> Callable[[str], str]:
    """The name under which the command knows a study of `data/little_studies.py`."""
    return lambda function: f"{DATA / 'little_studies.py'}:{function}"


def _shared(factory: pytest.TempPathFactory) -> Path:
    """A folder that all xdist workers of this session see, and no other session."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory: pytest.TempPathFactory, nosce: Nosce) -> Path:
    """A store in which `biographies` was finished at scale smoke, once for all workers; only to be looked at."""
    store = _shared(tmp_path_factory) / "smoke"
    with FileLock(store.with_suffix(".lock")):
        if not (done := store.with_suffix(".done")).exists():
            ended = nosce("run", "biographies", "--scale", "smoke", "--store", store)
            assert ended.returncode == 0, ended.stderr + ended.stdout
            done.write_text(ended.stdout)
    return store


@pytest.fixture(scope="session")
def little_store(tmp_path_factory: pytest.TempPathFactory, nosce: Nosce, little: Callable[[str], str]) -> Path:
    """A store in which the little study was finished; only to be looked at, or copied."""
    store = _shared(tmp_path_factory) / "little"
    with FileLock(store.with_suffix(".lock")):
        if not (done := store.with_suffix(".done")).exists():
            ended = nosce("run", little("one_arm"), "--scale", "smoke", "--store", store)
            assert ended.returncode == 0, ended.stderr + ended.stdout
            done.write_text(ended.stdout)
    return store


@pytest.fixture(scope="session")
def dozen() -> Biographies:
    """Twelve people in small worlds of values."""
    return Biographies(people=12, names=(4, 4, 8), years=10, cities=5, universities=5, majors=5, companies=5)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, dozen: Biographies) -> Corpus:
    """The dozen's corpus on disk: one text a person, six questions a person, a word-level tokenizer."""
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    make(CorpusSpec(world=dozen, seed=Seed(0) / "world", tokenizer=TokenizerSpec()), {}, Job(folder=folder))
    return Corpus(folder)
