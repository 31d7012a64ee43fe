"""Run directories: always new, never overwritten; leftovers of killed processes are removed."""

from pathlib import Path

import pytest

from veduta.errors import InputError
from veduta.runs.directory import (
    OutputPath,
    RunDirectory,
    choose_output_path,
    create_run_directory,
    find_free_path,
    find_output_errors,
    read_and_check_output,
    remove_temporary_files,
)


def test_an_existing_path_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("run", "file", "link"):
        with pytest.raises(InputError, match=f"{name} exists.*{name}-1"):
            create_run_directory(OutputPath(tmp_path / name))
    assert (tmp_path / "file").read_text() == "content"


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in find_output_errors(tmp_path / "file" / "run")[0]
    with pytest.raises(InputError, match="is a file"):
        create_run_directory(OutputPath(tmp_path / "file" / "run"))


def test_parents_are_created_and_numbers_increase(tmp_path: Path) -> None:
    assert find_free_path(tmp_path / "runs", "search").name == "search-1"
    assert create_run_directory(OutputPath(tmp_path / "runs" / "search-1")).path.is_dir()
    assert find_free_path(tmp_path / "runs", "search").name == "search-2"


def test_a_number_that_another_run_takes_is_skipped(tmp_path: Path) -> None:
    output = choose_output_path(None, tmp_path, "train")
    (tmp_path / "train-1").mkdir()
    assert create_run_directory(output).path.name == "train-2"
    with pytest.raises(InputError, match="train-2 exists"):
        create_run_directory(OutputPath(tmp_path / "train-2"))


def test_unusable_names_are_reported_before_any_work(tmp_path: Path) -> None:
    assert "UTF-8" in find_output_errors(tmp_path / "caf\udce9" / "run")[0]
    assert find_output_errors(tmp_path / "caf\xe9\n") == []
    message = find_output_errors(tmp_path / ("x" * 201))[0]
    assert "200 bytes" in message
    assert "201" in message


def test_errors_of_the_input_and_of_the_output_are_reported_together(tmp_path: Path) -> None:
    def fail() -> None:
        raise InputError("no images")

    (tmp_path / "run").mkdir()
    with pytest.raises(InputError) as caught:
        read_and_check_output(OutputPath(tmp_path / "run"), fail)
    assert [("run exists" in fault, fault == "no images") for fault in caught.value.faults] == [
        (True, False),
        (False, True),
    ]
    with pytest.raises(InputError, match="run exists"):
        read_and_check_output(OutputPath(tmp_path / "run"), lambda: 1)
    assert read_and_check_output(OutputPath(tmp_path / "new"), lambda: 1) == 1


@pytest.mark.parametrize(
    "name",
    [
        ".trials.csv.a1b2c3d4",
        "scores/.t0.npz.a1b2c3d4",
        "checkpoints/.t0.3.checkpoint.a1b2c3d4",
        "model/.README.md.a1b2c3d4",
    ],
)
def test_an_incomplete_file_is_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"half")
    other = (tmp_path / name).with_name(".hidden")
    other.touch()
    remove_temporary_files(RunDirectory(tmp_path))
    assert not (tmp_path / name).exists()
    assert other.exists()


@pytest.mark.parametrize("replaced", [True, False])
def test_a_model_that_was_being_replaced_is_restored(tmp_path: Path, replaced: bool) -> None:
    former = tmp_path / ".model.a1b2c3_4" / "former"
    former.mkdir(parents=True)
    (former / "model.json").write_text("old")
    if replaced:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.json").write_text("new")
    remove_temporary_files(RunDirectory(tmp_path))
    assert (tmp_path / "model" / "model.json").read_text() == ("new" if replaced else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
