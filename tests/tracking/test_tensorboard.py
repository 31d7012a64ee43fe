"""TensorBoard reads what we write: curves and HParams of a trial, in one and the same run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from veduta.tracking.tensorboard import hyper_parameters, write_pictures, write_trial
from veduta.training.loop import BUCKETS, Histogram, histograms

EPOCH = {
    "event": "epoch", "train_loss": 0.5, "train_accuracy": 0.9, "val_loss": 0.6,
    "val_accuracy": 0.8, "lr_now": 1e-3,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curves_and_hparams_in_one_run(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    epochs = [{**EPOCH, "epoch": n, "time": 100.0 + n, "val_accuracy": n / 10} for n in (1, 2)]
    finished = {"event": "trial finished", "time": 103.0}
    finished |= {"val_accuracy": 0.2, "val_loss": 0.6, "best_epoch": 2}
    write_trial(tmp_path / "t1", {"lr": 1e-3, "hidden": "none"}, [*epochs, finished])

    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["t1"]
    reader = EventAccumulator(str(tmp_path / "t1"))
    reader.Reload()
    curve = reader.Scalars("val/accuracy")
    assert [(point.step, round(point.value, 6), point.wall_time) for point in curve] == [
        (1, 0.1, 101.0),
        (2, 0.2, 102.0),
    ]
    assert reader.Scalars("best/val_accuracy")[0].value == pytest.approx(0.2)
    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["lr"].number_value == 1e-3
    assert start.hparams["hidden"].string_value == "none"


def test_a_column_has_one_type() -> None:
    found = hyper_parameters([{"a": True, "b": 1, "c": [2]}, {"a": False, "b": 2.5, "c": []}])
    assert found == [{"a": "true", "b": 1.0, "c": "2"}, {"a": "false", "b": 2.5, "c": "none"}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_histograms_are_those_that_tensorboard_makes_of_the_weights(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    torch.manual_seed(0)
    layer = torch.nn.Linear(40, 30)
    weights = layer.weight.detach().double().numpy()
    epoch = {**EPOCH, "epoch": 1, "time": 100.0, "gradient_norm": 2.5}
    write_trial(tmp_path / "t1", {"lr": 0.1}, [{**epoch, "weights": histograms(layer)}])
    reader = EventAccumulator(str(tmp_path / "t1"))
    reader.Reload()
    assert reader.Scalars("gradient_norm")[0].value == 2.5
    (found,) = reader.Histograms("weights/weight")
    value = found.histogram_value
    assert (found.step, value.num) == (1, weights.size)
    assert value.min == pytest.approx(weights.min())
    assert value.max == pytest.approx(weights.max())
    assert value.sum == pytest.approx(weights.sum(dtype=np.float64))
    assert value.sum_squares == pytest.approx(np.square(weights, dtype=np.float64).sum())
    counts, edges = np.histogram(weights, BUCKETS)
    assert value.bucket == counts.tolist()
    assert value.bucket_limit == pytest.approx(edges[1:])


@pytest.mark.parametrize("numbers", [[0.5], [3.0, 3.0, 3.0]])
def test_a_layer_of_one_value_has_a_histogram(numbers: list[float]) -> None:
    found = Histogram.of(torch.tensor(numbers))
    assert sum(found.counts) == len(numbers)
    assert found.low == found.high == numbers[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pictures_and_the_graph_join_the_run(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kernels = np.random.default_rng(0).random((4, 5, 5, 3), np.float32)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    fault = write_pictures(tmp_path / "t1", {"kernels": kernels}, network, torch.ones(1, 3, 4))
    assert fault is None
    reader = EventAccumulator(str(tmp_path / "t1"))
    reader.Reload()
    (image,) = reader.Images("kernels")
    assert (image.width, image.height) == (4 * 5, 5)  # one beside the other
    assert "Linear" in str(reader.Graph())


def test_a_graph_that_cannot_be_drawn_is_told_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Untraceable(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no graph\nof this")

    assert write_pictures(tmp_path, {}, Untraceable(), torch.ones(1, 3)) == "no graph of this"
    assert capsys.readouterr().out == ""  # standard output may be for a machine


@pytest.mark.parametrize("kind", ["spread", "constant"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_tensorboard_draws_reaches_from_the_least_weight_to_the_largest(
    tmp_path: Path, kind: str
) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    layer = torch.nn.Linear(8, 5)
    if kind == "constant":
        torch.nn.init.constant_(layer.weight, 0.25)
    epoch = {**EPOCH, "epoch": 1, "time": 100.0, "weights": histograms(layer)}
    write_trial(tmp_path / "t1", {"lr": 0.1}, [epoch])
    (path,) = (tmp_path / "t1").iterdir()
    values = (v for event in EventFileLoader(str(path)).Load() for v in event.summary.value)
    (drawn,) = (make_ndarray(v.tensor) for v in values if v.tag == "weights/weight")
    lefts, rights, counts = drawn.T
    assert (lefts[0], rights[-1]) == (layer.weight.min().item(), layer.weight.max().item())
    assert lefts[1:].tolist() == rights[:-1].tolist()
    assert counts.sum() == layer.weight.numel()
