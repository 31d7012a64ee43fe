"""`docs/reliability.md` refers to tests that exist, and to every module of `tests/faults`."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
REFERENCES = sorted(set(re.findall(r"`([\w/]+/test_\w+\.py)(?:::(test_\w+))?`", PAGE)))


def list_tests(path: Path) -> set[str]:
    """Return the names of the test functions of a module."""
    functions = ast.parse(path.read_text(encoding="utf-8")).body
    names = {item.name for item in functions if isinstance(item, ast.FunctionDef)}
    return {name for name in names if name.startswith("test_")}


def test_every_referenced_test_exists() -> None:
    assert len(REFERENCES) > 50
    missing = [
        f"{file}::{name}"
        for file, name in REFERENCES
        if not (TESTS / file).is_file() or name not in {"", *list_tests(TESTS / file)}
    ]
    assert missing == []


def test_every_module_with_fault_injection_is_referenced() -> None:
    files = {f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")}
    assert files - {file for file, _ in REFERENCES} == set()
