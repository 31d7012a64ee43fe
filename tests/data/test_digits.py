"""The embedded digits: complete, and in a folder of their own."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from veduta.data.digits import write_digits
from veduta.data.folder import read_folder
from veduta.errors import InputError


def test_digits_equal_those_of_scikit_learn(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    assert write_digits(folder) == 1797
    data = read_folder(folder)
    assert data.classes == tuple("0123456789")
    assert (len(data.samples), data.ignored) == (1797, 0)
    digits = load_digits()
    for number in (0, 7, 1796):
        label = str(digits.target[number])
        with Image.open(folder / label / f"{number:04}.png") as image:
            assert image.mode == "L"
            error = np.asarray(image) / 255 - digits.images[number] / 16
        assert np.abs(error).max() <= 0.5 / 255
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_complete_folder_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    write_digits(tmp_path / "digits")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert write_digits(tmp_path / "digits") == 1797
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("fault", ["additional", "missing", "other", "truncated"])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "digits"
    write_digits(folder)
    image = folder / "0" / "0000.png"
    if fault == "additional":
        (folder / "notes.txt").touch()
    elif fault == "missing":
        image.unlink()
    elif fault == "other":
        image.write_bytes((folder / "1" / "0001.png").read_bytes())
    else:
        image.write_bytes(image.read_bytes()[:30])
    with pytest.raises(InputError, match=r"folder of their own; .* differs in 1 files"):
        write_digits(folder)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digits").touch()
    with pytest.raises(InputError, match="name another"):
        write_digits(tmp_path / "digits")


def test_files_of_a_killed_command_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "digits.partial" / "0").mkdir(parents=True)
    (tmp_path / "digits.partial" / "0" / "0000.png").write_bytes(b"half")
    assert write_digits(tmp_path / "digits") == 1797
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "digits.partial"]
