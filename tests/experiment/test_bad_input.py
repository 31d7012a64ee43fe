"""Bad input: every fault at once, with rule, what came and cure; nothing is written."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import veduta
from veduta.errors import InputError
from veduta.tracking.console import Console


def faults_of(data: Path, out: Path, **settings: object) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        veduta.train(data, out=out, console=Console(quiet=True), **settings)
    assert caught.value.exit_code == 2
    for fault in caught.value.faults:
        assert "\n" not in fault
    return caught.value.faults


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), (shade, 2 * shade, 3 * shade)).save(path)


def no_readable(root: Path) -> None:
    for label in "ab":
        (root / label).mkdir(parents=True)
        (root / label / "1.png").write_bytes(b"text")


def splits(root: Path, *unreadable: str) -> None:
    for part in ("train/a", "train/b", "val/a", "val/b", "test/a", "test/b"):
        for number in range(3):
            picture(root / part / f"{number}.png", 10 * number + len(part))
    for part in unreadable:
        for path in (root / part).rglob("*.png"):
            path.write_bytes(b"text")


FOLDERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda _: None, ("does not exist",)),
    "a file": (lambda root: root.write_text("x"), ("neither",)),
    "a class without a readable image": (
        lambda root: splits(root, "train/a"),
        ("at least one training image", "'a'"),
    ),
    "no readable validation image": (
        lambda root: splits(root, "val"),
        ("validation images choose", "none of them can be read"),
    ),
    "a class whose name is no text": (
        lambda root: [picture(root / os.fsdecode(name) / "1.png", 1) for name in (b"\xff", b"b")],
        ("must be UTF-8",),
    ),
    "no readable image": (no_readable, ("none of 2", "a/1.png")),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_that_does_not_do(tmp_path: Path, kind: str) -> None:
    make, told = FOLDERS[kind]
    make(tmp_path / "data")
    (fault,) = faults_of(tmp_path / "data", tmp_path / "run", image_size=32)
    assert all(part in fault for part in told), fault
    assert not (tmp_path / "run").exists()


def test_faults_of_everything_are_reported_together(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        veduta.search(
            colours / "absent",
            grid={"lr": [], "optimizer": ["adam", "adm"], "weight_dekay": [1]},
            out=colours,
            model="efficientnet_light0",
            epochs="many",
            activation="rely",
            weights=str(tmp_path / "absent.pth"),
        )
    told = "\n".join(caught.value.faults)
    for part in (
        "grid: lr needs at least one value",
        "no optimiser is called 'adm'; did you mean 'adam'?",
        "no setting is called 'weight_dekay'; did you mean 'weight_decay'?",
        "no model is called 'efficientnet_light0'; did you mean",
        "epochs must be a whole number above 0; got 'many'",
        "no activation is called 'rely'; did you mean 'relu'?",
        "--out must name a new directory",
        "does not exist",
    ):
        assert part in told, told
    assert len(caught.value.faults) == 8


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimizer": "sgd", "nesterov": True, "momentum": 0}, "nesterov needs momentum"),
        ({"schedule": "cosin"}, "cosine"),
        ({"warmup": 20}, "warmup must be less than epochs; got warmup 20 and epochs 20"),
        ({"image_size": 8, "model": "vgg16", "weights": "none"}, "image_size"),
        ({"weights": "absent.pth"}, "absent.pth"),
        ({"weights": __file__}, "test_bad_input.py"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together(
    colours: Path, tmp_path: Path, settings: dict[str, object], told: str
) -> None:
    (fault,) = faults_of(colours, tmp_path / "run", **settings)
    assert told in fault
    assert not (tmp_path / "run").exists()


def test_weights_of_another_architecture(colours: Path, tmp_path: Path) -> None:
    save_file({"conv_stem.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    faults = faults_of(
        colours, tmp_path / "run", weights=str(tmp_path / "other.safetensors"), image_size=32
    )
    assert "efficientnet_lite0" in faults[0]
    assert not (tmp_path / "run").exists()


def test_a11_an_existing_directory_is_left_alone(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (fault,) = faults_of(colours, tmp_path)
    assert "exists" in fault
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_does_not_go_into_the_data(colours: Path) -> None:
    (fault,) = faults_of(colours, colours / "red" / "run")
    assert "must not lie in the folder of images" in fault


def test_a_search_needs_a_grid(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a grid"):
        veduta.search(colours, grid={}, out=tmp_path / "run")


def test_images_are_mixed_only_where_stages_train(colours: Path, tmp_path: Path) -> None:
    (fault,) = faults_of(colours, tmp_path / "run", freeze="all", augment="flip+mixup+cutmix")
    assert "augment=cutmix+flip+mixup with freeze=all" in fault
    assert "give freeze=none or fewer stages, or leave out cutmix and mixup" in fault
    (fault,) = faults_of(colours, tmp_path / "run", freeze=3, augment="flip+mixup+crop")
    assert "augment=crop+flip+mixup with freeze=3" in fault
    assert "give views, or leave out crop and flip" in fault


def test_views_that_cannot_be_are_told_together(colours: Path, tmp_path: Path) -> None:
    first, second, third = faults_of(
        colours, tmp_path / "run", views=9, epochs=8, augment="crops+flip+sparkle"
    )
    assert "no augmentation is called 'crops'; did you mean 'crop'?" in first
    assert "'sparkle'" in second
    assert "views=9 with epochs=8" in third
    (fault,) = faults_of(colours, tmp_path / "run", views=2, augment="none")
    assert "views=2 with augment=none" in fault
    (fault,) = faults_of(colours, tmp_path / "run", views=2, augment="crop+mixupp", freeze="none")
    assert "did you mean 'mixup'?" in fault
    assert not (tmp_path / "run").exists()
