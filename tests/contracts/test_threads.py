"""Several threads at once: the results of one thread, and global state as it was before.

The oracle is the same call in one thread. State that libraries keep once per process (warning
filters, Matplotlib's parameters, standard output) is compared before and after.
"""

import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from threading import Barrier, Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn

import veduta
from veduta.data.decode import calm
from veduta.features.openvino_engine import convert
from veduta.networks.backbones import Backbone
from veduta.reporting.figures.plots import open_panel, render_svg
from veduta.tracking.console import Console

PACKAGES = {distribution.name for distribution in distributions()}
needs_openvino = pytest.mark.skipif("openvino" not in PACKAGES, reason="openvino is not installed")
OPENVINO = pytest.param("openvino", marks=needs_openvino)
ENGINES = pytest.mark.parametrize("engine", ["torch", OPENVINO])

THREADS, PREDICTIONS = 8, 500  # predictions of each thread
LOADING, LOADS = 4, 16
OVERLAP = 0.5  # seconds that a thread waits for another one, which a lock may keep out
TINY: dict[str, Any] = {
    "model": "cnn",
    "channels": (4, 8),
    "image_size": 16,
    "epochs": 2,
    "batch_size": 16,
    "augment": "none",
}


def train(data: Path, out: Path, engine: str) -> Path:
    return veduta.train(
        data, out=out, engine=engine, console=Console(quiet=True), **TINY
    ).directory.path


@pytest.fixture(scope="module")
def run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, trained alone."""
    return train(colours, tmp_path_factory.mktemp("threads") / "run", "auto")


@pytest.fixture(scope="module")
def files(colours: Path) -> list[Path]:
    return sorted(colours.rglob("*.png"))


@ENGINES
def test_eight_threads_predict_as_one_does(run: Path, files: list[Path], engine: str) -> None:
    model = veduta.load(run, engine=cast("Any", engine))
    answers = [model.predict(file, top_k=3) for file in files]
    start = Barrier(THREADS)

    def predict(thread: int) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        start.wait()
        for number in range(PREDICTIONS):
            place = (7 * thread + number) % len(files)
            try:
                pd.testing.assert_frame_equal(
                    model.predict(files[place], top_k=3), answers[place], check_exact=True
                )
            except Exception as error:  # noqa: BLE001 - every kind is counted
                outcomes[f"{type(error).__name__}: {error}"[:60]] += 1
            else:
                outcomes["same"] += 1
        return outcomes

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = sum(pool.map(predict, range(THREADS)), Counter())
    assert outcomes == {"same": THREADS * PREDICTIONS}


@ENGINES
def test_models_load_in_several_threads(run: Path, files: list[Path], engine: str) -> None:
    answers = veduta.load(run, engine=cast("Any", engine)).predict(files, top_k=3)
    start = Barrier(LOADING)

    def load(number: int) -> pd.DataFrame:
        if number < LOADING:
            start.wait()
        return veduta.load(run, engine=cast("Any", engine)).predict(files, top_k=3)

    with ThreadPoolExecutor(LOADING) as pool:
        for found in pool.map(load, range(LOADS)):
            pd.testing.assert_frame_equal(found, answers, check_exact=True)


@ENGINES
def test_two_threads_train_as_one_does(
    colours: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(train(colours, tmp_path / "alone", engine))
    start, output, filters = Barrier(2), sys.stdout, list(warnings.filters)
    parameters = dict(mpl.rcParams)

    def work(name: str) -> Path:
        start.wait()
        return train(colours, tmp_path / name, engine)

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(work, ("first", "second")))
    for run in runs:
        assert (run / "summary.json").is_file()
        assert (run / "report.html").is_file()
        found = contents(run)
        assert found.keys() == expected.keys()
        assert not [name for name in expected if found[name] != expected[name]]
    assert sys.stdout is output
    assert list(warnings.filters) == filters
    assert dict(mpl.rcParams) == parameters


def contents(run: Path) -> dict[str, Any]:
    """Weights, scores and pictures of a run: what does not say where and when it was made."""
    weights = {"weights": (run / "model" / "model.safetensors").read_bytes()}
    pictures = {path.name: path.read_bytes() for path in run.glob("media/*.png")}
    scores = {
        f"{path.name}/{name}": array.tobytes()
        for path in sorted(run.glob("scores/*.npz"))
        for name, array in np.load(path).items()
    }
    return weights | pictures | scores


class Waiting(nn.Module):
    """Waits when it first runs; the mean color of an image."""

    preprocessing = SimpleNamespace(image_size=8)

    def __init__(self) -> None:
        super().__init__()
        self.running, self.go_on = Event(), Event()

    def forward(self, pixels: Tensor) -> Tensor:
        self.running.set()
        assert self.go_on.wait(60)
        return pixels.float().mean((1, 2))


@needs_openvino
def test_decoding_during_a_conversion_leaves_the_warning_filters() -> None:
    filters = list(warnings.filters)
    network = Waiting()
    with ThreadPoolExecutor(1) as pool:
        with calm():
            converted = pool.submit(convert, cast("Backbone", network))
            assert network.running.wait(60)
        network.go_on.set()
        converted.result()
    assert list(warnings.filters) == filters


def test_two_threads_draw_as_one_does() -> None:
    before = dict(mpl.rcParams)
    expected = draw()
    inside, first_left = Event(), Event()
    drawn: list[str] = []

    def second() -> None:
        with open_panel() as (figure, _):
            inside.set()
            first_left.wait(OVERLAP)
            figure.add_subplot()
        drawn.append(render_svg(figure, name="x", title="x"))

    thread = Thread(target=second)
    with open_panel() as (figure, _):
        thread.start()
        inside.wait(OVERLAP)
        figure.add_subplot()
    first_left.set()
    thread.join()
    drawn.append(render_svg(figure, name="x", title="x"))
    assert drawn == [expected, expected]
    assert dict(mpl.rcParams) == before


def draw() -> str:
    with open_panel() as (figure, _):
        figure.add_subplot()
    return render_svg(figure, name="x", title="x")
