"""Run directories are new, or there is an error that says so."""

from pathlib import Path

import pytest

from veduta.errors import InputError
from veduta.runs.directory import Place, create, new_directory_faults, next_free, place_for


def test_something_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("run", "file", "link"):
        with pytest.raises(InputError, match=f"{name} exists.*{name}-1"):
            create(Place(tmp_path / name))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in new_directory_faults(tmp_path / "file" / "run")[0]
    with pytest.raises(InputError, match="is a file"):
        create(Place(tmp_path / "file" / "run"))


def test_parents_are_made_and_numbers_count_up(tmp_path: Path) -> None:
    assert next_free(tmp_path / "runs", "search").name == "search-1"
    assert create(Place(tmp_path / "runs" / "search-1")).path.is_dir()
    assert next_free(tmp_path / "runs", "search").name == "search-2"


def test_a_number_taken_meanwhile_is_no_fault(tmp_path: Path) -> None:
    place = place_for(None, tmp_path, "train")
    (tmp_path / "train-1").mkdir()
    assert create(place).path.name == "train-2"
    with pytest.raises(InputError, match="train-2 exists"):
        create(Place(tmp_path / "train-2"))


def test_a_name_that_will_not_do_is_known_early(tmp_path: Path) -> None:
    assert "in UTF-8, which TensorBoard" in new_directory_faults(tmp_path / "caf\udce9" / "run")[0]
    assert new_directory_faults(tmp_path / "caf\xe9\n") == []
    assert "at most 200 bytes" in new_directory_faults(tmp_path / ("x" * 201))[0]
