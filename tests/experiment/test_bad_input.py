"""Bad input: every error is reported at once, and nothing is written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import veduta
from tests.support.runs import QUIET
from veduta.errors import InputError


def find_errors(data: Path, out: Path, **settings: Any) -> tuple[str, ...]:
    """Return the errors of a training, one line each."""
    with pytest.raises(InputError) as caught:
        veduta.train(data, out=out, console=QUIET, **settings)
    assert caught.value.exit_code == 2
    for error in caught.value.faults:
        assert "\n" not in error
    return caught.value.faults


def paint_image(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), (shade, 2 * shade, 3 * shade)).save(path)


def make_unreadable_folder(root: Path) -> None:
    for label in "ab":
        (root / label).mkdir(parents=True)
        (root / label / "1.png").write_bytes(b"text")


def make_split_folders(root: Path, *unreadable: str) -> None:
    for folder in ("train/a", "train/b", "val/a", "val/b", "test/a", "test/b"):
        for number in range(3):
            paint_image(root / folder / f"{number}.png", 10 * number + len(folder))
    for folder in unreadable:
        for path in (root / folder).rglob("*.png"):
            path.write_bytes(b"text")


def make_folder_with_undecodable_class(root: Path) -> None:
    for name in (b"\xff", b"b"):
        paint_image(root / os.fsdecode(name) / "1.png", 1)


FOLDERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda _: None, ("does not exist",)),
    "a file": (lambda root: root.write_text("x"), ("neither",)),
    "a class without a readable image": (
        lambda root: make_split_folders(root, "train/a"),
        ("at least one readable training image", "'a'"),
    ),
    "no readable validation image": (
        lambda root: make_split_folders(root, "val"),
        ("validation split", "can be read"),
    ),
    "a class whose name is not UTF-8": (make_folder_with_undecodable_class, ("rename", "\\udcff")),
    "no readable image": (make_unreadable_folder, ("none of 2", "a/1.png")),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_an_unusable_folder_is_refused(tmp_path: Path, kind: str) -> None:
    make, messages = FOLDERS[kind]
    make(tmp_path / "data")
    (error,) = find_errors(tmp_path / "data", tmp_path / "run", image_size=32)
    assert all(message in error for message in messages), error
    assert not (tmp_path / "run").exists()


def test_errors_of_all_kinds_are_reported_together(color_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        veduta.search(
            color_folder / "absent",
            grid={"lr": [], "optimizer": ["adam", "adm"], "weight_dekay": [1]},
            out=color_folder,
            model="efficientnet_light0",
            epochs="many",
            activation="rely",
            weights=str(tmp_path / "absent.pth"),
        )
    errors = "\n".join(caught.value.faults)
    for message in (
        "grid: lr",
        "'adm'; did you mean 'adam'?",
        "'weight_dekay'; did you mean 'weight_decay'?",
        "'efficientnet_light0'; did you mean",
        "epochs must be a whole number above 0; got 'many'",
        "'rely'; did you mean 'relu'?",
        "--out must name a new directory",
        "does not exist",
    ):
        assert message in errors, errors
    assert len(caught.value.faults) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0}, "nesterov needs momentum"),
        ({"schedule": "cosin"}, "cosine"),
        ({"warmup": 20}, "warmup 20 and epochs 20"),
        ({"image_size": 8, "model": "vgg16", "weights": "none"}, "image_size"),
        ({"weights": "absent.pth"}, "absent.pth"),
        ({"weights": __file__}, "test_bad_input.py"),
    ],
    ids=str,
)
def test_contradictory_settings_are_refused(
    color_folder: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    (error,) = find_errors(color_folder, tmp_path / "run", **settings)
    assert message in error
    assert not (tmp_path / "run").exists()


def test_weights_of_another_architecture_are_refused(color_folder: Path, tmp_path: Path) -> None:
    save_file({"conv_stem.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    errors = find_errors(
        color_folder, tmp_path / "run", weights=str(tmp_path / "other.safetensors"), image_size=32
    )
    assert "efficientnet_lite0" in errors[0]
    assert not (tmp_path / "run").exists()


def test_an_existing_directory_is_not_overwritten(color_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (error,) = find_errors(color_folder, tmp_path)
    assert "exists" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_output_must_be_outside_of_the_data(color_folder: Path) -> None:
    (error,) = find_errors(color_folder, color_folder / "red" / "run")
    assert "--out must not be inside the folder of images" in error


def test_a_search_needs_a_grid(color_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a grid"):
        veduta.search(color_folder, grid={}, out=tmp_path / "run")


def test_mixing_needs_trained_stages(color_folder: Path, tmp_path: Path) -> None:
    (error,) = find_errors(
        color_folder, tmp_path / "run", freeze="all", augment="flip+mixup+cutmix"
    )
    assert "augment=cutmix+flip+mixup with freeze=all" in error
    assert "give freeze=none or fewer stages, or leave out cutmix and mixup" in error
    (error,) = find_errors(color_folder, tmp_path / "run", freeze=3, augment="flip+mixup+crop")
    assert "augment=crop+flip+mixup with freeze=3" in error
    assert "give views, or leave out crop and flip" in error


def test_errors_of_views_are_reported_together(color_folder: Path, tmp_path: Path) -> None:
    first, second, third = find_errors(
        color_folder, tmp_path / "run", views=9, epochs=8, augment="crops+flip+sparkle"
    )
    assert "'crops'; did you mean 'crop'?" in first
    assert "'sparkle'" in second
    assert "views=9 with epochs=8" in third
    (error,) = find_errors(color_folder, tmp_path / "run", views=2, augment="none")
    assert "views=2 with augment=none" in error
    (error,) = find_errors(
        color_folder, tmp_path / "run", views=2, augment="crop+mixupp", freeze="none"
    )
    assert "did you mean 'mixup'?" in error
    assert not (tmp_path / "run").exists()
