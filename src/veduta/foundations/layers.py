r"""Layers of every kind the report names, for `network.train` to stack.

A layer computes nothing itself: each line calls the equation, and keeps what the way back needs.
Weights are drawn with variance 2 / m, m the numbers a neuron receives, so that ReLU layers neither
swell nor fade; biases start at 0.
"""

from typing import final

import numpy as np

from veduta.foundations import activations, backprop, conv_backprop, pooling
from veduta.foundations import batch_norm as normalisation
from veduta.foundations import dropout as dropping
from veduta.foundations.arrays import Activation, Array, require
from veduta.foundations.convolution import convolve
from veduta.foundations.network import layer_output
from veduta.foundations.training import Layer

POOLS = {
    "max": (pooling.max_pool, pooling.max_pool_backward),
    "l2": (pooling.l2_pool, pooling.l2_pool_backward),
    "average": (pooling.average_pool, pooling.average_pool_backward),
}


@final
class Dense(Layer):
    """(8), with (14)-(16) for the way back; psi is a layer of its own."""

    def __init__(self, inputs: int, outputs: int, *, rng: np.random.Generator) -> None:
        w = rng.standard_normal((outputs, inputs)) * np.sqrt(2 / inputs)
        super().__init__(w=w, b=np.zeros(outputs))

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Equation 8."""
        self.a = a
        return layer_output(self.weights["w"], a, b=self.weights["b"])

    def backward(self, delta: Array) -> Array:
        """Equations 15, 16 and 14, its slope left to the activation's layer."""
        self.gradients["w"] = backprop.weight_gradient(delta, self.a)
        self.gradients["b"] = backprop.bias_gradient(delta)
        return backprop.hidden_error(delta, self.weights["w"], slope=np.ones_like(self.a))


@final
class Activate(Layer):
    """(6b): psi, entry by entry."""

    def __init__(self, psi: Activation = activations.RELU) -> None:
        super().__init__()
        self.psi = psi

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Equation 6b."""
        self.z = a
        return self.psi.function(a)

    def backward(self, delta: Array) -> Array:
        """The factor psi'(z) of (12), (14) and (34)."""
        return backprop.output_error(delta, self.psi.derivative(self.z))


@final
class Convolution(Layer):
    """(30) with a tied bias and stride 1, `padding` zeros around; (34)-(36) for the way back."""

    def __init__(
        self, channels: int, maps: int, *, k: int, rng: np.random.Generator, padding: int = 0
    ) -> None:
        w = rng.standard_normal((maps, channels, k, k)) * np.sqrt(2 / (channels * k * k))
        super().__init__(w=w, b=np.zeros(maps))
        self.padding = padding

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Equation 30."""
        self.a = a
        return convolve(a, self.weights["w"], b=self.weights["b"], padding=self.padding)

    def backward(self, delta: Array) -> Array:
        """Equations 35, 36 and 34, its slope left to the activation's layer."""
        w, padding = self.weights["w"], self.padding
        self.gradients["w"] = conv_backprop.kernel_gradient(
            delta, self.a, k=w.shape[2], padding=padding
        )
        self.gradients["b"] = conv_backprop.tied_bias_gradient(delta)
        return conv_backprop.hidden_error(delta, w, slope=np.ones_like(self.a), padding=padding)


@final
class Pool(Layer):
    """(31a), (31b) or the average of touching regions of p x p."""

    def __init__(self, kind: str, p: int) -> None:
        super().__init__()
        require(kind in POOLS, f"a pooling is one of {', '.join(POOLS)}", repr(kind))
        self.kind, self.p = kind, p

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Equation 31a, 31b or the average."""
        self.z = a
        return POOLS[self.kind][0](a, self.p)

    def backward(self, delta: Array) -> Array:
        """Its derivative."""
        return POOLS[self.kind][1](delta, self.z, p=self.p)


@final
class BatchNorm(Layer):
    """(40): statistics of the batch in training, running ones in evaluation."""

    def __init__(self, features: int) -> None:
        super().__init__(gamma=np.ones(features), beta=np.zeros(features))
        self.running = {"mean": np.zeros(features), "variance": np.ones(features)}

    def forward(self, a: Array, *, training: bool) -> Array:
        """Equation 40, and the running statistics where training."""
        running = normalisation.Statistics(**self.running)
        self.z, self.statistics = a, normalisation.batch_statistics(a) if training else running
        if training:
            count = a.size // a.shape[1]
            self.running = normalisation.updated(running, self.statistics, count=count)._asdict()
        return normalisation.batch_norm(a, self.statistics, **self.weights)

    def backward(self, delta: Array) -> Array:
        """The derivative of (40) in training."""
        dz, self.gradients["gamma"], self.gradients["beta"] = normalisation.batch_norm_backward(
            delta, self.z, statistics=self.statistics, gamma=self.weights["gamma"]
        )
        return dz


@final
class Dropout(Layer):
    """Section 4.3: keep each entry with probability `keep` in training, all in evaluation."""

    def __init__(self, keep: float, *, rng: np.random.Generator) -> None:
        super().__init__()
        dropping.require_keep(keep)
        self.keep, self.rng = keep, rng

    def forward(self, a: Array, *, training: bool) -> Array:
        """Training or evaluation mode of section 4.3."""
        if not training:
            return dropping.evaluate(a)
        kept, self.scale = dropping.dropout(a, self.keep, rng=self.rng)
        return kept

    def backward(self, delta: Array) -> Array:
        """The derivative of dropout in training."""
        return dropping.dropout_backward(delta, self.scale)


@final
class Flatten(Layer):
    """Feature maps (N, maps, H, W) become the inputs of a dense layer, (N, maps x H x W)."""

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """A row a sample."""
        self.shape = a.shape
        return a.reshape(len(a), -1)

    def backward(self, delta: Array) -> Array:
        """Back into maps."""
        return delta.reshape(self.shape)
