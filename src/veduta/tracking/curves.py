"""A trial as TensorBoard reads it: the one file of its curves and its row of the HParams table.

The file is a function of the trial's events in the journal, byte for byte and name and all, times
too: so it can be made again, and compared with one that is there.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from veduta.runs.lines import Event

SCALARS = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    "val/loss": "val_loss",
    "val/accuracy": "val_accuracy",
    "lr": "lr_now",
    "gradient_norm": "gradient_norm",
}
BEST = ("val_accuracy", "val_loss", "train_accuracy", "best_epoch")


def name_of(events: Sequence[Event]) -> str:
    """The name of a trial's file; one with more events sorts behind, as TensorBoard reads them."""
    return f"events.out.tfevents.{int(_times(events)[-1]):010}.{len(events):06}"


def curves_of(parameters: Mapping[str, Any], events: Sequence[Event]) -> bytes:
    """The content of a trial's file. Arguments as for `write_trial`."""
    from tensorboard.compat.proto.event_pb2 import Event as Written
    from tensorboard.summary.writer.record_writer import RecordWriter

    content, start = io.BytesIO(), _times(events)[0]
    record = RecordWriter(content)
    record.write(Written(wall_time=start, file_version="brain.Event:2").SerializeToString())
    for summary, step, time in _summaries(parameters, events, start):
        written = Written(wall_time=time, step=step, summary=summary)
        record.write(written.SerializeToString(deterministic=True))
    return content.getvalue()


def _times(events: Sequence[Event]) -> list[float]:
    return [event["time"] for event in events if "time" in event]


def _summaries(
    parameters: Mapping[str, Any], events: Sequence[Event], start: float
) -> Iterator[tuple[Any, int, float]]:
    """What TensorBoard shows of a trial: each with its step and its time."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    finished = events[-1] if events[-1]["event"] == "trial finished" else {}
    best = {f"best/{name}": float(finished[name]) for name in BEST if name in finished}
    for summary in _row(parameters, best):
        yield summary, 0, start
    for event in (event for event in events if event["event"] == "epoch"):
        values = [
            Summary.Value(tag=f"weights/{layer}", histo=_histogram(content))
            for layer, content in event.get("weights", {}).items()
        ]
        values += [
            Summary.Value(tag=tag, simple_value=event[name])
            for tag, name in SCALARS.items()
            if name in event
        ]
        for value in values:
            yield Summary(value=[value]), event["epoch"], event["time"]
    for tag, number in best.items():
        value = Summary.Value(tag=tag, simple_value=number)
        yield Summary(value=[value]), finished["best_epoch"], finished["time"]


def _row(parameters: Mapping[str, Any], best: Mapping[str, float]) -> Iterator[Any]:
    """A trial's row of the HParams table, in an order that does not change."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard.summary import hparams

    for summary in hparams(dict(parameters), dict(best)):  # type: ignore[no-untyped-call]
        data = summary.value[0].metadata.plugin_data
        ordered = HParamsPluginData.FromString(data.content)
        data.content = ordered.SerializeToString(deterministic=True)
        yield summary


def _histogram(content: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of a library without types
    """One histogram of an epoch; a bucket reaches up to its limit."""
    from tensorboard.compat.proto.histogram_pb2 import HistogramProto

    low, high, counts = content["low"], content["high"], content["counts"]
    width = (high - low if high > low else 1.0) / len(counts)
    return HistogramProto(
        min=low,
        max=high,
        num=sum(counts),
        sum=content["total"],
        sum_squares=content["squares"],
        bucket_limit=[low + width * (place + 1) for place in range(len(counts))],
        bucket=counts,
    )
