"""Which images a report shows: enough of each cell, and never too many for a page."""

import numpy as np
import pandas as pd

from veduta.evaluation.mistakes import tabulate_predictions
from veduta.reporting.pictures.media import (
    A_CELL,
    ALL_CELLS,
    DOUBTED,
    ERRORS,
    HITS,
    cells_of,
    shown_of,
)


def judged(images: int, classes: int, *, right: float, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, images)
    logits = generator.normal(0, 1, (images, classes))
    logits[np.arange(images), truth] += np.where(generator.random(images) < right, 5, 0)
    powers = np.exp(logits)
    names = [f"c{number}" for number in range(classes)]
    paths = [f"{number}.png" for number in range(images)]
    return tabulate_predictions(paths, truth, powers / powers.sum(1, keepdims=True), names)


def test_a_cell_shows_its_images_and_at_most_so_many() -> None:
    images = judged(900, 6, right=0.9)
    cells = cells_of(images)
    counts = images.groupby(["truth", "label"]).size()
    assert {cell: len(paths) for cell, paths in cells.items()} == {
        cell: min(A_CELL, count) for cell, count in counts.items()
    }
    rows = images.set_index("path")
    for (truth, label), paths in cells.items():
        found = rows.loc[list(paths)]
        assert set(found["truth"]) == {truth}
        assert set(found["label"]) == {label}
        sure = found["probability"]
        assert sure.is_monotonic_increasing if truth == label else sure.is_monotonic_decreasing


def test_many_classes_share_the_room_and_errors_come_first() -> None:
    images = judged(3000, 300, right=0.5)
    cells = cells_of(images)
    assert sum(map(len, cells.values())) <= ALL_CELLS
    wrong = images[images["truth"] != images["label"]]
    assert len(wrong.groupby(["truth", "label"])) > ALL_CELLS / 2
    assert all(truth != label for truth, label in list(cells)[-50:])
    few = cells_of(judged(3000, 30, right=0.8))
    assert ALL_CELLS / 2 < sum(map(len, few.values())) <= ALL_CELLS
    assert {("c3", "c3"), ("c29", "c29")} <= set(few)


def test_the_gallery_has_the_surest_errors_and_the_least_sure_hits() -> None:
    images = judged(400, 3, right=0.6)
    issues = pd.DataFrame(
        {"path": [f"{n}.png" for n in range(99)], "issue": [True] * 30 + [0] * 69}
    )
    shown = shown_of(images, ["c0", "c1", "c2"], issues.astype({"issue": bool}))
    rows = images.set_index("path").loc[list(shown.gallery)]
    assert [f"c{label}" for label in shown.gallery.values()] == list(rows["label"])
    wrong = images[images["truth"] != images["label"]]
    right = images[images["truth"] == images["label"]]
    assert set(rows.index[:ERRORS]) == set(wrong.nlargest(ERRORS, "probability")["path"])
    assert set(rows.index[ERRORS:]) == set(right.nsmallest(HITS, "probability")["path"])
    assert shown.doubted == tuple(f"{n}.png" for n in range(DOUBTED))
    assert len(set(shown.thumbnails)) == len(shown.thumbnails)
