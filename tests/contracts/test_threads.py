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
from veduta.data.decode import filter_pillow_warnings
from veduta.features.openvino_engine import convert_to_graph
from veduta.networks.backbones import Backbone
from veduta.reporting.figures.plots import open_panel, render_svg
from veduta.tracking.console import Console

PACKAGES = {distribution.name for distribution in distributions()}
needs_openvino = pytest.mark.skipif("openvino" not in PACKAGES, reason="openvino is not installed")
OPENVINO = pytest.param("openvino", marks=needs_openvino)
ENGINES = pytest.mark.parametrize("engine", ["torch", OPENVINO])

THREADS, PREDICTIONS = 8, 500  # predictions per thread
LOADING_THREADS, LOADS = 4, 16
OVERLAP = 0.5  # seconds that a thread waits for another one that a lock may block
SETTINGS: dict[str, Any] = {
    "model": "cnn",
    "channels": (4, 8),
    "image_size": 16,
    "epochs": 2,
    "batch_size": 16,
    "augment": "none",
}


def train(data: Path, out: Path, engine: str) -> Path:
    """Train a tiny network, and return the run directory."""
    return veduta.train(
        data, out=out, engine=engine, console=Console(quiet=True), **SETTINGS
    ).directory.path


@pytest.fixture(scope="module")
def run(color_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained in one thread."""
    return train(color_folder, tmp_path_factory.mktemp("threads") / "run", "auto")


@pytest.fixture(scope="module")
def files(color_folder: Path) -> list[Path]:
    """All images."""
    return sorted(color_folder.rglob("*.png"))


@ENGINES
def test_predictions_of_eight_threads_equal_those_of_one(
    run: Path, files: list[Path], engine: str
) -> None:
    model = veduta.load(run, engine=cast("Any", engine))
    expected = [model.predict(file, top_k=3) for file in files]
    start = Barrier(THREADS)

    def predict(thread: int) -> Counter[str]:
        outcomes: Counter[str] = Counter()
        start.wait()
        for number in range(PREDICTIONS):
            index = (7 * thread + number) % len(files)
            try:
                pd.testing.assert_frame_equal(
                    model.predict(files[index], top_k=3), expected[index], check_exact=True
                )
            except Exception as error:  # noqa: BLE001 - errors of every type are counted
                outcomes[f"{type(error).__name__}: {error}"[:60]] += 1
            else:
                outcomes["equal"] += 1
        return outcomes

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = sum(pool.map(predict, range(THREADS)), Counter())
    assert outcomes == {"equal": THREADS * PREDICTIONS}


@ENGINES
def test_models_load_in_several_threads(run: Path, files: list[Path], engine: str) -> None:
    expected = veduta.load(run, engine=cast("Any", engine)).predict(files, top_k=3)
    start = Barrier(LOADING_THREADS)

    def load(number: int) -> pd.DataFrame:
        if number < LOADING_THREADS:
            start.wait()
        return veduta.load(run, engine=cast("Any", engine)).predict(files, top_k=3)

    with ThreadPoolExecutor(LOADING_THREADS) as pool:
        for predictions in pool.map(load, range(LOADS)):
            pd.testing.assert_frame_equal(predictions, expected, check_exact=True)


@ENGINES
def test_runs_of_two_threads_equal_that_of_one(
    color_folder: Path, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read_results(train(color_folder, tmp_path / "alone", engine))
    start, output, filters = Barrier(2), sys.stdout, list(warnings.filters)
    parameters = dict(mpl.rcParams)

    def train_in_thread(name: str) -> Path:
        start.wait()
        return train(color_folder, tmp_path / name, engine)

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(train_in_thread, ("first", "second")))
    for run in runs:
        assert (run / "summary.json").is_file()
        assert (run / "report.html").is_file()
        results = read_results(run)
        assert results.keys() == expected.keys()
        assert not [name for name in expected if results[name] != expected[name]]
    assert sys.stdout is output
    assert list(warnings.filters) == filters
    assert dict(mpl.rcParams) == parameters


def read_results(run: Path) -> dict[str, bytes]:
    """Return weights, scores and pictures of a run, which contain neither paths nor times."""
    weights = {"weights": (run / "model" / "model.safetensors").read_bytes()}
    pictures = {path.name: path.read_bytes() for path in run.glob("media/*.png")}
    scores = {
        f"{path.name}/{name}": array.tobytes()
        for path in sorted(run.glob("scores/*.npz"))
        for name, array in np.load(path).items()
    }
    return weights | pictures | scores


class WaitingNetwork(nn.Module):
    """Computes the mean color of an image; waits for `resume` before it does."""

    preprocessing = SimpleNamespace(image_size=8)

    def __init__(self) -> None:
        super().__init__()
        self.running, self.resume = Event(), Event()

    def forward(self, pixels: Tensor) -> Tensor:
        self.running.set()
        assert self.resume.wait(60)
        return pixels.float().mean((1, 2))


@needs_openvino
def test_decoding_during_a_conversion_leaves_the_warning_filters() -> None:
    filters = list(warnings.filters)
    network = WaitingNetwork()
    with ThreadPoolExecutor(1) as pool:
        with filter_pillow_warnings():
            converted = pool.submit(convert_to_graph, cast("Backbone", network))
            assert network.running.wait(60)
        network.resume.set()
        converted.result()
    assert list(warnings.filters) == filters


def test_figures_of_two_threads_equal_those_of_one() -> None:
    before = dict(mpl.rcParams)
    expected = draw_figure()
    second_drawing, first_finished = Event(), Event()
    figures: list[str] = []

    def draw_second() -> None:
        with open_panel() as (figure, _):
            second_drawing.set()
            first_finished.wait(OVERLAP)
            figure.add_subplot()
        figures.append(render_svg(figure, name="x", title="x"))

    thread = Thread(target=draw_second)
    with open_panel() as (figure, _):
        thread.start()
        second_drawing.wait(OVERLAP)
        figure.add_subplot()
    first_finished.set()
    thread.join()
    figures.append(render_svg(figure, name="x", title="x"))
    assert figures == [expected, expected]
    assert dict(mpl.rcParams) == before


def draw_figure() -> str:
    """Draw an empty figure as SVG."""
    with open_panel() as (figure, _):
        figure.add_subplot()
    return render_svg(figure, name="x", title="x")
