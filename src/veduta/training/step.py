"""One step: forward, loss, backward, update. And the same forward pass without learning."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from veduta.errors import VedutaError
from veduta.models.heads import HeadNetwork, Noise
from veduta.runtime.streams import Keys, stream, uniforms

EVALUATION_BATCH = 512
"""Feature vectors at a time where nothing is learned."""

EVALUATION_MAPS = 32
"""Feature maps at a time: they go through convolutions, which take megabytes an image."""


class NotFiniteError(VedutaError):
    """The loss is not a finite number: the trial has failed."""


def failed_step(loss: float) -> NotFiniteError:
    """The error of a step whose loss is not finite."""
    return NotFiniteError(f"the loss must stay finite; it became {loss}: lower the learning rate")


def failed_epoch(number: int, train_loss: float, val_loss: float) -> NotFiniteError:
    """The error of an epoch whose steps were finite, and what came of them is not."""
    return NotFiniteError(
        f"the loss must stay finite; after epoch {number} it is {train_loss} on training "
        f"and {val_loss} on validation images: lower the learning rate"
    )


def dropout_noise(seed: int, epoch: int, keys: Keys) -> Noise:
    """The dropout noise of a batch: row i is a pure function of (seed, epoch, site, image i).

    All trials of a study see the same noise, whatever their dropout rate.
    """

    def noise(site: int, width: int) -> Tensor:
        return torch.from_numpy(uniforms(stream(seed, "dropout", site, epoch), keys, width))

    return noise


def train_step(
    network: HeadNetwork,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    *,
    noise: Noise | None,
    label_smoothing: float = 0.0,
) -> float:
    r"""One step down the gradient of the mean cross entropy (report, equations 25-27).

    Args:
        network: in training mode.
        optimizer: over the network's parameters.
        batch: features (B, D) float32 and labels (B,) int64.
        noise: what dropout compares with; None where nothing is dropped.
        label_smoothing: \epsilon; the target is 1 - \epsilon for the label, and \epsilon / classes
            more for every class (Szegedy et al., "Rethinking the Inception architecture", 2016).

    Returns:
        The loss before the step, in nats.

    Raises:
        NotFiniteError: the loss is infinite or not a number; no step was made.
    """
    features, labels = batch
    optimizer.zero_grad(set_to_none=True)
    loss = cross_entropy(network(features, noise), labels, label_smoothing=label_smoothing)
    value = loss.item()
    if not np.isfinite(value):
        raise failed_step(value)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return value


def evaluation_batch(shape: tuple[int, ...]) -> int:
    """How many images at a time, of features of this shape, where nothing is learned."""
    return EVALUATION_BATCH if len(shape) == 1 else EVALUATION_MAPS


def logits_of(network: HeadNetwork, parts: Iterable[Tensor]) -> Tensor:
    """Logits (N, classes) in evaluation mode; the features come part by part."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(part) for part in parts])


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross entropy in nats, computed in float64, and the share of right labels."""
    loss = cross_entropy(logits.double(), labels).item()
    return loss, (logits.argmax(1) == labels).double().mean().item()
