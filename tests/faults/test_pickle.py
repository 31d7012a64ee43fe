"""Nothing read from a file is unpickled or run: by what the code says, and by what it does.

The one exception is `models.unpickle`, whose child process reads tensors with `weights_only=True`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import veduta
from tests.faults.audit_hook import Watch

SOURCE = Path(veduta.__file__).parent

MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
MODULES |= {"multiprocessing", "code", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen"}
UNSAFE |= {"pd.read_pickle", "pandas.read_pickle", "importlib.import_module", "torch.jit.load"}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names; "" of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def faults(source: str) -> Iterator[str]:
    """What in a module's text unpickles or runs what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            given = {one.arg: getattr(one.value, "value", None) for one in node.keywords}
            name = dotted(node.func)
            if name in CALLS | UNSAFE:
                yield name
            if name == "torch.load" and given.get("weights_only") is not True:
                yield name
            yield from (
                f"{word}=True" for word in ("shell", "allow_pickle") if given.get(word) is True
            )


def test_f5_the_product_neither_unpickles_nor_runs_what_it_reads() -> None:
    found = {
        str(path.relative_to(SOURCE)): told
        for path in SOURCE.rglob("*.py")
        if (told := list(faults(path.read_text(encoding="utf-8"))))
    }
    assert found == {}


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
def test_f5_each_way_to_do_so_is_seen(line: str) -> None:
    assert list(faults(line))
    assert not list(faults("torch.load(path, weights_only=True); yaml.safe_load(text); a.eval()"))


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory, color_folder: Path) -> Watch:
    """Training, predicting and reporting by the packaged weights, watched in every process."""
    work = tmp_path_factory.mktemp("watched")
    found = Watch(work / "watch")
    environment = {**found.environment(), "VEDUTA_CACHE": str(work / "cache")}
    for words in (
        ("train", color_folder, "--image-size", "32", "--epochs", "1", "--out", work / "run"),
        ("predict", work / "run", color_folder / "red", "--out", work / "found"),
        ("report", work / "run", "--out", work / "again.html"),
    ):
        subprocess.run(
            [sys.executable, "-m", "veduta.cli.main", *map(str, words)],
            check=True, env=environment, capture_output=True,
        )  # fmt: skip
    return found


def test_f5_training_predicting_and_reporting_unpickle_nothing(watch: Watch) -> None:
    assert watch.events == []
