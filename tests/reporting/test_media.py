"""Selection of the images that a report shows: enough of each cell, and a limited total."""

import numpy as np
import pandas as pd

from veduta.evaluation.mistakes import tabulate_predictions
from veduta.reporting.pictures.media import (
    MAX_ALL_CELL_IMAGES,
    MAX_CELL_IMAGES,
    MAX_ERRORS,
    MAX_LABEL_ISSUES,
    MAX_UNCERTAIN_CORRECT,
    select_cell_images,
    select_media,
)


def make_predictions(images: int, classes: int, *, accuracy: float, seed: int = 0) -> pd.DataFrame:
    """Return random predictions of which about `accuracy` are correct."""
    generator = np.random.default_rng(seed)
    y_true = generator.integers(0, classes, images)
    logits = generator.normal(0, 1, (images, classes))
    logits[np.arange(images), y_true] += np.where(generator.random(images) < accuracy, 5, 0)
    powers = np.exp(logits)
    names = [f"c{number}" for number in range(classes)]
    paths = [f"{number}.png" for number in range(images)]
    return tabulate_predictions(paths, y_true, powers / powers.sum(1, keepdims=True), names)


def test_each_cell_has_its_first_images_up_to_a_limit() -> None:
    images = make_predictions(900, 6, accuracy=0.9)
    cells = select_cell_images(images)
    counts = images.groupby(["y_true", "y_pred"]).size()
    assert {cell: len(paths) for cell, paths in cells.items()} == {
        cell: min(MAX_CELL_IMAGES, count) for cell, count in counts.items()
    }
    rows = images.set_index("path")
    for (y_true, y_pred), paths in cells.items():
        cell = rows.loc[list(paths)]
        assert set(cell["y_true"]) == {y_true}
        assert set(cell["y_pred"]) == {y_pred}
        probability = cell["probability"]
        if y_true == y_pred:
            assert probability.is_monotonic_increasing
        else:
            assert probability.is_monotonic_decreasing


def test_many_classes_share_the_total_and_errors_come_first() -> None:
    images = make_predictions(3000, 300, accuracy=0.5)
    cells = select_cell_images(images)
    assert sum(map(len, cells.values())) <= MAX_ALL_CELL_IMAGES
    errors = images[images["y_true"] != images["y_pred"]]
    assert len(errors.groupby(["y_true", "y_pred"])) > MAX_ALL_CELL_IMAGES / 2
    assert all(y_true != y_pred for y_true, y_pred in list(cells)[-50:])
    fewer_classes = select_cell_images(make_predictions(3000, 30, accuracy=0.8))
    total = sum(map(len, fewer_classes.values()))
    assert MAX_ALL_CELL_IMAGES / 2 < total <= MAX_ALL_CELL_IMAGES
    assert {("c3", "c3"), ("c29", "c29")} <= set(fewer_classes)


def test_gallery_has_the_most_confident_errors_and_the_least_confident_correct_images() -> None:
    images = make_predictions(400, 3, accuracy=0.6)
    issues = pd.DataFrame(
        {"path": [f"{n}.png" for n in range(99)], "issue": [True] * 30 + [False] * 69}
    )
    selection = select_media(images, ["c0", "c1", "c2"], issues)
    rows = images.set_index("path").loc[list(selection.gallery)]
    assert [f"c{label}" for label in selection.gallery.values()] == list(rows["y_pred"])
    errors = images[images["y_true"] != images["y_pred"]]
    correct = images[images["y_true"] == images["y_pred"]]
    most_confident = errors.nlargest(MAX_ERRORS, "probability")["path"]
    least_confident = correct.nsmallest(MAX_UNCERTAIN_CORRECT, "probability")["path"]
    assert set(rows.index[:MAX_ERRORS]) == set(most_confident)
    assert set(rows.index[MAX_ERRORS:]) == set(least_confident)
    assert selection.label_issues == tuple(f"{n}.png" for n in range(MAX_LABEL_ISSUES))
    assert len(set(selection.thumbnails)) == len(selection.thumbnails)
