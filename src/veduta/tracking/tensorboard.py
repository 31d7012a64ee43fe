"""TensorBoard: one run a trial, with its curves, its row of the HParams table, and pictures."""

import io
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from veduta.config.fields import as_text
from veduta.runs.lines import Event
from veduta.tracking.curves import curves_of, name_of

if TYPE_CHECKING:
    from torch import Tensor, nn

PICTURES = ".pictures"
"""How the file of pictures ends, which are made from the images, not from the journal."""


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
    folder.mkdir(parents=True, exist_ok=True)
    name = name_of(events)
    (folder / name).write_bytes(curves_of(parameters, events))
    for path in folder.iterdir():
        if path.name != name and path.is_file():
            path.unlink()


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
            with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # it prints faults
                warnings.simplefilter("ignore")  # of tracing: a size that is no number any more
                writer.add_graph(network, example)
        except RuntimeError as error:
            return " ".join(str(error).split())
    return None
