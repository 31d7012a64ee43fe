"""TensorBoard reads what we write: curves and HParams of a trial, in one and the same run."""

from pathlib import Path

import pytest

from veduta.tracking.tensorboard import hyper_parameters, write_trial

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
