"""The heads of many trials as one: weights with a trial axis, and gradients without autograd.

All trials see the same batch x (B, D), so the first layer of T heads of width n is one product of
(T n, D) with x^T, and its weight gradient is one product of (T n, B) with x. Later layers are
batched products. Gradients follow the report: (14)-(16) for dense layers, (25) at the output, (40)
for batch normalization. Each function has a counterpart for one head in `foundations`.

Shapes: T trials, B samples, D features, n the width of a layer. Activations are (T, n, B): samples
are the last axis, so that sums over a batch run along contiguous memory.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from veduta.config.network_specs import Head
from veduta.networks.catalogue.builtin import ACTIVATIONS
from veduta.networks.heads import HeadNetwork, Noise

EPSILON = 1e-5  # that of nn.BatchNorm1d
RUNNING_SHARE = 0.1  # `momentum` of nn.BatchNorm1d: weight of a batch in the running statistics


def _gelu_slope(z: Tensor, _: Tensor) -> Tensor:
    r"""Return \Phi(z) + z \varphi(z)."""
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * density


def _silu_slope(z: Tensor, _: Tensor) -> Tensor:
    r"""Return \sigma(z) (1 + z (1 - \sigma(z)))."""
    gating = torch.sigmoid(z)
    return gating * (1 + z * (1 - gating))


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
r"""Derivatives \psi'(z) of `ACTIVATIONS` by name, computed from z and a = \psi(z)."""


@dataclass(frozen=True, slots=True)
class NormalizedBatch:
    r"""A batch after normalization: \hat{z} (T, n, B), and mean and variance (T, n)."""

    z_hat: Tensor
    mean: Tensor
    variance: Tensor


def normalize(z: Tensor) -> NormalizedBatch:
    r"""Return \hat{z} = (z - \mu) / \sqrt{\sigma^2 + \epsilon} over the batch (section 4.7)."""
    mean = z.mean(-1)
    centered = z - mean[..., None]
    variance = (centered * centered).mean(-1)  # torch.var_mean takes eight times as long
    z_hat = centered.mul_((variance + EPSILON).rsqrt()[..., None])
    return NormalizedBatch(z_hat, mean, variance)


