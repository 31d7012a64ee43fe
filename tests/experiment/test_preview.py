"""A preview: what training would see, exactly; nothing trained, nothing of the test shown."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import veduta
from veduta.augment.mixing import mix_images
from veduta.augment.pipeline import augment_images
from veduta.diagnostics.preview import EACH, EPOCHS, MOST_CLASSES, Sheet, sheets_of
from veduta.errors import InputError
from veduta.experiment.plan import make_plan
from veduta.runs.directory import Place
from veduta.runtime.environment import cache_folder
from veduta.runtime.streams import sample_keys
from veduta.tracking.console import Console

QUIET = Console(quiet=True)
SMALL = {"image_size": 32, "engine": "torch", "weights": "none", "seed": 3}


def sheets(data: Path, *, grid: dict[str, object] | None = None, **settings: object) -> list[Sheet]:
    place = Place(Path("nowhere"))
    plan = make_plan(data, {**SMALL, **settings}, grid=grid or {}, place=place, command="preview")
    return sheets_of(plan, cache=cache_folder(), console=QUIET)


def files_of(data: Path) -> dict[bytes, tuple[str, str]]:
    """Class and SHA-256 of each image, by its pixels: they have the size asked for already."""
    return {
        np.asarray(Image.open(path)).tobytes(): (
            path.parent.name,
            sha256(path.read_bytes()).hexdigest(),
        )
        for path in data.rglob("*.png")
    }


def test_each_epoch_shows_its_own_view(colours: Path) -> None:
    (sheet,) = sheets(colours, freeze="none", augment="crop+flip")
    assert sheet.columns == ("image", *(f"epoch {n}" for n in range(1, EPOCHS + 1)))
    assert sheet.title == "crop + flip"
    assert [row.label for row in sheet.rows] == [name for name in ("blue", "green", "red")
                                                 for _ in range(EACH)]  # fmt: skip
    files = files_of(colours)
    for row in sheet.rows:
        label, digest = files[row.pixels[0].tobytes()]
        assert label == row.label
        for epoch in range(1, EPOCHS + 1):
            expected = augment_images(
                row.pixels[:1], sample_keys([digest]), names=["crop", "flip"], seed=3, view=epoch
            )
            np.testing.assert_array_equal(row.pixels[epoch], expected[0])
        assert not any(row.notes)


def test_views_of_frozen_stages_come_in_turn(colours: Path) -> None:
    (sheet,) = sheets(colours, views=2, epochs=4, augment="crop")
    assert "2 views in turn" in sheet.detail
    for row in sheet.rows:
        assert len(row.pixels) == 5
        np.testing.assert_array_equal(row.pixels[1:3], row.pixels[3:5])
        assert (row.pixels[1] != row.pixels[2]).any()


def test_mixed_images_are_those_of_training(split_colours: Path) -> None:
    (sheet,) = sheets(split_colours, freeze="none", augment="cutmix", validation=0.5)
    trained = {row.pixels[0].tobytes(): row for row in sheet.rows}
    files = files_of(split_colours / "train")
    assert set(trained) <= set(files)  # and none of the test's
    noted = [note for row in sheet.rows for note in row.notes]
    assert any(noted)
    for row in sheet.rows:
        assert row.notes[0] == ""
        keys = sample_keys([files[row.pixels[0].tobytes()][1]])
        for epoch in range(1, EPOCHS + 1):
            white = np.full((1, 32, 32, 3), 255, np.uint8)
            how = {"names": ["cutmix"], "seed": 3, "epoch": epoch}
            where, (share,) = mix_images(np.zeros_like(white), white, keys, **how)
            own = where[0] == 0
            np.testing.assert_array_equal(row.pixels[epoch][own], row.pixels[0][own])
            if row.notes[epoch]:
                assert row.notes[epoch].startswith(f"+ {1 - share:.0%} ")


def test_views_of_frozen_stages_are_mixed_anew_in_every_epoch(colours: Path) -> None:
    how = {"freeze": 7, "views": 2, "epochs": 5, "validation": 0.5}
    (plain,) = sheets(colours, augment="crop", **how)
    (sheet,) = sheets(colours, augment="crop+mixup", **how)
    assert "mixed as maps behind the frozen stages" in sheet.detail
    assert "mixed" not in plain.detail
    again = checked = 0
    for row, alone in zip(sheet.rows, plain.rows, strict=True):
        for epoch, note in enumerate(row.notes):
            if epoch and not note:  # of itself nearly all
                checked += 1
                worst = abs(row.pixels[epoch].astype(int) - alone.pixels[epoch]).max()
                assert worst <= 2
        again += row.notes[1] != row.notes[3]
    assert again
    assert checked


def test_maps_mixed_without_views_are_shown_of_plain_images(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sheet,) = sheets(colours, freeze=7, augment="mixup", validation=0.5)
    assert "mixed as maps" in sheet.detail
    assert any(any(row.notes) for row in sheet.rows)
    veduta.preview(colours, out=tmp_path / "one", freeze=7, augment="mixup", **SMALL)
    assert "plain images" not in "".join(capsys.readouterr())


def test_a_grid_gives_a_sheet_an_augmentation(colours: Path, tmp_path: Path) -> None:
    paths = veduta.preview(
        colours, grid={"augment": ["crop", "flip", "none"], "lr": [1e-3, 1e-2]}, freeze="none",
        out=tmp_path / "out", console=QUIET, **SMALL,
    )  # fmt: skip
    assert [path.name for path in paths] == ["preview-1.png", "preview-2.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [p.name for p in paths]


def test_a_run_that_changes_nothing_says_so(
    colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = veduta.preview(colours, out=tmp_path / "one", **SMALL)
    assert path == tmp_path / "one" / "preview.png"
    assert "trains on the plain images" in "".join(capsys.readouterr())
    with pytest.raises(InputError, match="augment=none"):
        veduta.preview(colours, out=tmp_path / "two", augment="none", console=QUIET, **SMALL)
    with pytest.raises(InputError, match="new directory"):
        veduta.preview(colours, out=tmp_path / "one", console=QUIET, **SMALL)
    assert not (tmp_path / "two").exists()


def test_of_many_classes_some_are_shown(tmp_path: Path) -> None:
    for number in range(MOST_CLASSES + 2):
        folder = tmp_path / "data" / f"class {number:02}"
        folder.mkdir(parents=True)
        for n in range(5):
            shade = np.random.default_rng([number, n]).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(shade).save(folder / f"{n}.png")
    (sheet,) = sheets(tmp_path / "data", freeze="none", augment="flip")
    assert len(sheet.rows) == MOST_CLASSES
    assert f"{MOST_CLASSES} of {MOST_CLASSES + 2} classes" in sheet.detail
