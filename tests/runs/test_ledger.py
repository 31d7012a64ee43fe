"""The ledger of test evaluations on this machine: counts per test set, also after a torn line."""

from pathlib import Path

from veduta.runs.test_set import LEDGER, record_evaluation


def test_evaluations_are_counted_per_test_set(tmp_path: Path) -> None:
    assert [record_evaluation(tmp_path, "a", "run") for _ in range(3)] == [0, 1, 2]
    assert record_evaluation(tmp_path, "b", "run") == 0


def test_a_torn_line_is_counted_and_hides_no_later_line(tmp_path: Path) -> None:
    record_evaluation(tmp_path, "a", "run")
    with (tmp_path / LEDGER).open("ab") as ledger:
        ledger.write(b'{"test": "a", "b')
    assert record_evaluation(tmp_path, "a", "run") == 2
    assert record_evaluation(tmp_path, "a", "run") == 3
