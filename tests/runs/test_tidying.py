"""What a kill leaves is removed, or put back where nothing stands in its place."""

from pathlib import Path

import pytest

from veduta.runs.directory import RunDirectory, tidy


@pytest.mark.parametrize(
    "name",
    [
        ".trials.csv.a1b2c3d4",
        "scores/.t0.npz.a1b2c3d4",
        "checkpoints/.t0.3.checkpoint.a1b2c3d4",
        "model/.README.md.a1b2c3d4",
    ],
)
def test_a_file_that_was_being_written_goes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"half")
    mine = (tmp_path / name).with_name(".hidden")
    mine.touch()
    tidy(RunDirectory(tmp_path))
    assert not (tmp_path / name).exists()
    assert mine.exists()


@pytest.mark.parametrize("stands", [True, False])
def test_a_model_that_was_moved_away_comes_back_unless_a_new_one_stands(
    tmp_path: Path, stands: bool
) -> None:
    former = tmp_path / ".model.a1b2c3_4" / "former"
    former.mkdir(parents=True)
    (former / "model.json").write_text("old")
    if stands:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.json").write_text("new")
    tidy(RunDirectory(tmp_path))
    assert (tmp_path / "model" / "model.json").read_text() == ("new" if stands else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
