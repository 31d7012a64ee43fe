"""Abstention of a model: which images, at which threshold, and errors."""

from dataclasses import replace
from pathlib import Path

import pytest

import veduta
from tests.support.runs import QUIET
from veduta.errors import InputError
from veduta.results.run import Model


@pytest.fixture
def model(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model of a short training."""
    out = tmp_path_factory.mktemp("predict") / "run"
    veduta.train(
        color_folder,
        out=out,
        image_size=32,
        epochs=3,
        lr=1e-2,
        engine="torch",
        seed=4,
        console=QUIET,
    )
    return veduta.load(out)


def test_model_abstains_below_the_threshold(model: Model, color_folder: Path) -> None:
    manifest = model._classifier.manifest
    bounds = manifest.error_bounds
    sufficient = replace(bounds[3], error_high=0.1, threshold=0.36)
    model._classifier.manifest = manifest.model_copy(
        update={"error_bounds": (*bounds[:3], sufficient), "temperature": 2.0}
    )
    table = model.predict(color_folder / "red", max_error=0.1)
    plain = model.predict(color_folder / "red")
    assert list(plain.columns) == ["path", "label", "probability"]
    assert list(table.columns) == [*plain.columns, "confidence", "abstained"]
    assert (table["probability"] == plain["probability"]).all()
    assert (table["confidence"] < table["probability"]).all()  # a temperature of 2 lowers it
    assert (table["abstained"] == (table["confidence"] < 0.36)).all()
    assert 0 < table["abstained"].sum() < 20


def test_a_maximum_error_that_no_threshold_keeps_is_an_error(
    model: Model, color_folder: Path
) -> None:
    with pytest.raises(InputError, match=r"no threshold .* at most 0\.1 %"):
        model.predict(color_folder / "red", max_error=0.001)
    with pytest.raises(InputError, match="between 0 and 1; got 2"):
        model.predict(color_folder / "red", max_error=2)
