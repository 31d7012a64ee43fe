"""The structure of the package: who may import whom, and how large modules and packages may be."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import veduta

ROOT = Path(veduta.__file__).parent

LAYERS = (  # bottom first; packages of one layer may not import one another
    {"errors", "types"},
    {"foundations"},
    {"config", "runtime"},
    {"data", "augment", "networks", "optim", "runs", "metrics"},
    {"features", "training", "tracking", "evaluation", "explanation"},
    {"tuning", "inference"},
    {"reporting"},
    {"results"},
    {"experiment"},
    {"diagnostics"},
    {"api"},
    {"cli"},
)
SUBPACKAGES = (  # within a package, bottom first; names of one entry may not import one another
    ("data", "data.checks"),
    ("networks.catalogue", "networks"),
    ("tuning.trials", "tuning.executors", "tuning.executors.fused", "tuning"),
    ("reporting.pictures", "reporting.figures", "reporting.pages", "reporting"),
    ("experiment.recovery", "experiment"),
)
LONGEST = 400  # lines of a module
SHORTEST = 40
SHORT = {  # modules below SHORTEST lines, each with its reason
    "cli/cache.py": "one module per command",
    "cli/demo.py": "one module per command",
    "cli/report.py": "one module per command",
    "types.py": "type aliases only",
}
MOST_MODULES = 18  # directly in a package
LARGE_PACKAGES = {"cli": "one module per command", "foundations": "one module per topic"}
MOST_FILES = 220  # in the package, `__init__` included
MOST_IMPORTS_OF_RUN = 20  # Veduta modules that `experiment/run.py` imports


def imported_names(source: str) -> Iterator[str]:
    """Yield every dotted name imported anywhere in `source`, function bodies included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name; `__init__` files have the name of their package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> dict[str, frozenset[str]]:
    """The modules of Veduta that each module imports."""
    prefix = f"{veduta.__name__}."
    found = {}
    for name, path in modules().items():
        targets = set()
        for dotted in imported_names(path.read_text(encoding="utf-8")):
            if dotted.startswith(prefix):
                target = dotted.removeprefix(prefix)
                targets.add(target if target in modules() else target.rpartition(".")[0])
        found[name] = frozenset(targets - {name})
    return found


def package_of(module: str) -> str:
    """The package whose directory holds a module; a top-level module is its own package."""
    path = modules()[module]
    folder = path.parent.relative_to(ROOT)
    return ".".join(folder.parts) or module


def edges() -> Iterator[tuple[str, str]]:
    """Yield (module, imported module) for every import inside Veduta but its root."""
    for module, targets in imports().items():
        yield from ((module, target) for target in sorted(targets) if module and target)


def rank(package: str) -> int:
    """The layer of a package; a module that `LAYERS` does not list ranks above all."""
    top = package.partition(".")[0]
    return next((n for n, layer in enumerate(LAYERS) if top in layer), len(LAYERS))


def test_imports_point_to_lower_layers() -> None:
    upward = []
    for module, target in edges():
        own, other = module.partition(".")[0], target.partition(".")[0]
        if own != other and rank(other) >= rank(own):
            upward.append(f"{module} may not import {target}")
    assert not upward, "\n".join(upward)


def test_imports_between_subpackages_point_downward() -> None:
    upward = []
    for order in SUBPACKAGES:
        for module, target in edges():
            own, other = package_of(module), package_of(target)
            if own in order and other in order and order.index(other) > order.index(own):
                upward.append(f"{module} may not import {target}")
    assert not upward, "\n".join(upward)


def test_packages_have_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for module, target in edges():
        own, other = package_of(module), package_of(target)
        if own != other:
            graph.setdefault(own, set()).add(other)
    assert find_cycle(graph) is None


def test_modules_have_no_import_cycle() -> None:
    graph = {module: set(targets) for module, targets in imports().items()}
    assert find_cycle(graph) is None


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """A cycle of the graph as a list that ends where it starts; None if there is none."""
    finished: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return None
        for target in sorted(graph.get(node, ())):
            if (cycle := visit(target, [*path, node])) is not None:
                return cycle
        finished.add(node)
        return None

    return next((cycle for node in sorted(graph) if (cycle := visit(node, []))), None)


def test_a_cycle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}}) is None


def test_every_package_has_a_layer() -> None:
    packages = {module.partition(".")[0] for module in modules() if module}
    assert packages == set().union(*LAYERS)


def test_every_subpackage_has_a_rank() -> None:
    nested = {package_of(m) for m in modules() if m.count(".") >= 1 and "." in package_of(m)}
    assert nested == {name for order in SUBPACKAGES for name in order if "." in name}


def test_no_package_has_the_name_of_a_public_function() -> None:
    packages = {module.partition(".")[0] for module in modules() if module}
    assert not packages & set(veduta.__all__)


def test_foundations_needs_only_numpy() -> None:
    allowed = sys.stdlib_module_names | {"numpy", veduta.__name__}
    used = {
        name.split(".")[0]
        for path in ROOT.glob("foundations/*.py")
        for name in imported_names(path.read_text(encoding="utf-8"))
    }
    assert used <= allowed, used - allowed


def lengths() -> dict[str, int]:
    """Lines of every module, `__init__` files left out."""
    return {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules().values()
        if path.stem != "__init__"
    }


def test_no_module_is_long() -> None:
    assert not {path: lines for path, lines in lengths().items() if lines > LONGEST}


def test_short_modules_have_a_reason() -> None:
    assert {path for path, lines in lengths().items() if lines < SHORTEST} == set(SHORT)


def test_no_package_has_many_modules() -> None:
    counts: dict[str, int] = {}
    for module, path in modules().items():
        if module and path.stem != "__init__":
            counts[package_of(module)] = counts.get(package_of(module), 0) + 1
    assert {package for package, n in counts.items() if n > MOST_MODULES} <= set(LARGE_PACKAGES)


def test_the_package_has_few_files() -> None:
    assert len(modules()) <= MOST_FILES


def test_the_file_to_read_first_imports_few_modules() -> None:
    assert len(imports()["experiment.run"]) <= MOST_IMPORTS_OF_RUN


@pytest.mark.parametrize("module", sorted(modules()))
def test_every_module_has_a_docstring(module: str) -> None:
    assert ast.get_docstring(ast.parse(modules()[module].read_text(encoding="utf-8")))
