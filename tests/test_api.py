"""The front door: its names, what they cost to import, and what they give back."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import veduta
import veduta.api
from tests.conftest import paint
from veduta.errors import InputError
from veduta.results.run import Run
from veduta.tracking.console import Console

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("api") / "run"
    return veduta.train(
        colours, out=out, image_size=32, epochs=4, lr=1e-2, engine="torch", console=QUIET
    )


def test_names_are_listed_sorted_and_there() -> None:
    assert veduta.__all__ == sorted(veduta.__all__)
    assert set(veduta.__all__) <= set(veduta.api.__all__)
    assert veduta.api.__all__ == sorted(veduta.api.__all__)
    for name in veduta.__all__:
        assert getattr(veduta, name) is getattr(veduta.api, name)
        assert getattr(veduta, name).__doc__
        assert name in dir(veduta)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = veduta.absent


def test_a_unit_of_the_same_name_does_not_hide_a_verb() -> None:
    script = (
        "import veduta, veduta.tuning.trials.space\nfrom veduta.models import registry\n"
        "assert callable(veduta.search) and callable(veduta.models), veduta.search\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_search_gives_tables(run: Run) -> None:
    assert isinstance(run.trials, pd.DataFrame)
    assert list(run.epochs["epoch"]) == [1, 2, 3, 4]
    assert run.summary["command"] == "train"
    assert str(run.directory.path) in repr(run)
    assert len(run.leaderboard()) == 1


def test_predict_takes_a_file_a_folder_or_a_list(run: Run, colours: Path) -> None:
    model = veduta.load(run.directory.path)
    one = model.predict(colours / "red" / "000.png")
    assert list(one.columns) == ["path", "label", "probability"]
    folder = model.predict(colours / "red", top_k=3)
    assert len(folder) == 20
    assert folder[["probability", "probability_2", "probability_3"]].sum(axis=1).to_numpy() == (
        pytest.approx(np.ones(20))
    )
    both = model.predict([str(colours / "red"), colours / "blue"])
    assert len(both) == 40
    assert "red" in repr(model)


def test_what_cannot_be_read_has_no_row(run: Run, colours: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"x")
    paths = [colours / "red" / "000.png", tmp_path / "broken.png", colours / "blue" / "001.png"]
    table = veduta.load(run.directory.path).predict(paths)
    assert list(table["path"]) == [str(paths[0]), str(paths[2])]
    assert [name for name, _, _ in table.attrs["rejected"]] == [str(paths[1])]


def test_evaluate_counts_by_class_and_by_opening(run: Run, tmp_path: Path) -> None:
    paint(tmp_path / "new", 10, seed=7)
    model = veduta.load(run.directory.path)
    found = model.evaluate(tmp_path / "new")
    assert found.accuracy.images == 30
    assert found.confusion.to_numpy().sum() == 30
    right = (found.predictions["truth"] == found.predictions["label"]).mean()
    assert found.accuracy.accuracy == pytest.approx(right)
    assert (found.seen, found.opened_before) == (0, 0)
    assert model.evaluate(tmp_path / "new").opened_before == 1
    assert "30 images" in repr(found)


def test_evaluate_says_what_was_trained_on(run: Run, colours: Path) -> None:
    splits = pd.read_csv(run.directory.splits)
    assert (
        veduta.load(run.directory.path).evaluate(colours).seen == (splits["split"] != "test").sum()
    )


def test_evaluate_takes_a_folder_with_one_of_the_classes(run: Run, tmp_path: Path) -> None:
    paint(tmp_path / "new", 3, seed=8)
    only = tmp_path / "only"
    only.mkdir()
    (tmp_path / "new" / "red").rename(only / "red")
    assert veduta.load(run.directory.path).evaluate(only).accuracy.images == 3


def test_evaluate_refuses_labels_the_model_does_not_know(run: Run, tmp_path: Path) -> None:
    paint(tmp_path / "new", 2, seed=9)
    (tmp_path / "new" / "red").rename(tmp_path / "new" / "pink")
    with pytest.raises(InputError, match=r"got 'pink'"):
        veduta.load(run.directory.path).evaluate(tmp_path / "new")


def test_top_k_has_limits(run: Run, colours: Path) -> None:
    with pytest.raises(InputError, match="from 1 to 3"):
        veduta.load(run.directory.path).predict(colours / "red", top_k=4)


def test_load_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finished model"):
        veduta.load(tmp_path)
    with pytest.raises(InputError, match=r"summary\.json"):
        Run(tmp_path)


def test_a_damaged_model_is_refused(run: Run, tmp_path: Path) -> None:
    for name in ("model.json", "model.safetensors"):
        (tmp_path / name).write_bytes((run.directory.model / name).read_bytes())
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="SHA-256"):
        veduta.load(tmp_path)


def test_models_and_cache_are_tables() -> None:
    assert "efficientnet_lite0" in set(veduta.models()["model"])
    assert {"pixels", "features"} <= set(veduta.cache()["kind"])


def test_the_cache_tells_views_apart(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDUTA_CACHE", str(tmp_path / "cache"))
    veduta.train(
        colours, out=tmp_path / "run", image_size=32, epochs=2, engine="torch", weights="none",
        views=2, augment="flip+crop", tta="flip", console=Console(quiet=True),
    )  # fmt: skip
    held = veduta.cache()
    told = [what.partition("f32")[2] for what in held.loc[held["kind"] == "features", "what"]]
    views = ["", ", mirror", ", view 0 by crop+flip", ", view 1 by crop+flip"]
    assert sorted(told) == views
