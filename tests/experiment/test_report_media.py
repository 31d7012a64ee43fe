"""Pictures of a run: the image that each file shows, and the most similar training images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import veduta
from tests.support.runs import QUIET
from veduta.evaluation.mistakes import find_nearest
from veduta.experiment.report_media import find_nearest_in_blocks
from veduta.reporting.pictures.media import INDEX
from veduta.runs.tables import read_splits


def test_blocks_give_the_result_of_the_whole_table() -> None:
    generator = np.random.default_rng(0)
    queries = generator.normal(0, 1, (7, 5)).astype(np.float32)
    references = generator.normal(0, 1, (40, 5)).astype(np.float32)
    references[33] = references[4]  # of equal references the first one counts, in any block
    expected = find_nearest(queries, references, count=3)
    blocks = [references[:2], references[2:20], references[20:]]
    indices, similarities = find_nearest_in_blocks(queries, blocks, count=3)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(similarities, expected[1], atol=1e-6)


def read_gray(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the pixels of an image in gray, as a vector."""
    return np.asarray(Image.open(path).convert("L"), np.float64).ravel()


@pytest.mark.parametrize(
    "network", [{}, {"model": "cnn", "weights": "none", "freeze": "none"}], ids=["frozen", "cnn"]
)
def test_each_picture_shows_the_image_that_the_index_names(
    network: dict[str, str], color_folder: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "image_size": 32,
        "epochs": 1,
        "engine": "torch",
        "console": QUIET,
        **network,
    }
    run = veduta.train(color_folder, out=tmp_path / "run", **settings)
    folder = run.directory.media
    index = json.loads((folder / INDEX).read_text())
    names = {*index["thumbnails"].values()}
    for entry in index["gallery"]:
        names |= {entry["picture"], entry["heat"]}
    assert names == {path.name for path in folder.iterdir()} - {INDEX}
    test = run.assessment.test
    assert test is not None
    assert set(test.paths) <= set(index["thumbnails"])
    originals = {path: read_gray(color_folder / path) for path in index["thumbnails"]}
    for path, name in index["thumbnails"].items():
        thumbnail = read_gray(folder / name)
        similarity = {
            other: np.corrcoef(thumbnail, image)[0, 1] for other, image in originals.items()
        }
        assert max(similarity, key=lambda other: similarity[other]) == path
        assert similarity[path] > 0.8  # noise, which WebP changes most
    splits = read_splits(run.directory.splits).set_index("path")["split"]
    for entry in index["gallery"]:
        assert splits[entry["path"]] == "test"
        assert {splits[path] for path, _, _ in entry["nearest"]} == {"train"}
        assert all(path.startswith(f"{label}/") for path, label, _ in entry["nearest"])
        similarities = [similarity for _, _, similarity in entry["nearest"]]
        assert similarities == sorted(similarities, reverse=True)
