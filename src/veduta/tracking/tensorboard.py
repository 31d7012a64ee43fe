"""TensorBoard: scalars and HParams of a trial in one and the same run, derived from the journal."""

import io
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veduta.config.fields import as_text
from veduta.runs.journal import Event

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.tensorboard import SummaryWriter

SCALARS = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    "val/loss": "val_loss",
    "val/accuracy": "val_accuracy",
    "lr": "lr_now",
    "gradient_norm": "gradient_norm",
}
QUEUE = 1000  # events: enough for a trial, since `add_scalar` waits for the disk where it is full
BEST = ("val_accuracy", "val_loss", "train_accuracy", "best_epoch")


def hyper_parameters(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The hyper-parameters of all trials, each with one type throughout and never None.

    The HParams table drops a column that is a number in one trial and missing in another.

    >>> hyper_parameters([{"lr": 0.1, "patience": None}, {"lr": 1, "patience": 3}])
    [{'lr': 0.1, 'patience': 'none'}, {'lr': 1.0, 'patience': '3'}]
    """
    numeric = {
        name
        for name in trials[0]
        if all(isinstance(t[name], (int, float)) and not isinstance(t[name], bool) for t in trials)
    }
    return [{n: float(v) if n in numeric else as_text(v) for n, v in t.items()} for t in trials]


def write_trial(folder: Path, parameters: Mapping[str, Any], events: Sequence[Event]) -> None:
    """Write one trial as one TensorBoard run: curves by epoch, and its row of the HParams table.

    What an earlier attempt wrote is replaced.

    Args:
        folder: where.
        parameters: of the trial, as `hyper_parameters` gives them.
        events: of the trial, in the order of the journal; it may be under way still.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    shutil.rmtree(folder, ignore_errors=True)
    finished = events[-1] if events[-1]["event"] == "trial finished" else {}
    best = {f"best/{name}": float(finished[name]) for name in BEST if name in finished}
    with SummaryWriter(str(folder), max_queue=QUEUE) as writer:
        for summary in hparams(dict(parameters), best):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        for event in (event for event in events if event["event"] == "epoch"):
            for layer, content in event.get("weights", {}).items():
                _add_histogram(writer, f"weights/{layer}", content, event)
            for tag, name in SCALARS.items():
                if name not in event:
                    continue
                writer.add_scalar(tag, event[name], event["epoch"], walltime=event["time"])
        for tag, value in best.items():
            writer.add_scalar(tag, value, finished["best_epoch"], walltime=finished["time"])


def _add_histogram(
    writer: "SummaryWriter", tag: str, content: Mapping[str, Any], event: Event
) -> None:
    """One histogram of an epoch; a bucket reaches up to its limit."""
    low, high, counts = content["low"], content["high"], content["counts"]
    width = (high - low if high > low else 1.0) / len(counts)
    writer.add_histogram_raw(
        tag,
        min=low,
        max=high,
        num=sum(counts),
        sum=content["total"],
        sum_squares=content["squares"],
        bucket_limits=[low + width * (place + 1) for place in range(len(counts))],
        bucket_counts=counts,
        global_step=event["epoch"],
        walltime=event["time"],
    )


def write_pictures(
    folder: Path,
    pictures: Mapping[str, NDArray[np.float32]],
    network: "nn.Module",
    example: "Tensor",
) -> str | None:
    """Add pictures, and the graph of a network, to the run of a trial that has ended.

    Args:
        folder: of the run.
        pictures: by tag, each several images, (n, H, W, 3) from 0 to 1.
        network: whose graph is drawn.
        example: what it takes.

    Returns:
        Why the graph could not be drawn; None where it was.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for tag, images in pictures.items():
            writer.add_images(tag, images, dataformats="NHWC")
        try:
            with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it prints faults
                warnings.simplefilter("ignore")  # of tracing: a size that is no number any more
                writer.add_graph(network, example)
        except RuntimeError as error:
            return " ".join(str(error).split())
    return None
