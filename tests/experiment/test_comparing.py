"""Two runs on the same images, against counting by hand; and refusals that say the difference."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import veduta
from tests.experiment.test_run import search
from veduta.cli.main import app
from veduta.errors import InputError
from veduta.metrics.comparison import compute_mcnemar_p_value
from veduta.results.run import Run


@pytest.fixture(scope="module")
def runs(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("runs")
    few = search(colours, folder / "few", {"lr": [1e-5]}, epochs=1)
    return few, search(colours, folder / "more", {"lr": [1e-2]})


def test_against_counting(runs: tuple[Run, Run], tmp_path: Path) -> None:
    first, second = (run.directory.path for run in runs)
    found = veduta.compare(first, second, out=tmp_path / "out")
    one, other = (np.load(run.directory.test) for run in runs)
    hits = [kept["logits"].argmax(1) == kept["truth"] for kept in (one, other)]
    assert found.counts["only_first"] == (hits[0] & ~hits[1]).sum()
    assert found.counts["both_wrong"] == (~hits[0] & ~hits[1]).sum()
    assert sum(found.counts.values()) == 12
    assert found.p_value == compute_mcnemar_p_value(*hits)
    difference = found.differences["accuracy"]
    assert difference.value == pytest.approx(hits[1].mean() - hits[0].mean())
    assert difference.low <= difference.value <= difference.high
    changed = pd.read_csv(tmp_path / "out" / "changed.csv")
    assert set(changed["path"]) == set(one["paths"][hits[0] != hits[1]])
    gained = changed[changed["change"] == "gained"]
    assert (gained["second"] == gained["truth"]).all()
    assert (gained["first"] != gained["truth"]).all()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == found.summary


def test_a_run_does_not_differ_from_itself(runs: tuple[Run, Run]) -> None:
    path = runs[1].directory.path
    found = veduta.compare(path, path)
    assert found.p_value == 1
    assert found.changed.empty
    assert found.directory is None
    assert found.differences["macro_f1"].value == 0


def test_other_images_are_refused_with_the_difference(
    runs: tuple[Run, Run], colours: Path, tmp_path: Path
) -> None:
    other = search(colours, tmp_path / "other", {"lr": [1e-2]}, epochs=1, seed=1)
    with pytest.raises(InputError, match=r"the same test images; of 12 and 12 .* in the first alo"):
        veduta.compare(runs[0].directory.path, other.directory.path)


def test_the_command_prints_and_gives_json(runs: tuple[Run, Run]) -> None:
    paths = [str(run.directory.path) for run in runs]
    result = CliRunner().invoke(app, ["compare", *paths, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["command"] == "compare"
    assert "McNemar" in result.stderr
    assert "second - first" in result.stderr
