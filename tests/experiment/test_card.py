"""The model card: the Hub can read its front matter, and no class name is markup in it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import veduta
from tests.reporting.hostile import paint_hostile
from veduta.experiment import model_card as card
from veduta.results.run import Run
from veduta.runs.artifact import CARD
from veduta.tracking.console import Console


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("card")
    small: dict[str, Any] = {"image_size": 32, "epochs": 2, "engine": "torch"}
    return veduta.train(
        paint_hostile(folder / "data"), out=folder / "run", console=Console(quiet=True), **small
    )


def test_the_front_matter_says_what_the_run_found(run: Run) -> None:
    text = (run.directory.model / CARD).read_text(encoding="utf-8")
    empty, front, _ = text.split("---\n", 2)
    assert empty == ""
    found = yaml.safe_load(front)
    assert found["pipeline_tag"] == "image-classification"
    assert found["library_name"] == "veduta"
    (entry,) = found["model-index"]
    assert entry["name"] == run.summary["winner"]["trial"]
    values = {metric["type"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert set(values) == {"accuracy", "f1", "kappa"} == set(found["metrics"])
    assert values["accuracy"] == round(run.summary["test"]["accuracy"], 4)
    assert values["f1"] == round(run.summary["figures"]["macro_f1"]["value"], 4)


def test_it_tells_score_choice_and_limits(run: Run) -> None:
    text = (run.directory.model / CARD).read_text(encoding="utf-8")
    test = run.summary["test"]
    told = "{accuracy:.1%} (95% interval {low:.1%} to {high:.1%})".format(**test)
    assert f"**{told} of {test['images']} sealed test images are right.**" in text
    assert "by validation" in text
    assert "veduta.load(" in text
    assert "1 files were left out" in text
    assert "calibrated at temperature" in text


def test_names_are_no_markup(run: Run) -> None:
    text = (run.directory.model / CARD).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&#60;script&#62;" in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    names = [line for line in text.splitlines() if line.startswith("- \N{FIRST STRONG ISOLATE}")]
    assert len(names) >= len(run.summary["classes"])


def test_a_model_is_whole_whatever_is_written_on_its_card(run: Run, tmp_path: Path) -> None:
    card = run.directory.model / CARD
    before = card.read_text(encoding="utf-8")
    card.write_text("mine", encoding="utf-8")
    assert veduta.load(run.directory.path).classes == tuple(run.summary["classes"])
    card.write_text(before, encoding="utf-8")


def test_rich_output_is_escaped(run: Run) -> None:
    shown = run._repr_html_(), veduta.load(run.directory.path)._repr_html_()
    for html in shown:
        assert "<script" not in html
        assert "<table>" in html
    assert "&lt;script&gt;" in shown[1]
    assert "{:.1%}".format(run.summary["test"]["accuracy"]) in shown[0]


def test_a_figure_without_an_interval_says_so() -> None:
    figure = {"value": 1.0, "low": None, "high": None, "images": 4}
    (table,) = card._figures({"figures": {"roc_area": figure}})
    assert "| roc area | 1.000 | none: every draw of images gives the same |" in table
    assert not card._figures({"figures": None})
