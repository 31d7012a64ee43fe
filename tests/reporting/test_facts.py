"""Sentences on learning curves that overfit, underfit, or need more epochs."""

import pandas as pd
import pytest

from veduta.reporting.pages.facts import describe_learning_curves


def build_epochs(
    train: list[float], validation: list[float], losses: list[list[float]]
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": range(1, len(train) + 1),
            "train_accuracy": train,
            "val_accuracy": validation,
            "train_loss": losses[0],
            "val_loss": losses[1],
        }
    )


@pytest.mark.parametrize(
    ("epochs", "expected", "unexpected"),
    [
        (
            build_epochs([0.7, 0.99, 1.0], [0.7, 0.8, 0.79], [[0.9, 0.3, 0.1], [0.9, 0.6, 0.8]]),
            ["model overfits", "19.0 percentage points", "After epoch 2 only the training loss"],
            ["underfits", "still decreasing"],
        ),
        (
            build_epochs([0.3, 0.4, 0.42], [0.3, 0.4, 0.41], [[2.0, 1.9, 1.8], [2.0, 1.9, 1.85]]),
            ["model underfits", "still decreasing at the last epoch"],
            ["overfits", "only the training"],
        ),
        (
            build_epochs([0.7, 0.9, 0.91], [0.7, 0.92, 0.91], [[0.9, 0.3, 0.4], [0.9, 0.4, 0.5]]),
            ["below 10 percentage points"],
            ["a gap of", "overfits", "underfits", "only the training"],
        ),
        (
            build_epochs([0.9], [0.88], [[0.3], [0.4]]),
            ["2.0 percentage points"],
            ["decreasing", "memorize"],
        ),
    ],
)
def test_learning_curves_are_described(
    epochs: pd.DataFrame, expected: list[str], unexpected: list[str]
) -> None:
    text = " ".join(describe_learning_curves(epochs, min(2, len(epochs))))
    assert all(part in text for part in expected), text
    assert not any(part in text for part in unexpected), text
