"""The names in the source follow docs/glossary.md, and files are read and written in one place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import veduta

ROOT = Path(veduta.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))

FORBIDDEN = {  # identifier: the term of the glossary
    "hits": "correct",
    "truth": "y_true",
    "judged": "evaluated",
    "sealed": "test_set",
    "recipe": "preset, or feature_spec",
    "recipes": "presets",
    "longest_gradient": "clip",
    "again": "refit",
    "mirror": "horizontal_flip",
    "mirrored": "horizontal_flip",
    "processors": "cores",
    "rung": "halving round",
    "rungs": "halving rounds",
    "weighs": "severity",
    "way": "context",
    "places": "positions",
    "gate": "data checks",
    "told": "the content of the value",
    "found": "the content of the value",
    "came": "the content of the value",
    "begun": "a verb",
    "lost": "a verb",
    "mended": "a verb",
    "remade": "a verb",
    "stood_on": "provenance",
    "colour": "color",
    "colours": "colors",
    "artefact": "artifact",
    "grey": "gray",
}
BRITISH = re.compile(
    r"(colour|artefact|normalis|optimis(?!m)|regularis|penalis|quantis|vectoris|initialis|neighbour|"
    r"labell|centre(?!d)|behaviour|grey)",
    re.IGNORECASE,
)


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names that a module defines: functions, classes, arguments, variables, fields."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_identifiers_are_terms_of_the_glossary(path: Path) -> None:
    wrong = [
        f"line {line}: {name}; use {FORBIDDEN.get(name.strip('_').lower(), 'American spelling')}"
        for name, line in identifiers(parse(path))
        if name.strip("_").lower() in FORBIDDEN or BRITISH.search(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_forbidden_name_is_seen() -> None:
    names = [name for name, _ in identifiers(ast.parse("def judged(hits):\n    self.truth = 1\n"))]
    assert {"judged", "hits", "truth"} <= set(names)


def calls(path: Path) -> Iterator[str]:
    """Yield the last part of the name of every function that a module calls."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2]


@pytest.mark.parametrize(
    ("function", "modules"),
    [
        ("read_csv", {"runs/tables.py", "data/table.py"}),
        ("to_csv", {"runs/tables.py"}),
        ("savez", {"runs/scores.py"}),
        ("savez_compressed", {"runs/scores.py"}),
    ],
)
def test_files_are_read_and_written_in_one_place(function: str, modules: set[str]) -> None:
    callers = {path.relative_to(ROOT).as_posix() for path in SOURCES if function in calls(path)}
    assert callers <= modules


def test_events_are_told_apart_by_class() -> None:
    by_string = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value == "event"
    ]
    assert not by_string


def test_no_type_alias_is_defined_twice() -> None:
    aliases: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in parse(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                base = ast.unparse(node.value.value)
                if base in {"NDArray", "Callable", "Mapping", "Sequence", "dict", "tuple"}:
                    name = ast.unparse(node.targets[0])
                    aliases.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    assert not {name: places for name, places in aliases.items() if len(places) > 1}
