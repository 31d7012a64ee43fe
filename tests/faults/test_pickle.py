"""Nothing read from a file is unpickled or executed: checks of the source code and at run time.

The only exception is `networks.unpickle`, whose child process reads tensors with
`weights_only=True`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import veduta
from tests.faults.audit_hook import AuditLog

SOURCE = Path(veduta.__file__).parent

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
MODULES |= {"multiprocessing", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"}
UNSAFE |= {"pd.read_pickle", "pandas.read_pickle", "importlib.import_module", "torch.jit.load"}


def format_name(node: ast.expr) -> str:
    """Return `a.b.c` for a chain of names, and "" for other expressions."""
    if isinstance(node, ast.Attribute):
        return f"{format_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def find_unsafe_code(source: str) -> Iterator[str]:
    """Yield what unpickles or executes data in the source code of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            given = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
            name = format_name(node.func)
            if name in CALLS | UNSAFE:
                yield name
            if name == "torch.load" and given.get("weights_only") is not True:
                yield name
            yield from (
                f"{word}=True" for word in ("shell", "allow_pickle") if given.get(word) is True
            )


def test_no_module_unpickles_or_executes_data() -> None:
    unsafe = {
        str(path.relative_to(SOURCE)): names
        for path in SOURCE.rglob("*.py")
        if (names := list(find_unsafe_code(path.read_text(encoding="utf-8"))))
    }
    assert unsafe == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from multiprocessing import Queue",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, yaml.Loader)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(words, shell=True)",
        "np.load(path, allow_pickle=True)",
        "import joblib",
    ],
)
def test_the_check_finds_each_way_to_do_so(line: str) -> None:
    assert list(find_unsafe_code(line))
    assert not list(
        find_unsafe_code("torch.load(path, weights_only=True); yaml.safe_load(text); a.eval()")
    )


@pytest.fixture(scope="module")
def audit_log(tmp_path_factory: pytest.TempPathFactory, color_folder: Path) -> AuditLog:
    """The log of all processes of training, prediction and report with the packaged weights."""
    work = tmp_path_factory.mktemp("audited")
    log = AuditLog(work / "audit")
    environment = {**log.make_environment(), "VEDUTA_CACHE": str(work / "cache")}
    for words in (
        ("train", color_folder, "--image-size", "32", "--epochs", "1", "--out", work / "run"),
        ("predict", work / "run", color_folder / "red", "--out", work / "predicted"),
        ("report", work / "run", "--out", work / "again.html"),
    ):
        subprocess.run(
            [sys.executable, "-m", "veduta.cli.main", *map(str, words)],
            check=True, env=environment, capture_output=True,
        )  # fmt: skip
    return log


def test_training_prediction_and_report_unpickle_nothing(audit_log: AuditLog) -> None:
    assert audit_log.events == []
