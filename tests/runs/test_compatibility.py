"""Models of every format load, and predict what they predicted when they were written."""

from pathlib import Path

import pytest
from PIL import Image

import veduta
from veduta.errors import VersionWarning

MODELS = Path(__file__).parents[1] / "data" / "models"
COLORS = {"red": (200, 50, 40), "green": (50, 180, 60), "blue": (40, 60, 200)}
PROBABILITIES = {  # of the classes blue, green and red, recorded when the model was written
    "red": (0.074072, 0.022468, 0.903460),
    "green": (0.321656, 0.357950, 0.320394),
    "blue": (0.676744, 0.172432, 0.150825),
}


@pytest.mark.parametrize("folder", sorted(MODELS.iterdir()), ids=lambda folder: folder.name)
@pytest.mark.filterwarnings(f"ignore::{VersionWarning.__module__}.{VersionWarning.__qualname__}")
def test_a_model_predicts_as_when_it_was_written(folder: Path, tmp_path: Path) -> None:
    for name, color in COLORS.items():
        Image.new("RGB", (16, 16), color).save(tmp_path / f"{name}.png")
    model = veduta.load(folder, engine="torch")
    for name, expected in PROBABILITIES.items():
        (row,) = model.predict(tmp_path / f"{name}.png", top_k=3).to_dict("records")
        labels = [row["label"], row["label_2"], row["label_3"]]
        values = [row["probability"], row["probability_2"], row["probability_3"]]
        assert dict(zip(labels, values, strict=True)) == pytest.approx(
            dict(zip(("blue", "green", "red"), expected, strict=True)), abs=1e-4
        )
