"""TensorBoard reads what is written: curves, HParams, histograms, pictures and graph of a trial."""

import errno
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.journals import make_epoch, make_trial_finished
from veduta.runs import events
from veduta.tracking.tensorboard import (
    has_curves,
    unify_hyperparameter_types,
    write_pictures,
    write_trial,
)
from veduta.training.loop import BUCKETS, Histogram, compute_histograms


def make_histograms(network: torch.nn.Module) -> dict[str, events.Histogram]:
    """Return the histograms of a network's weights as an epoch event has them."""
    histograms = compute_histograms(network)
    return {name: events.Histogram(**asdict(histogram)) for name, histogram in histograms.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curves_and_hparams_in_one_run(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    epochs = [make_epoch(epoch=n, time=100.0 + n, val_accuracy=n / 10) for n in (1, 2)]
    finished = make_trial_finished(val_accuracy=0.2, best_epoch=2, time=103.0)
    write_trial(tmp_path / "t1", {"lr": 1e-3, "hidden": "none"}, [*epochs, finished])

    assert [path.name for path in tmp_path.rglob("*") if path.is_dir()] == ["t1"]
    reader = EventAccumulator(str(tmp_path / "t1"))
    reader.Reload()
    curve = reader.Scalars("val/accuracy")
    assert [(point.step, round(point.value, 6), point.wall_time) for point in curve] == [
        (1, 0.1, 101.0),
        (2, 0.2, 102.0),
    ]
    assert [(p.step, p.wall_time) for p in reader.Scalars("best/val_accuracy")] == [(2, 103.0)]
    assert reader.Scalars("best/val_accuracy")[0].value == pytest.approx(0.2)
    content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["lr"].number_value == 1e-3
    assert start.hparams["hidden"].string_value == "none"


def test_a_column_has_one_type() -> None:
    unified = unify_hyperparameter_types(
        [{"a": True, "b": 1, "c": [2]}, {"a": False, "b": 2.5, "c": []}]
    )
    assert unified == [{"a": "true", "b": 1.0, "c": "2"}, {"a": "false", "b": 2.5, "c": "none"}]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_histograms_are_those_of_numpy(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    torch.manual_seed(0)
    layer = torch.nn.Linear(40, 30)
    weights = layer.weight.detach().double().numpy()
    epoch = make_epoch(gradient_norm=2.5, weight_histograms=make_histograms(layer))
    write_trial(tmp_path / "t1", {"lr": 0.1}, [epoch])
    reader = EventAccumulator(str(tmp_path / "t1"))
    reader.Reload()
    assert reader.Scalars("gradient_norm")[0].value == 2.5
    (histogram,) = reader.Histograms("weights/weight")
    value = histogram.histogram_value
    assert (histogram.step, value.num) == (1, weights.size)
    assert value.min == pytest.approx(weights.min())
    assert value.max == pytest.approx(weights.max())
    assert value.sum == pytest.approx(weights.sum(dtype=np.float64))
    assert value.sum_squares == pytest.approx(np.square(weights, dtype=np.float64).sum())
    counts, edges = np.histogram(weights, BUCKETS)
    assert value.bucket == counts.tolist()
    assert value.bucket_limit == pytest.approx(edges[1:])


@pytest.mark.parametrize("numbers", [[0.5], [3.0, 3.0, 3.0]])
def test_a_layer_of_one_value_has_a_histogram(numbers: list[float]) -> None:
    histogram = Histogram.from_tensor(torch.tensor(numbers))
    assert sum(histogram.counts) == len(numbers)
    assert histogram.low == histogram.high == numbers[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pictures_and_the_graph_are_added_to_the_run(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    kernels = np.random.default_rng(0).random((4, 5, 5, 3), np.float32)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    reason = write_pictures(tmp_path / "t1", {"kernels": kernels}, network, torch.ones(1, 3, 4))
    assert reason is None
    reader = EventAccumulator(str(tmp_path / "t1"))
    reader.Reload()
    (image,) = reader.Images("kernels")
    assert (image.width, image.height) == (4 * 5, 5)  # side by side
    assert "Linear" in str(reader.Graph())


@pytest.mark.parametrize("keep", [True, False])
def test_curves_are_replaced_and_pictures_stay_if_asked(tmp_path: Path, keep: bool) -> None:
    epochs = [make_epoch()]
    write_trial(tmp_path, {"lr": 0.1}, epochs)
    (curves,) = tmp_path.iterdir()
    write_pictures(tmp_path, {}, torch.nn.Linear(3, 2), torch.ones(1, 3))
    (pictures,) = set(tmp_path.iterdir()) - {curves}
    write_trial(tmp_path, {"lr": 0.1}, epochs, keep_pictures=keep)
    assert has_curves(tmp_path)
    assert not curves.exists()
    assert pictures.exists() == keep
    assert len([*tmp_path.iterdir()]) == 1 + keep


def test_a_graph_that_cannot_be_traced_is_reported_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Untraceable(torch.nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no graph\nof this")

    assert write_pictures(tmp_path, {}, Untraceable(), torch.ones(1, 3)) == "no graph of this"
    assert capsys.readouterr().out == ""  # a program may read standard output


@pytest.mark.parametrize("kind", ["spread", "constant"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_histograms_reach_from_the_smallest_weight_to_the_largest(
    tmp_path: Path, kind: str
) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    layer = torch.nn.Linear(8, 5)
    if kind == "constant":
        torch.nn.init.constant_(layer.weight, 0.25)
    epoch = make_epoch(weight_histograms=make_histograms(layer))
    write_trial(tmp_path / "t1", {"lr": 0.1}, [epoch])
    (path,) = (tmp_path / "t1").iterdir()
    values = (v for event in EventFileLoader(str(path)).Load() for v in event.summary.value)
    (buckets,) = (make_ndarray(v.tensor) for v in values if v.tag == "weights/weight")
    lefts, rights, counts = buckets.T
    assert (lefts[0], rights[-1]) == (layer.weight.min().item(), layer.weight.max().item())
    assert lefts[1:].tolist() == rights[:-1].tolist()
    assert counts.sum() == layer.weight.numel()


def test_a_full_disk_is_an_error_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def fail(_writer: RecordWriter, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", fail)
    hook = threading.excepthook
    with pytest.raises(OSError, match="No space left"):
        write_trial(tmp_path / "t1", {"lr": 1e-3}, [make_epoch(epoch=1), make_trial_finished()])
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook is hook
