"""Explanations of the model of a run: files, their content, and errors."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.support.hostile_data import run_commands
from tests.support.runs import QUIET
from veduta.errors import InputError

HOSTILE_NAMES = (
    '<script>alert("x")\n.png',
    "a\\..\\..\\evil \N{GRINNING FACE}.png",
    "-rf \N{RIGHT-TO-LEFT OVERRIDE}gnp.png",
    "\udcff.png",
    "x" * 200 + ".png",
)


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small convolutional network with two blocks."""
    out = tmp_path_factory.mktemp("explain") / "run"
    settings: dict[str, Any] = {
        "model": "report_cnn",
        "channels": "8x8",
        "hidden": "8",
        "image_size": 40,
    }
    veduta.train(color_folder, out=out, epochs=3, lr=1e-2, console=QUIET, **settings)
    return out


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_each_image_has_a_row_and_an_overlay(
    run: Path, color_folder: Path, tmp_path: Path, method: Literal["gradcam", "occlusion"]
) -> None:
    images = [color_folder / "red" / "000.png", color_folder / "blue" / "001.png"]
    explanation = veduta.explain(run, images, method=method, out=tmp_path / "out", console=QUIET)
    table = explanation.table
    predictions = veduta.load(run).predict(images)
    assert list(table.columns) == ["path", "label", "probability", "target", "overlay"]
    pd.testing.assert_frame_equal(table[list(predictions.columns)], predictions)
    assert list(table["target"]) == list(predictions["label"])
    assert list(table["overlay"]) == ["overlays/0001-000.png", "overlays/0002-001.png"]
    written = pd.read_csv(explanation.directory / "explanations.csv")
    pd.testing.assert_frame_equal(written, table)
    for name in ["explain.png", *table["overlay"]]:
        with Image.open(explanation.directory / name) as picture:
            assert np.asarray(picture).std() > 10
    layer = "block2.activation" if method == "gradcam" else None
    assert explanation.summary.layer == layer
    assert explanation.summary.images == 2


def test_an_image_given_twice_has_two_rows_in_order(
    run: Path, color_folder: Path, tmp_path: Path
) -> None:
    red, blue = color_folder / "red" / "000.png", color_folder / "blue" / "000.png"
    images = [red, blue, red, red.parent / "." / red.name, blue]
    expected = [str(path) for path in (red, blue, red, red, blue)]
    model = veduta.load(run)
    predictions, distinct = model.predict(images), model.predict([red, blue])
    assert list(predictions["path"]) == expected
    repeated = distinct.iloc[[0, 1, 0, 0, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(predictions, repeated, rtol=1e-5)
    explanation = veduta.explain(run, images, out=tmp_path / "explained", console=QUIET)
    assert list(explanation.table["path"]) == expected
    assert list(explanation.table["label"]) == list(predictions["label"])
    overlays = [explanation.directory / name for name in explanation.table["overlay"]]
    assert len({path.resolve(strict=True) for path in overlays}) == 5


def test_commands_write_two_rows_for_an_image_given_twice(
    run: Path, color_folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"x")
    red, blue = (str(color_folder / name / "000.png") for name in ("red", "blue"))
    paths = (red, str(broken), red, blue, f"{color_folder}/./red/000.png", str(broken))
    codes, _, err = run_commands(
        [
            ("predict", str(run), *paths, "--out", "predicted"),
            ("explain", str(run), *paths, "--out", "explained"),
        ],
        cwd=tmp_path,
    )
    assert codes == [3, 3], err
    for name in ("predicted/predictions.csv", "explained/explanations.csv"):
        table = pd.read_csv(tmp_path / name)
        assert list(table["path"]) == [red, red, blue, red]
        rejected = pd.read_csv(tmp_path / Path(name).parent / "rejected.csv")
        assert list(rejected["path"]) == [str(broken)] * 2


def test_target_layer_maps_and_kernels(run: Path, color_folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"target": "green", "layer": "1", "maps": True, "kernels": True}
    images = sorted((color_folder / "red").iterdir())[:3]
    explanation = veduta.explain(run, images, **options, out=tmp_path / "out", console=QUIET)
    assert len(explanation.table) == 3
    assert set(explanation.table["target"]) == {"green"}
    assert explanation.layer == "block1.activation"
    for name in ("maps.png", "kernels.png"):
        with Image.open(explanation.directory / name) as picture:
            assert picture.width > 200


def test_the_same_command_writes_the_same_bytes(
    run: Path, color_folder: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    images = [color_folder / "red" / "000.png", color_folder / "blue" / "000.png"]
    before = tree(run)
    first, second = (
        veduta.explain(run, images, maps=True, kernels=True, out=tmp_path / name, console=QUIET)
        for name in ("first", "second")
    )
    assert tree(first.directory) == tree(second.directory)
    assert tree(run) == before


def test_hostile_names_write_no_file_outside_the_directory(
    run: Path, color_folder: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    folder = tmp_path / "red"
    folder.mkdir()
    for name in HOSTILE_NAMES:
        shutil.copy(color_folder / "red" / "000.png", folder / name)
    (folder / "broken.png").write_bytes(b"x")
    before = set(tree(tmp_path))
    explanation = veduta.explain(run, [folder], maps=True, out=tmp_path / "out", console=QUIET)
    assert len(explanation.table) == len(HOSTILE_NAMES)
    assert [rejection.problem for rejection in explanation.rejected] == ["not an image"]
    assert "broken.png" in (tmp_path / "out" / "rejected.csv").read_text()
    new = set(tree(tmp_path)) - before
    assert all(name.startswith("out/") for name in new)
    overlays = {f"out/{name}" for name in explanation.table["overlay"]}
    assert {name for name in new if name.startswith("out/overlays/")} == overlays
    for name in overlays:
        assert name.removeprefix("out/overlays/").replace("-", "").removesuffix(".png").isalnum()
        assert name.isascii()
        assert len(name) < 80


def test_all_errors_are_reported_and_nothing_is_written(
    run: Path, color_folder: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"method": "gradcm", "target": "rad", "layer": "block9"}
    with pytest.raises(InputError) as caught:
        veduta.explain(run, [color_folder], **options, out=tmp_path / "out", console=QUIET)
    unknown_and_suggested = [("gradcm", "gradcam"), ("rad", "red"), ("block9", "block2")]
    for fault, names in zip(caught.value.faults, unknown_and_suggested, strict=True):
        assert all(repr(name) in fault for name in names)
    with pytest.raises(InputError, match=r"layer.*occlusion"):
        veduta.explain(run, [color_folder], method="occlusion", layer="1", out=tmp_path / "out")
    with pytest.raises(InputError, match=r"absent\.png"):
        veduta.explain(run, [tmp_path / "absent.png"], out=tmp_path / "out", console=QUIET)
    assert not list(tmp_path.iterdir())
