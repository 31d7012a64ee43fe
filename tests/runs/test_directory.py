"""Run directories are new, or there is an error that says so."""

from pathlib import Path

import pytest

from veduta.errors import InputError
from veduta.runs.directory import create, new_directory_faults, next_free


def test_something_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("run", "file", "link"):
        with pytest.raises(InputError, match=f"{name} exists.*{name}-1"):
            create(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in new_directory_faults(tmp_path / "file" / "run")[0]
    with pytest.raises(InputError, match="is a file"):
        create(tmp_path / "file" / "run")


def test_parents_are_made_and_numbers_count_up(tmp_path: Path) -> None:
    assert next_free(tmp_path / "runs", "search").name == "search-1"
    assert create(tmp_path / "runs" / "search-1").path.is_dir()
    assert next_free(tmp_path / "runs", "search").name == "search-2"
