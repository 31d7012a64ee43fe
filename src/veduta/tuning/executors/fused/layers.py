r"""Layers of many heads at once, forward and backward, by the report's formulas, without autograd.

Shapes: T trials, B samples, n the width of a layer. Activations are (T, n, B): samples stand last,
so that sums over a batch run along memory, and the report's W a stands as it is written.
Each function has its counterpart for one head in `foundations`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-5  # nn.BatchNorm1d's
RATE = 0.1  # nn.BatchNorm1d's `momentum`: the share of a new batch in the running statistics


def _gelu_slope(z: Tensor, _: Tensor) -> Tensor:
    r"""\Phi(z) + z \varphi(z)."""
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * density


def _silu_slope(z: Tensor, _: Tensor) -> Tensor:
    r"""\sigma(z) (1 + z (1 - \sigma(z)))."""
    gate = torch.sigmoid(z)
    return gate * (1 + z * (1 - gate))


SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "arctan": lambda z, a: 1 / (1 + z * z),  # noqa: ARG005
    "elu": lambda z, a: torch.where(z > 0, 1.0, a + 1).to(z.dtype),
    "gelu": _gelu_slope,
    "leaky_relu": lambda z, a: torch.where(z > 0, 1.0, 0.01).to(z.dtype),  # noqa: ARG005
    "relu": lambda z, a: a.sign(),  # noqa: ARG005
    "sigmoid": lambda z, a: a * (1 - a),  # noqa: ARG005
    "silu": _silu_slope,
    "tanh": lambda z, a: 1 - a * a,  # noqa: ARG005
}
r"""\psi'(z) by name of `models.heads.ACTIVATIONS`, from z and a = \psi(z)."""


@dataclass(frozen=True, slots=True)
class Normalised:
    r"""What batch norm keeps of a batch: \hat{z} (T, n, B), and mean, variance (T, n)."""

    z_hat: Tensor
    mean: Tensor
    variance: Tensor


def normalise(z: Tensor) -> Normalised:
    r"""\hat{z} = (z - \mu) / \sqrt{\sigma^2 + \epsilon}, over the batch (section 4.7)."""
    mean = z.mean(-1)
    centred = z - mean[..., None]
    variance = (centred * centred).mean(-1)  # torch.var_mean takes eight times as long
    z_hat = centred.mul_((variance + EPSILON).rsqrt()[..., None])
    return Normalised(z_hat, mean, variance)


def scale_and_shift(z_hat: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    r"""Equation 40: \tilde{z} = \gamma \hat{z} + \beta; gamma and beta are (T, n)."""
    return (z_hat * gamma[..., None]).add_(beta[..., None])  # addcmul takes three times as long


def update_running(mean: Tensor, variance: Tensor, batch: Normalised) -> None:
    """Running statistics, in place; the variance of B values is divided by B - 1 here."""
    count = batch.z_hat.shape[-1]
    mean.lerp_(batch.mean, RATE)
    variance.lerp_(batch.variance * (count / (count - 1)), RATE)


def normalise_backward(
    delta: Tensor, batch: Normalised, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Derivative of (40), `foundations.batch_norm.batch_norm_backward`: by z, gamma, beta."""
    dbeta, dgamma = delta.sum(-1), (delta * batch.z_hat).sum(-1)
    count = delta.shape[-1]
    centred = delta - (dbeta / count)[..., None]
    centred.addcmul_(batch.z_hat, (dgamma / count)[..., None], value=-1)
    scale = gamma * (batch.variance + EPSILON).rsqrt()
    return centred.mul_(scale[..., None]), dgamma, dbeta


def kept(numbers: Tensor, rates: Tensor | float) -> Tensor:
    """1 where a number is at least the rate, else 0, in the type of the numbers.

    The comparison writes it at once: a tensor of booleans and its conversion take ten times as
    long.
    """
    return torch.ge(numbers, rates, out=numbers.new_empty(0))


def dropout_scale(noise: Tensor, rates: Tensor) -> Tensor:
    """Section 4.3: 1 / (1 - rate) where a node stays, else 0; (T, n, B).

    Args:
        noise: numbers in [0, 1), (B, n): the same for all trials.
        rates: (T,).
    """
    rows = rates[:, None, None]
    stays = kept(noise.T.contiguous(), rows.to(noise.dtype)).to(rates.dtype)
    return stays.div_(1 - rows)


def output_errors(
    z: Tensor, labels: Tensor, smoothing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Losses (27) and errors \delta^L = (\gamma(z^L) - y) / B, by (25) and (26).

    The target y is [j = i], with label smoothing (1 - \epsilon) [j = i] + \epsilon / classes.

    Args:
        z: logits, (T, classes, B).
        labels: (B,).
        smoothing: \epsilon of each trial, (T,); None where all are 0.

    Returns:
        The mean loss of each trial (T,), and \delta^L (T, classes, B).
    """
    trials, classes, count = z.shape
    logs = torch.log_softmax(z, 1)
    places = labels.expand(trials, 1, count)
    losses = -logs.gather(1, places).mean((1, 2))
    label = z.new_full((1, 1, 1), -1.0)
    if smoothing is not None:
        spread = losses - smoothing * (losses + logs.mean((1, 2)))
        losses = torch.where(smoothing > 0, spread, losses)  # 0 x infinity is no number
        label = smoothing[:, None, None] - 1
    delta = logs.exp_()
    delta.scatter_add_(1, places, label.expand(places.shape))
    if smoothing is not None:
        delta.sub_((smoothing / classes)[:, None, None])
    return losses, delta.mul_(1 / count)
