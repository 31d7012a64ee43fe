"""Pictures of a run: which image each file shows, and which training images are most like it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import veduta
from veduta.evaluation.mistakes import find_nearest
from veduta.experiment.report_media import nearest_of
from veduta.reporting.pictures.media import INDEX
from veduta.tracking.console import Console


def test_parts_give_what_the_whole_gives() -> None:
    generator = np.random.default_rng(0)
    queries = generator.normal(0, 1, (7, 5)).astype(np.float32)
    references = generator.normal(0, 1, (40, 5)).astype(np.float32)
    references[33] = references[4]  # of equals the first counts, whatever part it is in
    whole = find_nearest(queries, references, count=3)
    parts = [references[:2], references[2:20], references[20:]]
    found = nearest_of(queries, parts, count=3)
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_allclose(found[1], whole[1], atol=1e-6)


def grey(path: Path) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(Image.open(path).convert("L"), np.float64).ravel()


@pytest.mark.parametrize("more", [{}, {"model": "cnn", "weights": "none", "freeze": "none"}])
def test_each_picture_is_of_the_image_that_the_index_names(
    more: dict[str, str], colours: Path, tmp_path: Path
) -> None:
    small = {"image_size": 32, "epochs": 1, "engine": "torch", "console": Console(quiet=True)}
    run = veduta.train(colours, out=tmp_path / "run", **small, **more)
    folder = run.directory.media
    index = json.loads((folder / INDEX).read_text())
    named = {*index["thumbnails"].values()}
    for entry in index["gallery"]:
        named |= {entry["picture"], entry["heat"]}
    assert named == {path.name for path in folder.iterdir()} - {INDEX}
    test = run.judgement.test
    assert test is not None
    assert set(test.paths) <= set(index["thumbnails"])
    originals = {path: grey(colours / path) for path in index["thumbnails"]}
    for path, name in index["thumbnails"].items():
        kept = grey(folder / name)
        alike = {other: np.corrcoef(kept, image)[0, 1] for other, image in originals.items()}
        assert max(alike, key=lambda other: alike[other]) == path
        assert alike[path] > 0.8  # of noise, which WebP changes the most
    splits = dict(line.split(",")[:3:2] for line in run.directory.splits.read_text().splitlines())
    for entry in index["gallery"]:
        assert splits[entry["path"]] == "test"
        assert {splits[path] for path, _, _ in entry["nearest"]} == {"train"}
        assert all(path.startswith(f"{label}/") for path, label, _ in entry["nearest"])
        cosines = [cosine for _, _, cosine in entry["nearest"]]
        assert cosines == sorted(cosines, reverse=True)
