r"""The heads of many trials as one: weights with a trial axis, one wide product at the start.

All trials see the same batch x (B, D), so the first layer of T heads of width n is one product of
(T n, D) with x^T, and its weight gradient one product of (T n, B) with x. Later layers are batched
products. Gradients are the report's: (14)-(16) for dense layers, (25) at the output, (40) for batch
norm. Shapes: T trials, B samples, D features; activations (T, width, B).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from veduta.networks.heads import ACTIVATIONS, Head, HeadNetwork, Noise
from veduta.tuning.executors.fused.layers import (
    EPSILON,
    SLOPES,
    Normalised,
    dropout_scale,
    kept,
    normalise,
    normalise_backward,
    output_errors,
    scale_and_shift,
    update_running,
)


@dataclass(frozen=True, slots=True)
class Passed:
    """What the backward pass needs of one hidden layer."""

    batch: Normalised | None
    z: Tensor  # what the activation received
    a: Tensor  # what it gave
    scale: Tensor | None  # of dropout
    out: Tensor  # what the next layer received


class FusedHead:
    """T heads of one shape, with the parameters of `network` each at the start.

    `state` has the names of `HeadNetwork.state_dict()` and a first axis of T trials; `gradients`
    those of the parameters among them, filled by `backward_pass`.

    Args:
        network: one head, as the serial executor builds it.
        rates: dropout of each trial; equal ones side by side.
        smoothing: of the labels, for each trial; none without.
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
        """What is trained, by name."""
        return {name: self.state[name] for name in self._trained}

    def keep(self, places: Tensor) -> None:
        """Go on with the trials at `places` alone."""
        self.state = {name: value[places] for name, value in self.state.items()}
        self.rates = tuple(self.rates[place] for place in places.tolist())
        self.smoothing = tuple(self.smoothing[place] for place in places.tolist())
        self._prepare()

    def of_trial(self, place: int) -> dict[str, Tensor]:
        """A copy of one trial's parameters and statistics, as `HeadNetwork` loads them."""
        return {name: value[place].clone() for name, value in self.state.items()}

    def train_step(self, x: Tensor, labels: Tensor, noise: Noise) -> Tensor:
        """Forward and backward: fills `gradients`, returns the mean loss of each trial (T,).

        Args:
            x: features, (B, D).
            labels: (B,).
            noise: what dropout compares with, the same for all trials.
        """
        inputs = self._inputs(x, noise)
        passed: list[Passed] = []
        z = self._first(inputs)
        for number in range(len(self.head.hidden)):
            passed.append(self._hidden(number, z, noise))
            z = self._dense(number + 1, passed[-1].out)
        losses, delta = output_errors(z, labels, self._smoothing)
        for number in range(len(passed), 0, -1):
            delta = self._back(number, delta, passed[number - 1])
        self._shift(0, delta)
        weights = self.gradients["dense.0.weight"]
        for part, seen in inputs:
            torch.mm(delta[part].flatten(0, 1), seen, out=weights[part].flatten(0, 1))
        return losses

    def logits(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Logits in evaluation mode, one part of the images after the other: (T, classes, part)."""
        for x in parts:
            z = self._first([(slice(None), x)])
            for number in range(len(self.head.hidden)):
                z = self._dense(number + 1, self._evaluated(number, z))
            yield z

    def _prepare(self) -> None:
        """What follows from the trials that are there: gradients' places, rates, their segments."""
        self.gradients = {n: torch.empty_like(self.state[n]) for n in self._trained}
        weight = self.state["dense.0.weight"]
        self._rates = torch.tensor(self.rates, dtype=weight.dtype)
        self._smoothing = None
        if any(self.smoothing):
            self._smoothing = torch.tensor(self.smoothing, dtype=weight.dtype)
        self._segments: list[tuple[slice, float]] = []
        start = 0
        for rate, members in groupby(self.rates):
            stop = start + len(list(members))
            self._segments.append((slice(start, stop), rate))
            start = stop

    def _inputs(self, x: Tensor, noise: Noise) -> list[tuple[slice, Tensor]]:
        """What the first layer sees: the features, dropped once a distinct rate in linear heads."""
        if self.head.hidden or not any(self.rates):
            return [(slice(None), x)]
        numbers = noise(0, x.shape[1])
        return [
            (part, kept(numbers, rate).to(x.dtype).mul_(1 / (1 - rate)).mul_(x) if rate else x)
            for part, rate in self._segments
        ]

    def _first(self, inputs: list[tuple[slice, Tensor]]) -> Tensor:
        r"""W^1 x + b^1 of all trials: one wide product a distinct input, (T, n, B)."""
        weight, bias = self.state["dense.0.weight"], self.state["dense.0.bias"]
        out = weight.new_empty(*bias.shape, len(inputs[0][1]))
        for part, x in inputs:
            rows, shift = weight[part].flatten(0, 1), bias[part].reshape(-1, 1)
            torch.addmm(shift, rows, x.T, out=out[part].flatten(0, 1))
        return out

    def _dense(self, number: int, a: Tensor) -> Tensor:
        weight, bias = (self.state[f"dense.{number}.{name}"] for name in ("weight", "bias"))
        return torch.baddbmm(bias[..., None], weight, a)

    def _norm(self, number: int) -> list[Tensor]:
        names = ("weight", "bias", "running_mean", "running_var")
        return [self.state[f"norms.{number}.{name}"] for name in names]

    def _evaluated(self, number: int, z: Tensor) -> Tensor:
        """Batch norm and activation of a hidden layer, in evaluation."""
        activation = ACTIVATIONS[self.head.activation]
        if not self.head.batch_norm:
            return activation(z)
        gamma, beta, mean, variance = self._norm(number)
        gamma = gamma * (variance + EPSILON).rsqrt()
        shift = beta - mean * gamma
        if self.head.norm_first:
            return activation(scale_and_shift(z, gamma, shift))
        return scale_and_shift(activation(z), gamma, shift)

    def _hidden(self, number: int, z: Tensor, noise: Noise) -> Passed:
        """Batch norm, activation and dropout of a hidden layer, in training."""
        batch, head = None, self.head
        if head.batch_norm and head.norm_first:
            batch, z = self._normalised(number, z)
        out = a = ACTIVATIONS[head.activation](z)
        if head.batch_norm and not head.norm_first:
            batch, out = self._normalised(number, a)
        if not any(self.rates) or not head.drops(number):
            return Passed(batch, z, a, None, out)
        scale = dropout_scale(noise(number, out.shape[1]), self._rates)
        return Passed(batch, z, a, scale, out * scale)

    def _normalised(self, number: int, z: Tensor) -> tuple[Normalised, Tensor]:
        """Batch norm in training, the running statistics moved."""
        gamma, beta, mean, variance = self._norm(number)
        batch = normalise(z)
        update_running(mean, variance, batch)
        self.state[f"norms.{number}.num_batches_tracked"] += 1
        return batch, scale_and_shift(batch.z_hat, gamma, beta)

    def _back(self, number: int, delta: Tensor, passed: Passed) -> Tensor:
        r"""From \delta of dense layer `number` to that of the one before; gradients on the way."""
        weight = self.state[f"dense.{number}.weight"]
        self._shift(number, delta)
        torch.bmm(delta, passed.out.mT, out=self.gradients[f"dense.{number}.weight"])
        delta = torch.bmm(weight.mT, delta)
        if passed.scale is not None:
            delta.mul_(passed.scale)
        if passed.batch is not None and not self.head.norm_first:
            delta = self._back_norm(number - 1, delta, passed.batch)
        delta.mul_(SLOPES[self.head.activation](passed.z, passed.a))
        if passed.batch is not None and self.head.norm_first:
            delta = self._back_norm(number - 1, delta, passed.batch)
        return delta

    def _back_norm(self, number: int, delta: Tensor, batch: Normalised) -> Tensor:
        """Through batch norm; gradients of its scale and shift on the way."""
        gamma = self.state[f"norms.{number}.weight"]
        delta, dgamma, dbeta = normalise_backward(delta, batch, gamma)
        self.gradients[f"norms.{number}.weight"].copy_(dgamma)
        self.gradients[f"norms.{number}.bias"].copy_(dbeta)
        return delta

    def _shift(self, number: int, delta: Tensor) -> None:
        """The gradient of a bias (15), where it is trained: not before batch norm."""
        if (name := f"dense.{number}.bias") in self.gradients:
            torch.sum(delta, -1, out=self.gradients[name])
