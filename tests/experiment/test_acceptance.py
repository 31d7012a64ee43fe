"""The main task on real images, and on the network of the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.models import vgg16

import veduta
from tests.support.runs import QUIET
from veduta.runs.scores import load_test_scores


@pytest.mark.slow
def test_a_search_on_the_intel_images_reaches_its_accuracy(intel: Path, tmp_path: Path) -> None:
    run = veduta.search(
        intel, grid={"lr": [3e-4, 3e-3], "batch_size": [32, 64]}, epochs=10, image_size=150,
        out=tmp_path / "run", console=QUIET,
    )  # fmt: skip
    data = run.summary.data
    assert data.classes == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    assert data.split_sizes.model_dump() == {"train": 3358, "validation": 839, "test": 900}
    assert (run.summary.test.accuracy.value or 0) >= 0.87

    scores = load_test_scores(run.directory.test_scores)
    few = slice(0, 900, 30)
    logits = scores.logits[few].astype(np.float64)
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    table = veduta.load(run.directory.path).predict([intel / path for path in scores.paths[few]])
    assert list(table["label"]) == [data.classes[i] for i in logits.argmax(1)]
    assert abs(table["probability"].to_numpy() - expected.max(1)).max() < 1e-5

    again = veduta.search(
        intel, grid={"lr": [3e-3, 3e-4], "batch_size": [64, 32]}, epochs=10, image_size=150,
        out=tmp_path / "again", console=QUIET,
    )  # fmt: skip
    assert again.summary.rows_computed.model_dump() == {"pixels": 0, "features": 0}
    pd.testing.assert_frame_equal(
        again.trials.drop(columns="seconds"), run.trials.drop(columns="seconds"), check_exact=True
    )


@pytest.mark.slow
def test_vgg16_with_head_b_of_the_report_learns(color_folder: Path, tmp_path: Path) -> None:
    head_b: dict[str, Any] = {
        "hidden": 2000,
        "batch_norm": True,
        "dropout": 0.4,
        "lr": 3e-5,
        "image_size": 32,
    }
    run = veduta.train(
        color_folder,
        model="vgg16",
        weights="none",
        epochs=12,
        out=tmp_path / "run",
        engine="torch",
        console=QUIET,
        **head_b,
    )
    assert list(run.epochs["epoch"]) == list(range(1, 13))
    assert run.epochs["train_accuracy"].iloc[-1] > 0.6  # chance is a third
    assert len(veduta.load(run.directory.path).predict(color_folder / "red")) == 20

    torch.manual_seed(0)
    torch.save(vgg16(weights=None).state_dict(), tmp_path / "vgg16.pth")
    loaded = veduta.train(
        color_folder, model="vgg16", weights=str(tmp_path / "vgg16.pth"), epochs=1, engine="torch",
        out=tmp_path / "loaded", console=QUIET, **head_b,
    )  # fmt: skip
    assert str(loaded.summary.winner.hyperparameters["weights"]).endswith("vgg16.pth")
    assert loaded.epochs["val_loss"][0] != run.epochs["val_loss"][0]
