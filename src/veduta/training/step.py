"""One training step, the evaluation of a network, and the choice of the autocast dtype."""

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from veduta.config.settings import Settings
from veduta.errors import VedutaError
from veduta.networks.heads import HeadNetwork, Noise
from veduta.optim.optimizers import build_optimizer
from veduta.runtime.streams import derive_key, draw_uniforms
from veduta.training.loss import Batch, StepOptions, compute_batch_loss
from veduta.types import KeyArray

EVALUATION_BATCH_SIZE = 512
"""Number of feature vectors per batch in evaluation."""

EVALUATION_BATCH_SIZE_OF_MAPS = 32
"""Number of feature maps per batch in evaluation; convolutions need megabytes per image."""

DEFAULT_OPTIONS = StepOptions()
"""Mean cross entropy, without any option."""


class NotFiniteError(VedutaError):
    """The loss or its gradient is not a finite number, so the trial has failed."""


@dataclass(frozen=True, slots=True)
class Step:
    """Result of one training step.

    Attributes:
        loss: loss of the batch before the update, in nats.
        gradient_norm: Euclidean norm of the gradient of all trainable parameters, before clipping
            and without penalties.
    """

    loss: float
    gradient_norm: float


def create_loss_error(loss: float) -> NotFiniteError:
    """Create the error for a step whose loss is not finite."""
    return NotFiniteError(f"the loss must be finite; got {loss}: lower the learning rate")


def create_gradient_error(norm: float) -> NotFiniteError:
    """Create the error for a step whose loss is finite and whose gradient norm is not."""
    return NotFiniteError(f"the gradient norm must be finite; got {norm}: lower the learning rate")


def create_epoch_error(number: int, train_loss: float, val_loss: float) -> NotFiniteError:
    """Create the error for an epoch with finite losses of all steps and non-finite results."""
    return NotFiniteError(
        f"the loss must be finite; got {train_loss} on training images and {val_loss} on "
        f"validation images after epoch {number}: lower the learning rate"
    )


def create_dropout_noise(seed: int, epoch: int, keys: KeyArray) -> Noise:
    """Create the dropout noise of a batch.

    Row i of the noise is a pure function of (seed, epoch, layer, key of image i). All trials of a
    study have the same noise, whatever their dropout probability.
    """

    def noise(layer: int, width: int) -> Tensor:
        return torch.from_numpy(
            draw_uniforms(derive_key(seed, "dropout", layer, epoch), keys, width)
        )

    return noise


def train_step(
    network: HeadNetwork,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    noise: Noise | None,
    options: StepOptions = DEFAULT_OPTIONS,
) -> Step:
    """Update a network by one step of gradient descent on the mean loss (equations 25-27).

    A gradient with a norm above `options.clip` is scaled down to that norm. Penalties are added to
    the gradient afterwards, by the optimizer.

    Args:
        network: a network in training mode.
        optimizer: optimizer of the parameters of the network.
        batch: inputs of the network and labels.
        noise: dropout noise; None without dropout.
        options: options of the step.

    Raises:
        NotFiniteError: the loss or the gradient norm is not finite; no update was made.
    """
    optimizer.zero_grad(set_to_none=True)
    logits = _compute_training_logits(network, batch.features, noise, options.autocast)
    loss = compute_batch_loss(logits, batch, options)
    value = loss.item()
    if not math.isfinite(value):
        raise create_loss_error(value)
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in network.parameters() if p.grad is not None]
    norm = get_total_norm([p.grad for p in trained if p.grad is not None])
    gradient_norm = norm.item()
    if not math.isfinite(gradient_norm):
        raise create_gradient_error(gradient_norm)
    if options.clip is not None:
        clip_grads_with_norm_(trained, options.clip, norm)
    optimizer.step()
    return Step(value, gradient_norm)


def _compute_training_logits(
    network: HeadNetwork, features: Tensor, noise: Noise | None, autocast: torch.dtype | None
) -> Tensor:
    """Compute logits with the given autocast dtype and return them in float32."""
    if autocast is None:
        return network(features, noise)  # type: ignore[no-any-return]
    with torch.autocast(features.device.type, autocast):
        logits: Tensor = network(features, noise)
    return logits.float()


# evaluation


def get_evaluation_batch_size(shape: tuple[int, ...]) -> int:
    """Return the number of images per evaluation batch for features of this shape."""
    return EVALUATION_BATCH_SIZE if len(shape) == 1 else EVALUATION_BATCH_SIZE_OF_MAPS


def compute_logits(network: HeadNetwork, parts: Iterable[Tensor]) -> Tensor:
    """Compute the logits (N, classes) of features that are given in parts, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(part) for part in parts])


def compute_loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Compute the mean cross entropy in nats, in float64, and the accuracy."""
    loss = cross_entropy(logits.double(), labels).item()
    return loss, (logits.argmax(1) == labels).double().mean().item()


# autocast dtype

TIMED_STEPS = 3
MAX_TIME_RATIO = 0.9  # bf16 is used if a step takes less than this fraction of the float32 time

StepSeconds = dict[str, float]
"""Seconds per step with the keys `f32` and `bf16`."""


def measure_step_seconds(
    network: HeadNetwork,
    batch: Batch,
    settings: Settings,
    *,
    steps: int = TIMED_STEPS,
    clock: Callable[[], float] = time.perf_counter,
) -> StepSeconds:
    """Measure the seconds of a step in float32 and in bf16.

    The steps of both dtypes alternate, and the minimum of each counts.

    Args:
        network: network of the trial; copies of it are trained.
        batch: a batch of the size that the trial uses.
        settings: settings of the trial, for the optimizer.
        steps: number of measured steps per dtype; one more step comes first as a warm-up.
        clock: returns the time in seconds.
    """
    seconds: dict[str, list[float]] = {"f32": [], "bf16": []}
    dtypes = zip(seconds, (None, torch.bfloat16), strict=True)
    runs = {
        name: (copy.deepcopy(network).train(), StepOptions(autocast=dtype))
        for name, dtype in dtypes
    }
    optimizers = {
        name: build_optimizer(copied.group_parameters(settings.backbone_lr_scale), settings)
        for name, (copied, _) in runs.items()
    }
    for _ in range(steps + 1):
        for name, (copied, options) in runs.items():
            start = clock()
            train_step(copied, optimizers[name], batch, noise=None, options=options)
            seconds[name].append(clock() - start)
    return {name: min(values[1:]) for name, values in seconds.items()}


def is_bf16_faster(seconds: StepSeconds) -> bool:
    """Return whether a step in bf16 takes less than 90 % of the time in float32.

    >>> is_bf16_faster({"f32": 1.0, "bf16": 0.8})
    True
    """
    return seconds["bf16"] < MAX_TIME_RATIO * seconds["f32"]


def choose_autocast_dtype(
    amp: str, measure: Callable[[], StepSeconds]
) -> tuple[torch.dtype | None, StepSeconds]:
    """Choose the autocast dtype of a run.

    bf16 halves the memory traffic but is slower on a CPU without instructions for it, so `auto`
    measures both on the network of the run.

    Args:
        amp: none, bf16, or auto.
        measure: measures the seconds per step; called only for auto.

    Returns:
        The autocast dtype, None for float32, and the measured seconds, empty without measurement.

    >>> choose_autocast_dtype("bf16", dict)
    (torch.bfloat16, {})
    """
    if amp != "auto":
        return (torch.bfloat16 if amp == "bf16" else None), {}
    seconds = measure()
    return (torch.bfloat16 if is_bf16_faster(seconds) else None), seconds
