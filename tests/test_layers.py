"""The package is a stack: a module may import only from layers strictly below its own."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import veduta

ROOT = Path(veduta.__file__).parent
LAYERS = (  # bottom first; units that share a layer may not import one another
    {"errors", "foundations", "types"},
    {"config", "runtime"},
    {"data", "augment", "models", "optim", "runs", "metrics"},
    {"features", "training", "tracking"},
    {"evaluation", "explain", "inference"},
    {"search"},
    {"experiment"},
    {"report"},
    {"api"},
    {"cli"},
)
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}
LONGEST = 400


def imported_names(source: str) -> Iterator[str]:
    """Yield every dotted name imported anywhere in `source`, function bodies included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> Iterator[Path]:
    yield from (
        path
        for path in sorted(ROOT.rglob("*.py"))
        if path.parent != ROOT or path.stem != "__init__"
    )


def edges() -> Iterator[tuple[Path, str, str]]:
    """Yield (module, unit, imported unit) for every import that crosses a unit."""
    for path in modules():
        unit = path.relative_to(ROOT).with_suffix("").parts[0]
        for name in imported_names(path.read_text()):
            root, _, rest = name.partition(".")
            target = rest.split(".")[0]
            if root == veduta.__name__ and target != unit and not target.startswith("__"):
                yield path.relative_to(ROOT), unit, target


def test_imports_point_strictly_down() -> None:
    wrong = [
        f"{path}: {unit} may not import {target}"
        for path, unit, target in edges()
        if RANK.get(target, len(LAYERS)) >= RANK[unit]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_unit_has_a_layer() -> None:
    units = {path.relative_to(ROOT).with_suffix("").parts[0] for path in modules()}
    assert units == set(RANK), units ^ set(RANK)


def test_foundations_needs_only_numpy() -> None:
    allowed = sys.stdlib_module_names | {"numpy", veduta.__name__}
    used = {
        name.split(".")[0]
        for path in ROOT.glob("foundations/*.py")
        for name in imported_names(path.read_text())
    }
    assert used <= allowed, used - allowed


def test_modules_are_short() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in modules()}
    assert not {path: n for path, n in lengths.items() if n > LONGEST}


def test_every_module_says_why_it_exists() -> None:
    silent = [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent, silent
