"""Preview: the images that training would use, exactly; nothing of the test set is shown."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import veduta
from tests.support.runs import QUIET
from veduta.augment.mixing import mix_images
from veduta.augment.pipeline import augment_images
from veduta.diagnostics.preview import (
    MAX_CLASSES,
    MAX_EPOCHS,
    MAX_IMAGES_PER_CLASS,
    build_sheets,
)
from veduta.errors import InputError
from veduta.experiment.plan import make_plan
from veduta.reporting.pictures.sheets import Sheet
from veduta.runs.directory import OutputPath
from veduta.runtime.environment import get_cache_folder
from veduta.runtime.streams import derive_sample_keys

SMALL: dict[str, Any] = {"image_size": 32, "engine": "torch", "weights": "none", "seed": 3}


def build(data: Path, **settings: object) -> Sheet:
    """Build the sheet of a training with `settings`."""
    output = OutputPath(Path("nowhere"))
    plan = make_plan(data, {**SMALL, **settings}, grid={}, output=output, command="train")
    (sheet,) = build_sheets(plan, cache=get_cache_folder(), console=QUIET)
    return sheet


def index_files(data: Path) -> dict[bytes, tuple[str, str]]:
    """Return class and SHA-256 of each image by its pixels; the images have the final size."""
    return {
        np.asarray(Image.open(path)).tobytes(): (
            path.parent.name,
            sha256(path.read_bytes()).hexdigest(),
        )
        for path in data.rglob("*.png")
    }


def test_each_epoch_shows_its_own_view(color_folder: Path) -> None:
    sheet = build(color_folder, freeze="none", augment="crop+flip")
    assert sheet.columns == ("image", *(f"epoch {n}" for n in range(1, MAX_EPOCHS + 1)))
    assert sheet.title == "crop + flip"
    labels = [label for label in ("blue", "green", "red") for _ in range(MAX_IMAGES_PER_CLASS)]
    assert [row.label for row in sheet.rows] == labels
    files = index_files(color_folder)
    for row in sheet.rows:
        label, digest = files[row.pixels[0].tobytes()]
        assert label == row.label
        for epoch in range(1, MAX_EPOCHS + 1):
            expected = augment_images(
                row.pixels[:1],
                derive_sample_keys([digest]),
                names=["crop", "flip"],
                seed=3,
                view=epoch,
            )
            np.testing.assert_array_equal(row.pixels[epoch], expected[0])
        assert not any(row.notes)


def test_views_of_frozen_stages_take_turns(color_folder: Path) -> None:
    sheet = build(color_folder, views=2, epochs=4, augment="crop")
    assert "2 views in turn" in sheet.detail
    for row in sheet.rows:
        assert len(row.pixels) == 5
        np.testing.assert_array_equal(row.pixels[1:3], row.pixels[3:5])
        assert (row.pixels[1] != row.pixels[2]).any()


def test_mixed_images_are_those_of_training(split_folder: Path) -> None:
    sheet = build(split_folder, freeze="none", augment="cutmix", validation=0.5)
    files = index_files(split_folder / "train")
    assert {row.pixels[0].tobytes() for row in sheet.rows} <= set(files)  # no test image
    assert any(note for row in sheet.rows for note in row.notes)
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    for row in sheet.rows:
        assert row.notes[0] == ""
        keys = derive_sample_keys([files[row.pixels[0].tobytes()][1]])
        for epoch in range(1, MAX_EPOCHS + 1):
            mixed, (fraction,) = mix_images(
                np.zeros_like(white), white, keys, names=["cutmix"], seed=3, epoch=epoch
            )
            own = mixed[0] == 0
            np.testing.assert_array_equal(row.pixels[epoch][own], row.pixels[0][own])
            if row.notes[epoch]:
                assert row.notes[epoch].startswith(f"+ {1 - fraction:.0%} ")


def test_views_of_frozen_stages_are_mixed_again_in_every_epoch(color_folder: Path) -> None:
    settings: dict[str, Any] = {"freeze": 7, "views": 2, "epochs": 5, "validation": 0.5}
    plain = build(color_folder, augment="crop", **settings)
    sheet = build(color_folder, augment="crop+mixup", **settings)
    assert "feature maps" in sheet.detail
    assert "feature maps" not in plain.detail
    changed = unmixed = 0
    for row, plain_row in zip(sheet.rows, plain.rows, strict=True):
        for epoch, note in enumerate(row.notes):
            if epoch and not note:  # nearly all of the image is its own
                unmixed += 1
                difference = abs(row.pixels[epoch].astype(int) - plain_row.pixels[epoch]).max()
                assert difference <= 2
        changed += row.notes[1] != row.notes[3]
    assert changed
    assert unmixed


def test_plain_images_are_mixed_where_there_are_no_views(
    color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = build(color_folder, freeze=7, augment="mixup", validation=0.5)
    assert "feature maps" in sheet.detail
    assert any(any(row.notes) for row in sheet.rows)
    veduta.preview(color_folder, out=tmp_path / "out", freeze=7, augment="mixup", **SMALL)
    assert "plain images" not in "".join(capsys.readouterr())


def test_a_grid_has_a_sheet_per_augmentation(color_folder: Path, tmp_path: Path) -> None:
    paths = veduta.preview(
        color_folder, grid={"augment": ["crop", "flip", "none"], "lr": [1e-3, 1e-2]}, freeze="none",
        out=tmp_path / "out", console=QUIET, **SMALL,
    )  # fmt: skip
    assert [path.name for path in paths] == ["preview-1.png", "preview-2.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [p.name for p in paths]


def test_a_run_without_augmentation_is_a_warning_or_an_error(
    color_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = veduta.preview(color_folder, out=tmp_path / "one", **SMALL)
    assert path == tmp_path / "one" / "preview.png"
    assert "plain images" in "".join(capsys.readouterr())
    with pytest.raises(InputError, match="augment=none"):
        veduta.preview(color_folder, out=tmp_path / "two", augment="none", console=QUIET, **SMALL)
    with pytest.raises(InputError, match="new directory"):
        veduta.preview(color_folder, out=tmp_path / "one", console=QUIET, **SMALL)
    assert not (tmp_path / "two").exists()


def test_of_many_classes_some_are_shown(tmp_path: Path) -> None:
    for number in range(MAX_CLASSES + 2):
        folder = tmp_path / "data" / f"class {number:02}"
        folder.mkdir(parents=True)
        for n in range(5):
            pixels = np.random.default_rng([number, n]).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{n}.png")
    sheet = build(tmp_path / "data", freeze="none", augment="flip")
    assert len(sheet.rows) == MAX_CLASSES
    assert f"{MAX_CLASSES} of {MAX_CLASSES + 2} classes" in sheet.detail
