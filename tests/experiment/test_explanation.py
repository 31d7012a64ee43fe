"""Explaining the model of a run: what is written, what it says, and what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import veduta
from tests.faults.hostile import veduta as commands
from veduta.errors import InputError
from veduta.tracking.console import Console

QUIET = Console(quiet=True)
HOSTILE = (
    '<script>alert("x")\n.png',
    "a\\..\\..\\evil \N{GRINNING FACE}.png",
    "-rf \N{RIGHT-TO-LEFT OVERRIDE}gnp.png",
    "\udcff.png",
    "x" * 200 + ".png",
)


@pytest.fixture(scope="module")
def run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explain") / "run"
    settings = {"model": "report_cnn", "channels": "8x8", "hidden": "8", "image_size": 40}
    veduta.train(colours, out=out, epochs=3, lr=1e-2, console=QUIET, **settings)
    return out


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_each_image_has_a_row_and_a_picture(
    run: Path, colours: Path, tmp_path: Path, method: str
) -> None:
    images = [colours / "red" / "000.png", colours / "blue" / "001.png"]
    found = veduta.explain(run, images, method=method, out=tmp_path / "out", console=QUIET)
    said = veduta.load(run).predict(images)
    assert list(found.table.columns) == ["path", "label", "probability", "target", "overlay"]
    pd.testing.assert_frame_equal(found.table[list(said.columns)], said)
    assert list(found.table["target"]) == list(said["label"])
    assert list(found.table["overlay"]) == ["overlays/0001-000.png", "overlays/0002-001.png"]
    written = pd.read_csv(found.directory / "explanations.csv")
    pd.testing.assert_frame_equal(written, found.table)
    for name in ["explain.png", *found.table["overlay"]]:
        with Image.open(found.directory / name) as picture:
            assert np.asarray(picture).std() > 10
    layer = "block2.activation" if method == "gradcam" else None
    assert found.summary["layer"] == layer
    assert found.summary["images"] == 2


def test_what_is_given_twice_is_answered_twice_in_order(
    run: Path, colours: Path, tmp_path: Path
) -> None:
    red, blue = colours / "red" / "000.png", colours / "blue" / "000.png"
    images = [red, blue, red, red.parent / "." / red.name, blue]
    expected = [str(path) for path in (red, blue, red, red, blue)]
    model = veduta.load(run)
    said, once = model.predict(images), model.predict([red, blue])
    assert list(said["path"]) == expected
    alone = once.iloc[[0, 1, 0, 0, 1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(said, alone, rtol=1e-5)
    found = veduta.explain(run, images, out=tmp_path / "explained", console=QUIET)
    assert list(found.table["path"]) == expected
    assert list(found.table["label"]) == list(said["label"])
    assert (
        len({(found.directory / name).resolve(strict=True) for name in found.table["overlay"]}) == 5
    )


def test_what_is_given_twice_is_twice_in_the_files_of_the_commands(
    run: Path, colours: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"x")
    red, blue = (str(colours / name / "000.png") for name in ("red", "blue"))
    paths = (red, str(broken), red, blue, f"{colours}/./red/000.png", str(broken))
    codes, _, err = commands(
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
        left_out = pd.read_csv(tmp_path / Path(name).parent / "rejected.csv")
        assert list(left_out["path"]) == [str(broken)] * 2


def test_another_class_layer_maps_and_kernels(run: Path, colours: Path, tmp_path: Path) -> None:
    asked = {"target": "green", "layer": "1", "maps": True, "kernels": True}
    images = sorted((colours / "red").iterdir())[:3]
    found = veduta.explain(run, images, **asked, out=tmp_path / "out", console=QUIET)
    assert len(found.table) == 3
    assert set(found.table["target"]) == {"green"}
    assert found.layer == "block1.activation"
    for name in ("maps.png", "kernels.png"):
        with Image.open(found.directory / name) as picture:
            assert picture.width > 200


def test_the_same_question_has_the_same_bytes(
    run: Path, colours: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    images = [colours / "red" / "000.png", colours / "blue" / "000.png"]
    before = tree(run)
    one, two = (
        veduta.explain(run, images, maps=True, kernels=True, out=tmp_path / name, console=QUIET)
        for name in ("one", "two")
    )
    assert tree(one.directory) == tree(two.directory)
    assert tree(run) == before


def test_no_name_leads_out_of_the_directory(
    run: Path, colours: Path, tmp_path: Path, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    folder = tmp_path / "red"
    folder.mkdir()
    for name in HOSTILE:
        shutil.copy(colours / "red" / "000.png", folder / name)
    (folder / "broken.png").write_bytes(b"x")
    before = set(tree(tmp_path))
    found = veduta.explain(run, [folder], maps=True, out=tmp_path / "out", console=QUIET)
    assert len(found.table) == len(HOSTILE)
    assert [rejection.problem for rejection in found.rejected] == ["not an image"]
    assert "broken.png" in (tmp_path / "out" / "rejected.csv").read_text()
    new = set(tree(tmp_path)) - before
    assert all(name.startswith("out/") for name in new)
    overlays = {f"out/{name}" for name in found.table["overlay"]}
    assert {name for name in new if name.startswith("out/overlays/")} == overlays
    for name in overlays:
        assert name.removeprefix("out/overlays/").replace("-", "").removesuffix(".png").isalnum()
        assert name.isascii()
        assert len(name) < 80


def test_every_fault_is_said_and_nothing_is_written(
    run: Path, colours: Path, tmp_path: Path
) -> None:
    asked = {"method": "gradcm", "target": "rad", "layer": "block9"}
    with pytest.raises(InputError) as caught:
        veduta.explain(run, [colours], **asked, out=tmp_path / "out", console=QUIET)
    assert caught.value.faults == (
        "no method is called 'gradcm'; did you mean 'gradcam'?",
        "no class of this model is called 'rad'; did you mean 'red'?",
        "no layer of report_cnn is called 'block9'; did you mean 'block2'?",
    )
    with pytest.raises(InputError, match="occlusion looks at none"):
        veduta.explain(run, [colours], method="occlusion", layer="1", out=tmp_path / "out")
    with pytest.raises(InputError, match="every path must exist"):
        veduta.explain(run, [tmp_path / "absent.png"], out=tmp_path / "out", console=QUIET)
    assert not list(tmp_path.iterdir())
