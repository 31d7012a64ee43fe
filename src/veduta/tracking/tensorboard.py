"""TensorBoard: one run a trial, with its curves, its row of the HParams table, and pictures."""

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veduta.config.settings import as_text
from veduta.data.decode import calm
from veduta.runs.journal import Event
from veduta.runtime.process import TRACING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.tensorboard import SummaryWriter

PICTURES = ".pictures"
"""How the file of pictures ends, which are made from the images, not from the journal."""

SCALARS = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    "val/loss": "val_loss",
    "val/accuracy": "val_accuracy",
    "lr": "lr_now",
    "gradient_norm": "gradient_norm",
}
"""By tag: the figure of an epoch."""

BEST = ("val_accuracy", "val_loss", "train_accuracy", "best_epoch")
"""Figures of a finished trial that its row of the HParams table shows."""


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


def write_trial(
    folder: Path,
    parameters: Mapping[str, Any],
    events: Sequence[Event],
    *,
    keep_pictures: bool = False,
) -> None:
    """Write one trial as one TensorBoard run: curves by epoch, and its row of the HParams table.

    What an earlier attempt wrote is replaced.

    Args:
        folder: Directory of the TensorBoard run.
        parameters: Hyper-parameters of the trial, as `hyper_parameters` gives them.
        events: Events of the trial, in the order of the journal; it may still be running.
        keep_pictures: Whether only curves are replaced.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    earlier = _curve_files(folder) if keep_pictures else [*filter(Path.is_file, folder.glob("*"))]
    finished = events[-1] if events[-1]["event"] == "trial finished" else {}
    best = {f"best/{name}": float(finished[name]) for name in BEST if name in finished}
    # with the default queue of 10, every event waits for the thread that writes
    with SummaryWriter(str(folder), max_queue=1000) as writer:
        # add_hparams would write a run of its own
        for summary in hparams(dict(parameters), dict(best)):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary, 0)
        for event in events:
            if event["event"] == "epoch":
                _add_epoch(writer, event)
        for tag, value in best.items():
            writer.add_scalar(tag, value, finished["best_epoch"], finished["time"])
    for path in earlier:
        path.unlink()


def has_curves(folder: Path) -> bool:
    """Return whether a TensorBoard run has a file of curves."""
    return bool(_curve_files(folder))


def _curve_files(folder: Path) -> list[Path]:
    """Return the event files in a folder, those of pictures excepted."""
    return [path for path in folder.glob("*") if path.is_file() and path.suffix != PICTURES]


def _add_epoch(writer: "SummaryWriter", event: Event) -> None:
    """Add the figures of one epoch and the histograms of its weights."""
    epoch, time = event["epoch"], event["time"]
    for layer, histogram in event.get("weights", {}).items():
        _add_histogram(writer, f"weights/{layer}", histogram, epoch, time)
    for tag, name in SCALARS.items():
        if name in event:
            writer.add_scalar(tag, event[name], epoch, time)


def _add_histogram(
    writer: "SummaryWriter", tag: str, histogram: Mapping[str, Any], epoch: int, time: float
) -> None:
    """Add one histogram; the buckets between `low` and `high` have equal widths."""
    low, high, counts = histogram["low"], histogram["high"], histogram["counts"]
    width = (high - low if high > low else 1.0) / len(counts)
    writer.add_histogram_raw(
        tag,
        min=low,
        max=high,
        num=sum(counts),
        sum=histogram["total"],
        sum_squares=histogram["squares"],
        bucket_limits=[low + width * number for number in range(1, len(counts) + 1)],
        bucket_counts=counts,
        global_step=epoch,
        walltime=time,
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

    with SummaryWriter(str(folder), filename_suffix=PICTURES) as writer:
        for tag, images in pictures.items():
            writer.add_images(tag, images, dataformats="NHWC")
        try:
            # tracing prints faults; inside calm(), no other thread changes the warning filters
            with TRACING, redirect_stdout(io.StringIO()), calm(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tracing: a size that is no number any more
                writer.add_graph(network, example)
        except RuntimeError as error:
            return " ".join(str(error).split())
    return None
