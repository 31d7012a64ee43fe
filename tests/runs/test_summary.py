"""Summaries: each command's file reads back as its own class, and damage is explained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.journals import make_summary
from veduta.errors import InputError
from veduta.runs.summary import (
    Agreement,
    AnySummary,
    ComparedRun,
    ComparisonSummary,
    Durations,
    Estimate,
    ExplanationSummary,
    PredictionSummary,
    RangeTestSummary,
    SuggestedRates,
    Winner,
    read_run_summary,
    read_summary,
    write_summary,
)

ESTIMATE = Estimate(value=0.1 + 0.2, low=0.1, high=1 / 3, images=7)
COMPARED = ComparedRun(run="a", accuracy=ESTIMATE, macro_f1=Estimate(images=7))
EXAMPLES: list[AnySummary] = [
    make_summary(),
    PredictionSummary(run="a", images=2, rejected_files=0, labels={"caf\udce9": 2}),
    ComparisonSummary(
        runs=(COMPARED, COMPARED),
        differences={"accuracy": ESTIMATE},
        mcnemar_p_value=0.5,
        images=Agreement(both_correct=1, only_first_correct=2, only_second_correct=3, both_wrong=4),
    ),
    ExplanationSummary(run="a", method="gradcam", images=1, rejected_files=0),
    RangeTestSummary(
        suggestion=SuggestedRates(steepest=1e-3, tenth_of_minimum=1e-4), steps=3, images=4
    ),
]


@pytest.mark.parametrize("summary", EXAMPLES, ids=lambda summary: summary.command)
def test_a_summary_reads_back(tmp_path: Path, summary: AnySummary) -> None:
    path = tmp_path / "summary.json"
    write_summary(path, summary)
    assert read_summary(path) == summary
    content = json.loads(path.read_text())
    assert list(content)[:2] == ["format", "command"]
    write_summary(path, read_summary(path))
    assert json.loads(path.read_text()) == content


def test_only_a_run_has_the_summary_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_summary(path, EXAMPLES[0])
    assert read_run_summary(path) == EXAMPLES[0]
    write_summary(path, EXAMPLES[1])
    with pytest.raises(InputError, match=f"{tmp_path}.*veduta predict"):
        read_run_summary(path)


DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "no JSON": (lambda text: text[:-5], ""),
    "another command": (lambda text: text.replace('"search"', '"sing"', 1), "sing"),
    "an unknown key": (lambda text: text.replace('"folds"', '"faults"'), "faults"),
    "a missing key": (lambda text: text.replace('"strict": false,', ""), "strict"),
    "a newer format": (lambda text: text.replace('"format": 1', '"format": 2'), "format"),
    "text for a number": (lambda text: text.replace('"trial_count": 2', '"trial_count": "x"'), ""),
    "deep": (lambda _: "[" * 100_000, ""),
}


@pytest.mark.parametrize(("damage", "named"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_summary_is_refused_in_one_line(
    tmp_path: Path, damage: Callable[[str], str], named: str
) -> None:
    path = tmp_path / "summary.json"
    write_summary(path, make_summary())
    assert damage(path.read_text()) != path.read_text()
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError) as caught:
        read_summary(path)
    message = str(caught.value)
    assert str(path) in message
    assert named in message
    assert "rebuild" in message
    assert "\n" not in message


def test_a_missing_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_summary(tmp_path / "summary.json")


def test_derived_properties() -> None:
    assert ESTIMATE.measured
    assert not Estimate(images=0).measured
    winner = make_summary().winner
    assert not winner.trains_backbone
    for freeze in ("none", 3):
        changed = winner.model_copy(update={"hyperparameters": {"freeze": freeze}})
        assert isinstance(changed, Winner)
        assert changed.trains_backbone
    assert Durations.rounded(pixels=1.23456, features=0, training=2, total=3).pixels == 1.235
