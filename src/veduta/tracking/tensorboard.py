"""TensorBoard runs, one per trial: curves, a row of the HParams table, pictures."""

import io
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from veduta.config.parsing import format_value
from veduta.data.decode import filter_pillow_warnings
from veduta.runs.events import (
    EpochFinished,
    Histogram,
    TrialEvent,
    TrialFinished,
    events_of_type,
)
from veduta.runtime.process import TRACING_LOCK
from veduta.types import Float32Array

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.tensorboard import SummaryWriter

PICTURES = ".pictures"
"""Suffix of the event file with pictures, which is created from images, not from the journal."""

BEST_METRICS = ("val_accuracy", "val_loss", "train_accuracy", "best_epoch")
"""Results of a finished trial in its row of the HParams table."""


def unify_hyperparameter_types(
    trials: Sequence[Mapping[str, object]],
) -> list[dict[str, float | str]]:
    """Return the hyperparameters of all trials, with one type per hyperparameter and no None.

    The HParams table drops a column that is a number in one trial and missing in another.

    >>> unify_hyperparameter_types([{"lr": 0.1, "patience": None}, {"lr": 1, "patience": 3}])
    [{'lr': 0.1, 'patience': 'none'}, {'lr': 1.0, 'patience': '3'}]
    """
    numeric = {name for name in trials[0] if all(_is_number(trial[name]) for trial in trials)}
    return [
        {
            name: float(value) if name in numeric and _is_number(value) else format_value(value)
            for name, value in trial.items()
        }
        for trial in trials
    ]


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; a bool does not count as one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def write_trial(
    folder: Path,
    hyperparameters: Mapping[str, float | str],
    events: Sequence[TrialEvent],
    *,
    keep_pictures: bool = False,
) -> None:
    """Write one trial as one TensorBoard run: curves by epoch, and its row of the HParams table.

    Files of an earlier attempt are replaced.

    Args:
        folder: Directory of the TensorBoard run.
        hyperparameters: Hyperparameters of the trial, from `unify_hyperparameter_types`.
        events: Events of the trial, in the order of the journal; it may still be running.
        keep_pictures: Whether the file of pictures is kept.
    """
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    earlier = _list_curve_files(folder) if keep_pictures else _list_files(folder)
    finished = events[-1] if isinstance(events[-1], TrialFinished) else None
    best = {}
    if finished:
        metrics = finished.model_dump(include=set(BEST_METRICS))
        best = {f"best/{name}": float(metrics[name]) for name in BEST_METRICS}
    # with the default queue size of 10, adding events blocks on the writer thread
    with _silence_writer_thread(), SummaryWriter(str(folder), max_queue=1000) as writer:
        # add_hparams would create a separate run
        for summary in hparams(dict(hyperparameters), dict(best)):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary, 0)
        for epoch in events_of_type(events, EpochFinished):
            _add_epoch(writer, epoch)
        if finished:
            for tag, value in best.items():
                writer.add_scalar(tag, value, finished.best_epoch, finished.time)
    for path in earlier:
        path.unlink()


@contextmanager
def _silence_writer_thread() -> Iterator[None]:
    """Keep the writer thread from printing a traceback, for example when the disk is full.

    The writer raises the same error again in the thread that adds events.
    """
    previous = threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        if type(args.thread).__name__ != "_AsyncWriterThread":
            previous(args)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = previous


def has_curves(folder: Path) -> bool:
    """Return whether a TensorBoard run has a file of curves."""
    return bool(_list_curve_files(folder))


def _list_files(folder: Path) -> list[Path]:
    """Return the files in a folder, which may be missing."""
    return [path for path in folder.glob("*") if path.is_file()]


def _list_curve_files(folder: Path) -> list[Path]:
    """Return the event files in a folder except those of pictures."""
    return [path for path in _list_files(folder) if path.suffix != PICTURES]


def _add_epoch(writer: "SummaryWriter", epoch: EpochFinished) -> None:
    """Add the metrics of one epoch and the histograms of its weights."""
    for layer, histogram in (epoch.weight_histograms or {}).items():
        _add_histogram(writer, f"weights/{layer}", histogram, epoch)
    scalars = {
        "train/loss": epoch.train_loss,
        "train/accuracy": epoch.train_accuracy,
        "val/loss": epoch.val_loss,
        "val/accuracy": epoch.val_accuracy,
        "lr": epoch.current_lr,
        "gradient_norm": epoch.gradient_norm,
    }
    for tag, value in scalars.items():
        if value is not None:
            writer.add_scalar(tag, value, epoch.epoch, epoch.time)


def _add_histogram(
    writer: "SummaryWriter", tag: str, histogram: Histogram, epoch: EpochFinished
) -> None:
    """Add one histogram; the buckets between `low` and `high` have equal widths."""
    low, high, counts = histogram.low, histogram.high, histogram.counts
    width = (high - low if high > low else 1.0) / len(counts)
    writer.add_histogram_raw(
        tag,
        min=low,
        max=high,
        num=sum(counts),
        sum=histogram.sum,
        sum_squares=histogram.sum_of_squares,
        bucket_limits=[low + width * number for number in range(1, len(counts) + 1)],
        bucket_counts=counts,
        global_step=epoch.epoch,
        walltime=epoch.time,
    )


def write_pictures(
    folder: Path,
    pictures: Mapping[str, Float32Array],
    network: "nn.Module",
    example: "Tensor",
) -> str | None:
    """Add pictures and the graph of a network to the TensorBoard run of a finished trial.

    Args:
        folder: Directory of the TensorBoard run.
        pictures: Images by tag, (n, H, W, 3) from 0 to 1.
        network: The network whose graph is written.
        example: Its input.

    Returns:
        The reason why the graph could not be traced, or None.
    """
    from torch.utils.tensorboard import SummaryWriter

    with (
        _silence_writer_thread(),
        SummaryWriter(str(folder), filename_suffix=PICTURES) as writer,
    ):
        for tag, images in pictures.items():
            writer.add_images(tag, images, dataformats="NHWC")
        try:
            # tracing prints errors; filter_pillow_warnings keeps other threads from setting filters
            with (
                TRACING_LOCK,
                redirect_stdout(io.StringIO()),
                filter_pillow_warnings(),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore")  # about sizes that tracing turns into constants
                writer.add_graph(network, example)
        except RuntimeError as error:
            return " ".join(str(error).split())
    return None
