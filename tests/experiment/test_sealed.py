"""The ledger of openings: a line that a power cut tore is counted and hides nothing after it."""

from pathlib import Path

from veduta.runs.test_set import LEDGER, record_opening


def test_openings_are_counted_by_test_set(tmp_path: Path) -> None:
    assert [record_opening(tmp_path, "a", "run") for _ in range(3)] == [0, 1, 2]
    assert record_opening(tmp_path, "b", "run") == 0


def test_a_torn_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    record_opening(tmp_path, "a", "run")
    with (tmp_path / LEDGER).open("ab") as ledger:
        ledger.write(b'{"test": "a", "b')
    assert record_opening(tmp_path, "a", "run") == 2
    assert record_opening(tmp_path, "a", "run") == 3
