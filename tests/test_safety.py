"""Nothing that nosce reads from disk or from a user can run as code; the source is searched for the usual doors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fixtures.every_case import check_every

import nosce

SOURCE = Path(nosce.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
TEMPLATES = sorted(path for path in SOURCE.rglob("*") if path.suffix in (".html", ".css", ".j2", ".jinja"))

PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "torch.load",
    "torch.save",
    "numpy.load",
    "np.load",
    "yaml.load",
    "yaml.unsafe_load",
    "os.system",
    "os.popen",
    "torch.hub.load",
}
DANGEROUS = {
    "trust_remote_code": "True",
    "shell": "True",
    "autoescape": "False",
    "use_safetensors": "False",
    "allow_pickle": "True",
}


def doors(source: str) -> Iterator[str]:
    """What in a module could run code that came from outside, with its line."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{line}: import of {name}" for name in found if name.partition(".")[0] in PICKLERS)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS:
                yield f"{line}: call of {name}"
            for keyword in node.keywords:
                if keyword.arg in DANGEROUS and ast.unparse(keyword.value) == DANGEROUS[keyword.arg]:
                    yield f"{line}: {keyword.arg}={DANGEROUS[keyword.arg]}"


def test_no_module_opens_a_door():
    """No pickle, no torch.load, no remote code, no eval or exec, no shell, no YAML that builds objects."""

    def check(file):
        found = list(doors(file.read_text(encoding="utf-8")))
        assert not found

    check_every(check, MODULES)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import dill.source",
        "torch.load('weights.bin')",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "eval(text)",
        "exec(text)",
        "yaml.load(text)",
        "numpy.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_finds_what_it_is_for(code):
    """Each of the doors, opened in a line of its own, is seen."""
    assert list(doors(code))


def test_no_template_takes_text_for_markup():
    """Every text on a page is escaped: no template says |safe, and none turns escaping off."""
    assert TEMPLATES
    for file in TEMPLATES:
        text = file.read_text(encoding="utf-8").replace(" ", "")
        assert "|safe" not in text, file
        assert "autoescapefalse" not in text, file


def test_pages_escape_by_default():
    """The environment that renders pages escapes every text, whatever its file is called."""
    from nosce.analysis.render.html import page_templates

    assert page_templates().autoescape is True


def test_models_are_read_from_safetensors_alone_and_from_disk_alone():
    """Each from_pretrained in the source says that it wants local files and safetensors."""
    found = []
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if "Tokenizer" in ast.unparse(node.func):  # it has no weights that could be pickled
                    given["use_safetensors"] = "True"
                found.append(given)

    assert len(found) > 1
    assert all(given.get("use_safetensors") == given.get("local_files_only") == "True" for given in found)
    assert all(given.get("trust_remote_code", "False") == "False" for given in found)
