"""What several tests lean on: a world of a dozen people, the command, and one finished store for all."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

# Before torch or tokenizers are imported: one thread each, or two workers of xdist would use four on two cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest
from filelock import FileLock
from tests.fixtures.inline_pool import make_inline_pool
from tests.fixtures.warm_process import WarmProcess, WarmStart, WarmStartError, can_start_warm
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from nosce.cli import app, exit_code_of
from nosce.data.corpus import Corpus
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies
from nosce.pipeline import run as running
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec, make
from nosce.seeds import Seed

DATA = Path(__file__).parent / "fixtures"
Once = Callable[[str, Callable[[Path], Any]], Any]
READ_AT_IMPORT = ("OMP_", "PYTHON")  # the beginnings of variables that only a new Python reads


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses among the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that no worker is left alone with it at the end.

    A test that looks at a finished study is one of a whole study, which must be run first.
    """
    items.sort(key=lambda item: item.path.name != "test_resume.py")
    for item in items:
        if isinstance(item, pytest.Function) and "smoke" in item.fixturenames:
            item.add_marker(pytest.mark.whole)


class Nosce:
    """The installed command of the Python that runs the tests, as a function of its words.

    Args:
        warm: From what processes are forked in which everything is imported; None where that is not possible.
    """

    def __init__(self, warm: WarmStart | None = None) -> None:
        self.path = str(Path(sys.executable).with_name("nosce"))
        self.warm = warm

    def __call__(
        self, *words: object, cwd: Path | None = None, largest_file: int | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; other keyword arguments are environment variables."""
        process = self.start(*words, cwd=cwd, largest_file=largest_file, **variables)
        stdout, stderr = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def anew(self, *words: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the installed script to its end, as it is: for what only a new Python shows, which has to import all."""
        return subprocess.run(
            [self.path, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=cwd,
            env=self.surroundings(**variables),
        )

    def here(self, *words: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it and make its steps in this process, where nothing is imported anew.

        For what a command says and makes, not for how it and its workers live.
        """
        said, complained = StringIO(), StringIO()
        args = list(map(str, words))
        with (
            chdir(cwd or Path.cwd()),
            patch.dict(os.environ, self.surroundings(**variables), clear=True),
            patch.object(running, "_make_pool", make_inline_pool),
            redirect_stdout(said),
            redirect_stderr(complained),
        ):
            code = exit_code_of(lambda: app(args, prog_name="nosce", standalone_mode=False))
        return subprocess.CompletedProcess(args, code, said.getvalue(), complained.getvalue())

    def start(
        self, *words: object, cwd: Path | None = None, largest_file: int | None = None, **variables: str
    ) -> "WarmProcess | subprocess.Popen[str]":
        """Start it in a process group of its own, as a shell would.

        Variables that Python and libraries read when they are imported need a Python that imports them.
        """
        line, env = [self.path, *map(str, words)], self.surroundings(**variables)
        if self.warm and not any(name.startswith(READ_AT_IMPORT) for name in variables):
            try:
                return self.warm.start(line, env, cwd, largest_file)
            except WarmStartError:  # commands start anew then, which takes longer
                self.warm = None
        limit = None
        if largest_file is not None:
            from resource import RLIMIT_FSIZE, setrlimit  # not on every system

            limit = partial(setrlimit, RLIMIT_FSIZE, (largest_file, largest_file))
        return subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=env,
            preexec_fn=limit,
            start_new_session=True,
        )

    def surroundings(self, **more: str) -> dict[str, str]:
        """An environment without what the tester's own shell says about stores and colours."""
        unwanted = {"NOSCE_STORE", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "PYTEST_CURRENT_TEST"}
        return {name: value for name, value in os.environ.items() if name not in unwanted} | {"COLUMNS": "160"} | more


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all xdist workers of this session, and of no other session."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def nosce(shared_folder: Path) -> Iterator[Nosce]:
    """The command line, in processes of its own."""
    warm = WarmStart(shared_folder) if can_start_warm(shared_folder) else None
    yield Nosce(warm)
    if warm:
        warm.close()


@pytest.fixture
def steps_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs make their steps in this process."""
    monkeypatch.setattr(running, "_make_pool", make_inline_pool)


@pytest.fixture(scope="session")
def little() -> Callable[[str], str]:
    """The name under which the command knows a study of `fixtures/little_studies.py`."""
    return lambda function: f"{DATA / 'little_studies.py'}:{function}"


@pytest.fixture(scope="session")
def once(shared_folder: Path) -> Once:
    """Make something in a folder once for all xdist workers of this session; what `make` returns must be JSON."""

    def made(name: str, make: Callable[[Path], Any]) -> Any:
        folder = shared_folder / f"once-{name}"
        with FileLock(folder.with_suffix(".lock")):
            if not (done := folder.with_suffix(".json")).exists():
                folder.mkdir()
                done.write_text(json.dumps(make(folder)))
        return json.loads(done.read_text(encoding="utf-8"))

    return made


@pytest.fixture(scope="session")
def smoke(once: Once, nosce: Nosce) -> tuple[Path, str]:
    """A store in which `biographies_adamw` was finished at scale smoke, only to be looked at, and what the run said."""
    return _finished(once, nosce, "biographies_adamw")


@pytest.fixture(scope="session")
def smoke_store(smoke: tuple[Path, str]) -> Path:
    """A store in which `biographies_adamw` was finished at scale smoke; only to be looked at, or copied."""
    return smoke[0]


@pytest.fixture(scope="session")
def little_store(once: Once, nosce: Nosce, little: Callable[[str], str]) -> Path:
    """A store in which the little study was finished; only to be looked at, or copied."""
    return _finished(once, nosce, little("one_arm"))[0]


def _finished(once: Once, nosce: Nosce, study: str) -> tuple[Path, str]:
    def make(folder: Path) -> list[str]:
        ended = nosce("run", study, "--scale", "smoke", "--workers", "1", "--store", folder)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return [str(folder), ended.stdout]

    store, said = once(study.rpartition(":")[2], make)
    return Path(store), said


@pytest.fixture(scope="session")
def dozen() -> Biographies:
    """Twelve people in small worlds of values."""
    return Biographies(people=12, name_pool_sizes=(4, 4, 8), years=10, cities=5, universities=5, majors=5, companies=5)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, dozen: Biographies) -> Corpus:
    """The dozen's corpus on disk: one text a person, six questions a person, a word-level tokenizer."""
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    make(CorpusSpec(world=dozen, seed=Seed(0) / "world", tokenizer=TokenizerSpec()), {}, StepContext(folder=folder))
    return Corpus(folder)


@pytest.fixture(scope="session")
def t5_style_tokenizer() -> Callable[[Iterable[str]], Tokenizer]:
    """A function that trains a tokenizer built as T5's: normalized, words at any whitespace, a mark before a word."""

    def train(texts: Iterable[str], vocab_size: int = 200) -> Tokenizer:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        metaspace = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace])
        tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        special_tokens = ["<pad>", "</s>", "<unk>"]
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size, special_tokens=special_tokens, unk_token="<unk>", show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    return train
