"""The model card: the Hub can read its front matter, and class names are not markup in it."""

from typing import Any

import pytest
import yaml

import veduta
from tests.support.hostile_names import write_hostile_images
from tests.support.runs import QUIET
from veduta.experiment.model_card import format_metrics
from veduta.results.run import Run
from veduta.runs.artifact import CARD
from veduta.runs.summary import Estimate


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished training with hostile class names. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("card")
    small: dict[str, Any] = {"image_size": 32, "epochs": 2, "engine": "torch"}
    data = write_hostile_images(folder / "data")
    return veduta.train(data, out=folder / "run", console=QUIET, **small)


def read_card(run: Run) -> str:
    return (run.directory.model / CARD).read_text(encoding="utf-8")


def test_the_front_matter_has_the_metrics_of_the_run(run: Run) -> None:
    empty, front_matter, _ = read_card(run).split("---\n", 2)
    assert empty == ""
    content = yaml.safe_load(front_matter)
    assert content["pipeline_tag"] == "image-classification"
    assert content["library_name"] == "veduta"
    (entry,) = content["model-index"]
    assert entry["name"] == run.summary.winner.trial
    values = {metric["type"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert set(values) == {"accuracy", "f1", "kappa"} == set(content["metrics"])
    accuracy, metrics = run.summary.test.accuracy.value, run.summary.metrics
    assert accuracy is not None
    assert metrics is not None
    assert values["accuracy"] == round(accuracy, 4)
    assert values["f1"] == round(metrics["macro_f1"].value or 0, 4)


def test_the_card_contains_accuracy_selection_and_limits(run: Run) -> None:
    text, accuracy = read_card(run), run.summary.test.accuracy
    interval = f"{accuracy.low:.1%} to {accuracy.high:.1%}"
    assert f"{accuracy.value:.1%} (95 % interval {interval})" in text
    assert f"{accuracy.images} held-out test images" in text
    assert "validation accuracy" in text
    assert "veduta.load(" in text
    assert "1 files were left out" in text
    assert "calibrated at temperature" in text


def test_names_are_not_markup(run: Run) -> None:
    text = read_card(run)
    assert "<script" not in text
    assert "&#60;script&#62;" in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    names = [line for line in text.splitlines() if line.startswith("- \N{FIRST STRONG ISOLATE}")]
    assert len(names) >= len(run.summary.data.classes)


def test_a_model_loads_whatever_its_card_contains(run: Run) -> None:
    card, before = run.directory.model / CARD, read_card(run)
    card.write_text("mine", encoding="utf-8")
    assert veduta.load(run.directory.path).classes == run.summary.data.classes
    card.write_text(before, encoding="utf-8")


def test_html_in_notebooks_is_escaped(run: Run) -> None:
    pages = run._repr_html_(), veduta.load(run.directory.path)._repr_html_()
    for html in pages:
        assert "<script" not in html
        assert "<table>" in html
    assert "&lt;script&gt;" in pages[1]
    assert f"{run.summary.test.accuracy.value:.1%}" in pages[0]


def test_a_metric_without_interval_says_so() -> None:
    table = format_metrics({"roc_area": Estimate(value=1.0, images=4)})
    assert "| roc area | 1.000 | none: every bootstrap sample gives the same value |" in table