def scale_and_shift(z_hat: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    r"""Return \tilde{z} = \gamma \hat{z} + \beta, equation (40); gamma and beta are (T, n)."""
    return (z_hat * gamma[..., None]).add_(beta[..., None])  # addcmul takes three times as long


def update_running(mean: Tensor, variance: Tensor, batch: NormalizedBatch) -> None:
    """Update the running statistics in place, with the unbiased variance (divided by B - 1)."""
    count = batch.z_hat.shape[-1]
    mean.lerp_(batch.mean, RUNNING_SHARE)
    variance.lerp_(batch.variance * (count / (count - 1)), RUNNING_SHARE)


def normalize_backward(
    delta: Tensor, batch: NormalizedBatch, gamma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the derivatives of (40) with respect to z, gamma and beta.

    The counterpart is `foundations.batch_norm.batch_norm_backward`.
    """
    dbeta, dgamma = delta.sum(-1), (delta * batch.z_hat).sum(-1)
    count = delta.shape[-1]
    centered = delta - (dbeta / count)[..., None]
    centered.addcmul_(batch.z_hat, (dgamma / count)[..., None], value=-1)
    scale = gamma * (batch.variance + EPSILON).rsqrt()
    return centered.mul_(scale[..., None]), dgamma, dbeta


def build_keep_mask(noise: Tensor, rates: Tensor | float) -> Tensor:
    """Return 1 where noise is at least the rate, else 0, in the dtype of the noise.

    The comparison writes that dtype directly: a boolean tensor and its conversion take ten times
    as long.
    """
    return torch.ge(noise, rates, out=noise.new_empty(0))


def compute_dropout_scale(noise: Tensor, rates: Tensor) -> Tensor:
    """Return 1 / (1 - rate) where dropout keeps a unit, else 0 (section 4.3); (T, n, B).

    Args:
        noise: numbers in [0, 1), (B, n), the same for all trials.
        rates: (T,).
    """
    rates = rates[:, None, None]
    mask = build_keep_mask(noise.T.contiguous(), rates.to(noise.dtype)).to(rates.dtype)
    return mask.div_(1 - rates)


def compute_output_errors(
    z: Tensor, labels: Tensor, smoothing: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Return losses (27) and errors \delta^L = (\gamma(z^L) - y) / B, by (25) and (26).

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
    indices = labels.expand(trials, 1, count)
    losses = -logs.gather(1, indices).mean((1, 2))
    at_label = z.new_full((1, 1, 1), -1.0)
    if smoothing is not None:
        smoothed = losses - smoothing * (losses + logs.mean((1, 2)))
        losses = torch.where(smoothing > 0, smoothed, losses)  # 0 * inf is NaN
        at_label = smoothing[:, None, None] - 1
    delta = logs.exp_()
    delta.scatter_add_(1, indices, at_label.expand(indices.shape))
    if smoothing is not None:
        delta.sub_((smoothing / classes)[:, None, None])
    return losses, delta.mul_(1 / count)


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Values of a hidden layer that the backward pass needs.

    Attributes:
        batch: the normalized batch; None without batch normalization.
        z: input of the activation.
        a: output of the activation.
        scale: factors of dropout; None without dropout.
        out: output of the layer.
    """

    batch: NormalizedBatch | None
    z: Tensor
    a: Tensor
    scale: Tensor | None
    out: Tensor


class FusedHead:
    """T heads of one shape, which all start with the parameters of `network`.

    `state` has the names of `HeadNetwork.state_dict()` and a first axis of T trials. `gradients`
    has the names of the trained parameters and is filled by `train_step`.

    Args:
        network: one head, as the serial executor builds it.
        rates: dropout rate of each trial; equal rates are adjacent.
        smoothing: label smoothing of each trial; empty for none.
    """

    def __init__(
        self, network: HeadNetwork, rates: Sequence[float], smoothing: Sequence[float] = ()
    ) -> None:
        self.head: Head = network.head
        self.rates = tuple(rates)
        self.smoothing = tuple(smoothing) or (0.0,) * len(rates)
        self.state = {
            name: torch.stack([value] * len(rates)) for name, value in network.state_dict().items()
        }
        self._trained = [name for name, p in network.named_parameters() if p.requires_grad]
        self._prepare()

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Trained parameters by name."""
        return {name: self.state[name] for name in self._trained}

    def select_trials(self, indices: Tensor) -> None:
        """Continue with the trials at `indices` alone."""
        self.state = {name: value[indices] for name, value in self.state.items()}
        self.rates = tuple(self.rates[index] for index in indices.tolist())
        self.smoothing = tuple(self.smoothing[index] for index in indices.tolist())
        self._prepare()

    def copy_trial(self, index: int) -> dict[str, Tensor]:
        """Return a copy of the state of one trial, as `HeadNetwork` loads it."""
        return {name: value[index].clone() for name, value in self.state.items()}

    def train_step(self, x: Tensor, labels: Tensor, noise: Noise) -> Tensor:
        """Fill `gradients` by a forward and a backward pass; return the loss of each trial (T,).

        Args:
            x: features, (B, D).
            labels: (B,).
            noise: random numbers for dropout, the same for all trials.
        """
        inputs = self._drop_inputs(x, noise)
        caches: list[LayerCache] = []
        z = self._first_layer(inputs)
        for number in range(len(self.head.hidden)):
            caches.append(self._hidden_layer(number, z, noise))
            z = self._dense_layer(number + 1, caches[-1].out)
        losses, delta = compute_output_errors(z, labels, self._smoothing)
        for number in range(len(caches), 0, -1):
            delta = self._backward_layer(number, delta, caches[number - 1])
        self._set_bias_gradient(0, delta)
        gradient = self.gradients["dense.0.weight"]
        for trials, dropped in inputs:
            torch.mm(delta[trials].flatten(0, 1), dropped, out=gradient[trials].flatten(0, 1))
        return losses

    def logits(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield logits in evaluation mode, (T, classes, B), for each block of features (B, D)."""
        for x in blocks:
            z = self._first_layer([(slice(None), x)])
            for number in range(len(self.head.hidden)):
                z = self._dense_layer(number + 1, self._evaluate_hidden(number, z))
            yield z

    def _prepare(self) -> None:
        """Set what follows from the trials: memory of gradients, rates, ranges of equal rates."""
        self.gradients = {n: torch.empty_like(self.state[n]) for n in self._trained}
        weight = self.state["dense.0.weight"]
        self._rates = torch.tensor(self.rates, dtype=weight.dtype)
        self._smoothing = None
        if any(self.smoothing):
            self._smoothing = torch.tensor(self.smoothing, dtype=weight.dtype)
        self._equal_rates: list[tuple[slice, float]] = []
        start = 0
        for rate, members in groupby(self.rates):
            stop = start + len(list(members))
            self._equal_rates.append((slice(start, stop), rate))
            start = stop

    def _drop_inputs(self, x: Tensor, noise: Noise) -> list[tuple[slice, Tensor]]:
        """Return the inputs of the first layer, with the trials that share each of them.

        Without hidden layers, dropout acts on the features: there is one input per distinct rate.
        """
        if self.head.hidden or not any(self.rates):
            return [(slice(None), x)]
        numbers = noise(0, x.shape[1])

        def drop(rate: float) -> Tensor:
            return build_keep_mask(numbers, rate).to(x.dtype).mul_(1 / (1 - rate)).mul_(x)

        return [(trials, drop(rate) if rate else x) for trials, rate in self._equal_rates]

    def _first_layer(self, inputs: list[tuple[slice, Tensor]]) -> Tensor:
        r"""Return W^1 x + b^1 of all trials (T, n, B): one wide product per distinct input."""
        weight, bias = self.state["dense.0.weight"], self.state["dense.0.bias"]
        out = weight.new_empty(*bias.shape, len(inputs[0][1]))
        for trials, x in inputs:
            rows, shift = weight[trials].flatten(0, 1), bias[trials].reshape(-1, 1)
            torch.addmm(shift, rows, x.T, out=out[trials].flatten(0, 1))
        return out

    def _dense_layer(self, number: int, a: Tensor) -> Tensor:
        weight, bias = (self.state[f"dense.{number}.{name}"] for name in ("weight", "bias"))
        return torch.baddbmm(bias[..., None], weight, a)

    def _batch_norm_state(self, number: int) -> list[Tensor]:
        names = ("weight", "bias", "running_mean", "running_var")
        return [self.state[f"norms.{number}.{name}"] for name in names]

    def _evaluate_hidden(self, number: int, z: Tensor) -> Tensor:
        """Return batch normalization and activation of a hidden layer in evaluation mode."""
        activation = ACTIVATIONS[self.head.activation]
        if not self.head.batch_norm:
            return activation(z)
        gamma, beta, mean, variance = self._batch_norm_state(number)
        gamma = gamma * (variance + EPSILON).rsqrt()
        shift = beta - mean * gamma
        if self.head.norm_first:
            return activation(scale_and_shift(z, gamma, shift))
        return scale_and_shift(activation(z), gamma, shift)

    def _hidden_layer(self, number: int, z: Tensor, noise: Noise) -> LayerCache:
        """Return batch normalization, activation and dropout of a hidden layer in training mode."""
        batch, head = None, self.head
        if head.batch_norm and head.norm_first:
            batch, z = self._normalize_hidden(number, z)
        out = a = ACTIVATIONS[head.activation](z)
        if head.batch_norm and not head.norm_first:
            batch, out = self._normalize_hidden(number, a)
        if not any(self.rates) or not head.has_dropout(number):
            return LayerCache(batch, z, a, None, out)
        scale = compute_dropout_scale(noise(number, out.shape[1]), self._rates)
        return LayerCache(batch, z, a, scale, out * scale)

    def _normalize_hidden(self, number: int, z: Tensor) -> tuple[NormalizedBatch, Tensor]:
        """Return batch normalization in training mode, and update the running statistics."""
        gamma, beta, mean, variance = self._batch_norm_state(number)
        batch = normalize(z)
        update_running(mean, variance, batch)
        self.state[f"norms.{number}.num_batches_tracked"] += 1
        return batch, scale_and_shift(batch.z_hat, gamma, beta)

    def _backward_layer(self, number: int, delta: Tensor, cache: LayerCache) -> Tensor:
        r"""Return \delta of the layer before dense layer `number`, and set gradients between."""
        weight = self.state[f"dense.{number}.weight"]
        self._set_bias_gradient(number, delta)
        torch.bmm(delta, cache.out.mT, out=self.gradients[f"dense.{number}.weight"])
        delta = torch.bmm(weight.mT, delta)
        if cache.scale is not None:
            delta.mul_(cache.scale)
        if cache.batch is not None and not self.head.norm_first:
            delta = self._backward_norm(number - 1, delta, cache.batch)
        delta.mul_(SLOPES[self.head.activation](cache.z, cache.a))
        if cache.batch is not None and self.head.norm_first:
            delta = self._backward_norm(number - 1, delta, cache.batch)
        return delta

    def _backward_norm(self, number: int, delta: Tensor, batch: NormalizedBatch) -> Tensor:
        r"""Return \delta before batch normalization, and set the gradients of gamma and beta."""
        gamma = self.state[f"norms.{number}.weight"]
        delta, dgamma, dbeta = normalize_backward(delta, batch, gamma)
        self.gradients[f"norms.{number}.weight"].copy_(dgamma)
        self.gradients[f"norms.{number}.bias"].copy_(dbeta)
        return delta

    def _set_bias_gradient(self, number: int, delta: Tensor) -> None:
        """Set the gradient of a bias (15); a bias before batch normalization is not trained."""
        if (name := f"dense.{number}.bias") in self.gradients:
            torch.sum(delta, -1, out=self.gradients[name])
