"""Links in a data set: those that lead up bring in nothing, others lead where they lead."""

from pathlib import Path

from PIL import Image

from veduta.data.folder import read_folder


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def test_a_link_to_a_folder_above_brings_in_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for name in ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"):
        picture(root / name)
    (root / "train" / "a" / "up").symlink_to(root)
    (root / "train" / "b" / "beside").symlink_to("..")
    names = [sample.name for sample in read_folder(root).samples]
    assert names == ["test/a/3.png", "test/b/4.png", "train/a/1.png", "train/b/2.png"]


def test_a_link_elsewhere_is_followed(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "1.png")
    picture(tmp_path / "data" / "b" / "2.png")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere")
    assert len(read_folder(tmp_path / "data").samples) == 2
