"""The examples in docs/foundations.md run without changes."""

import doctest
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "foundations.md"


def test_examples_of_the_guide_pass() -> None:
    result = doctest.testfile(str(GUIDE), module_relative=False, encoding="utf-8")
    assert result.attempted > 20
    assert result.failed == 0
