"""Comparison of two runs: counts against the scores on disk, and errors."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import veduta
from tests.support.runs import run_small_search
from veduta.cli.main import app
from veduta.errors import InputError
from veduta.metrics.comparison import compute_mcnemar_p_value
from veduta.results.run import Run
from veduta.runs.scores import load_test_scores
from veduta.runs.summary import read_summary


@pytest.fixture(scope="module")
def runs(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """A run that hardly trains, and a better one."""
    folder = tmp_path_factory.mktemp("runs")
    short = run_small_search(color_folder, folder / "short", {"lr": [1e-5]}, epochs=1)
    return short, run_small_search(color_folder, folder / "long", {"lr": [1e-2]})


def test_comparison_equals_counting(runs: tuple[Run, Run], tmp_path: Path) -> None:
    comparison = veduta.compare(*(run.directory.path for run in runs), out=tmp_path / "out")
    scores = [load_test_scores(run.directory.test_scores) for run in runs]
    first, second = (one.correct for one in scores)
    agreement = comparison.agreement
    assert agreement.both_correct == (first & second).sum()
    assert agreement.only_first_correct == (first & ~second).sum()
    assert agreement.only_second_correct == (~first & second).sum()
    assert agreement.both_wrong == (~first & ~second).sum()
    assert len(first) == 12
    assert comparison.p_value == compute_mcnemar_p_value(first, second)
    difference = comparison.differences["accuracy"]
    assert difference.value == pytest.approx(second.mean() - first.mean())
    assert difference.low <= difference.value <= difference.high
    changed = pd.read_csv(tmp_path / "out" / "changed.csv")
    pairs = zip(scores[0].paths, first != second, strict=True)
    assert set(changed["path"]) == {path for path, differs in pairs if differs}
    gained = changed[changed["change"] == "gained"]
    assert (gained["second"] == gained["y_true"]).all()
    assert (gained["first"] != gained["y_true"]).all()
    assert read_summary(tmp_path / "out" / "summary.json") == comparison.summary


def test_a_run_does_not_differ_from_itself(runs: tuple[Run, Run]) -> None:
    path = runs[1].directory.path
    comparison = veduta.compare(path, path)
    assert comparison.p_value == 1
    assert comparison.changed.empty
    assert comparison.directory is None
    assert comparison.differences["macro_f1"].value == 0
    assert "not differ significantly" in comparison.conclusion


def test_other_test_images_are_an_error(
    runs: tuple[Run, Run], color_folder: Path, tmp_path: Path
) -> None:
    other = run_small_search(color_folder, tmp_path / "other", {"lr": [1e-2]}, epochs=1, seed=1)
    with pytest.raises(InputError, match=r"12 and 12 .* in the first alone"):
        veduta.compare(runs[0].directory.path, other.directory.path)


def test_command_prints_the_comparison_and_json(runs: tuple[Run, Run]) -> None:
    paths = [str(run.directory.path) for run in runs]
    result = CliRunner().invoke(app, ["compare", *paths, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["command"] == "compare"
    assert "McNemar" in result.stderr
    assert "second - first" in result.stderr
