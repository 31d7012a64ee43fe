"""One step: forward, loss, backward, update. And the same forward pass without learning."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from veduta.errors import VedutaError
from veduta.networks.heads import HeadNetwork, Noise
from veduta.runtime.streams import Keys, stream, uniforms
from veduta.training.loss import Batch, Technique, batch_loss

EVALUATION_BATCH = 512
"""Feature vectors at a time where nothing is learned."""

EVALUATION_MAPS = 32
"""Feature maps at a time: they go through convolutions, which take megabytes an image."""


PLAIN = Technique()
"""Nothing but the mean cross entropy."""


class NotFiniteError(VedutaError):
    """The loss, or its gradient, is not a finite number: the trial has failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to: the loss before it, in nats, and the length of its gradient, unclipped.

    That is the Euclidean norm over all parameters that train, penalties apart.
    """

    loss: float
    gradient_norm: float


def failed_step(loss: float) -> NotFiniteError:
    """The error of a step whose loss is not finite."""
    return NotFiniteError(f"the loss must stay finite; it became {loss}: lower the learning rate")


def failed_gradient(length: float) -> NotFiniteError:
    """The error of a step whose loss is finite and whose gradient is not."""
    return NotFiniteError(
        f"the gradient must stay finite; its length became {length}: lower the learning rate"
    )


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
    batch: Batch,
    *,
    noise: Noise | None,
    technique: Technique = PLAIN,
) -> Step:
    """One step down the gradient of the mean loss (report, equations 25-27).

    A gradient longer than `technique.clip` is shortened to that: it keeps its direction. Penalties
    join the gradient after that, in the optimiser.

    Args:
        network: in training mode.
        optimizer: over the network's parameters.
        batch: features as the network takes them, and labels.
        noise: what dropout compares with; None where nothing is dropped.
        technique: how the step is made.

    Raises:
        NotFiniteError: loss or gradient is infinite or not a number; no step was made.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = batch_loss(
        _forward(network, batch.features, noise, technique.autocast), batch, technique
    )
    value = loss.item()
    if not math.isfinite(value):
        raise failed_step(value)
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in network.parameters() if p.grad is not None]
    norm = get_total_norm([p.grad for p in trained if p.grad is not None])
    length = norm.item()
    if not math.isfinite(length):
        raise failed_gradient(length)
    if technique.clip is not None:
        clip_grads_with_norm_(trained, technique.clip, norm)
    optimizer.step()
    return Step(value, length)


def _forward(
    network: HeadNetwork, features: Tensor, noise: Noise | None, autocast: torch.dtype | None
) -> Tensor:
    """Logits; what was computed in `autocast` comes back in float32."""
    if autocast is None:
        return network(features, noise)  # type: ignore[no-any-return]
    with torch.autocast(features.device.type, autocast):
        logits: Tensor = network(features, noise)
    return logits.float()


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
