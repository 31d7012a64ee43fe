"""What curves say, in words: trainings that are known to overfit, underfit, or need more epochs."""

import pandas as pd
import pytest

from veduta.reporting.pages.facts import reading


def course(train: list[float], validation: list[float], losses: list[list[float]]) -> pd.DataFrame:
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
    ("epochs", "said", "unsaid"),
    [
        (
            course([0.7, 0.99, 1.0], [0.7, 0.8, 0.79], [[0.9, 0.3, 0.1], [0.9, 0.6, 0.8]]),
            ["It overfits", "19.0 points apart", "After epoch 2 only the training loss"],
            ["underfits", "still falling"],
        ),
        (
            course([0.3, 0.4, 0.42], [0.3, 0.4, 0.41], [[2.0, 1.9, 1.8], [2.0, 1.9, 1.85]]),
            ["It underfits", "still falling when it ended"],
            ["It overfits", "only the training"],
        ),
        (
            course([0.7, 0.9, 0.91], [0.7, 0.92, 0.91], [[0.9, 0.3, 0.4], [0.9, 0.4, 0.5]]),
            ["training shows no advantage", "less than the 10 points"],
            ["It overfits", "underfits", "only the training"],
        ),
        (course([0.9], [0.88], [[0.3], [0.4]]), ["2.0 points apart"], ["falling", "memorised"]),
    ],
)
def test_what_is_said(epochs: pd.DataFrame, said: list[str], unsaid: list[str]) -> None:
    told = " ".join(reading(epochs, min(2, len(epochs))))
    assert all(words in told for words in said), told
    assert not any(words in told for words in unsaid), told
