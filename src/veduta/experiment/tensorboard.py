"""What TensorBoard shows of a winner whose network was trained, besides its curves: once."""

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.experiment.examples import Data
from veduta.experiment.outcome import Made, whole_backbone
from veduta.explain.kernels import as_images, first_kernels
from veduta.tracking.console import Console
from veduta.tracking.tensorboard import write_pictures

SHOWN = 16  # training images
ENLARGED = 8  # pixels a side for each number of a kernel
GAP = 4  # white pixels on each side of a kernel


def write_winner(made: Made, data: Data, console: Console) -> None:
    """Training images as its first epoch showed them, the kernels it came to, and its graph.

    Nothing for a head alone, and no images where what trains sees feature maps.
    """
    if made.winner.settings.freeze == "all":
        return
    train = data(made.winner)[0].train
    batch = train.seen_in(1)(np.arange(min(SHOWN, len(train))))
    pictures: dict[str, NDArray[np.float32]] = {}
    if batch.features.dtype == torch.uint8:
        pictures["images/epoch_1"] = (batch.features.numpy() / 255).astype(np.float32)
    backbone = whole_backbone(made)
    if any(isinstance(module, torch.nn.Conv2d) for module in backbone.modules()):
        pictures["kernels/first_layer"] = tiles_of(as_images(first_kernels(backbone)).numpy())
    fault = write_pictures(
        made.directory.tensorboard / made.winner.id,
        pictures,
        made.network.eval(),
        batch.features[:1],
    )
    if fault:
        console.warn(f"TensorBoard has no graph of the network: {fault}")


def tiles_of(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels (n, k, k, 3) from 0 to 1, each enlarged and framed in white.

    >>> tiles_of(np.zeros((2, 3, 3, 3), np.float32)).shape
    (2, 32, 32, 3)
    """
    large = kernels.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    return np.pad(large, ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=1)
