r"""Network layers for `training.train`, built from the functions of the other modules.

Each layer calls the equations and stores what its backward pass needs. Weights are initialized from
a normal distribution with variance 2 / m, where m is the number of inputs per neuron, which keeps
the variance of activations constant through ReLU layers. Biases are initialized to 0.
"""

from abc import ABC, abstractmethod
from typing import final

import numpy as np

from veduta.foundations import (
    activations,
    backprop,
    batch_norm,
    conv_backprop,
    pooling,
    regularization,
)
from veduta.foundations.arrays import Activation, Array, require
from veduta.foundations.convolution import convolve
from veduta.foundations.network import layer_output

POOL_FUNCTIONS = {
    "max": (pooling.max_pool, pooling.max_pool_backward),
    "l2": (pooling.l2_pool, pooling.l2_pool_backward),
    "average": (pooling.average_pool, pooling.average_pool_backward),
}


class Layer(ABC):
    """A network layer; `backward` uses what the last call of `forward` stored."""

    def __init__(self, **weights: Array) -> None:
        self.weights = weights  # trainable parameters by name
        self.gradients: dict[str, Array] = {}  # \partial C / \partial weight, by the same names
        self.running: dict[str, Array] = {}  # running statistics, which are not trained

    @abstractmethod
    def forward(self, a: Array, *, training: bool) -> Array:
        """Return the output of the layer for the inputs `a`, whose first axis is the sample."""

    @abstractmethod
    def backward(self, delta: Array) -> Array:
        """Return the error of the inputs, given that of the outputs, and set `gradients`."""


@final
class Dense(Layer):
    """A dense layer, (8), without activation; its backward pass uses (14)-(16)."""

    def __init__(self, inputs: int, outputs: int, *, rng: np.random.Generator) -> None:
        w = rng.standard_normal((outputs, inputs)) * np.sqrt(2 / inputs)
        super().__init__(w=w, b=np.zeros(outputs))

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Return the pre-activations by equation 8, (N, outputs)."""
        self.a = a
        return layer_output(self.weights["w"], a, b=self.weights["b"])

    def backward(self, delta: Array) -> Array:
        """Apply equations 15, 16 and 14; the activation layer applies the factor psi'."""
        self.gradients["w"] = backprop.weight_gradient(delta, self.a)
        self.gradients["b"] = backprop.bias_gradient(delta)
        return backprop.hidden_error(delta, self.weights["w"], slope=np.ones_like(self.a))


@final
class ActivationLayer(Layer):
    """An activation function applied elementwise, (6b)."""

    def __init__(self, psi: Activation = activations.RELU) -> None:
        super().__init__()
        self.psi = psi

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Return the activations by equation 6b, in the shape of the input."""
        self.z = a
        return self.psi.function(a)

    def backward(self, delta: Array) -> Array:
        """Multiply the error by psi'(z), the factor in (12), (14) and (34)."""
        return backprop.output_error(delta, self.psi.derivative(self.z))


@final
class Convolution(Layer):
    """A convolution (30) with tied bias, stride 1 and zero padding; backward by (34)-(36)."""

    def __init__(
        self, channels: int, maps: int, *, k: int, rng: np.random.Generator, padding: int = 0
    ) -> None:
        w = rng.standard_normal((maps, channels, k, k)) * np.sqrt(2 / (channels * k * k))
        super().__init__(w=w, b=np.zeros(maps))
        self.padding = padding

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Return the feature maps by equation 30, (N, maps, H_out, W_out)."""
        self.a = a
        return convolve(a, self.weights["w"], b=self.weights["b"], padding=self.padding)

    def backward(self, delta: Array) -> Array:
        """Apply equations 35, 36 and 34; the activation layer applies the factor psi'."""
        w, padding = self.weights["w"], self.padding
        self.gradients["w"] = conv_backprop.kernel_gradient(
            delta, self.a, k=w.shape[2], padding=padding
        )
        self.gradients["b"] = conv_backprop.tied_bias_gradient(delta)
        return conv_backprop.hidden_error(delta, w, slope=np.ones_like(self.a), padding=padding)


@final
class Pooling(Layer):
    """Max pooling (31a), L2 pooling (31b) or average pooling of adjacent p x p regions."""

    def __init__(self, kind: str, p: int) -> None:
        super().__init__()
        require(
            kind in POOL_FUNCTIONS, f"kind must be one of {', '.join(POOL_FUNCTIONS)}", repr(kind)
        )
        self.kind, self.p = kind, p

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Return the pooled maps, (N, maps, H_out, W_out)."""
        self.z = a
        pool, _ = POOL_FUNCTIONS[self.kind]
        return pool(a, self.p)

    def backward(self, delta: Array) -> Array:
        """Backpropagate the error through the pooling."""
        _, pool_backward = POOL_FUNCTIONS[self.kind]
        return pool_backward(delta, self.z, p=self.p)


@final
class BatchNorm(Layer):
    """Batch normalization (40), with batch statistics in training and running ones otherwise."""

    def __init__(self, features: int) -> None:
        super().__init__(gamma=np.ones(features), beta=np.zeros(features))
        self.running = {"mean": np.zeros(features), "variance": np.ones(features)}

    def forward(self, a: Array, *, training: bool) -> Array:
        """Return the result of equation 40; in training, update the running statistics."""
        running = batch_norm.Statistics(**self.running)
        self.z, self.statistics = a, batch_norm.batch_statistics(a) if training else running
        if training:
            updated = batch_norm.update_running_statistics(
                running, self.statistics, count=a.size // a.shape[1]
            )
            self.running = updated._asdict()
        return batch_norm.batch_norm(a, self.statistics, **self.weights)

    def backward(self, delta: Array) -> Array:
        """Apply the derivative of (40) in training mode."""
        dz, self.gradients["gamma"], self.gradients["beta"] = batch_norm.batch_norm_backward(
            delta, self.z, statistics=self.statistics, gamma=self.weights["gamma"]
        )
        return dz


@final
class Dropout(Layer):
    """Dropout (section 4.3): in training, each entry is kept with probability `keep`."""

    def __init__(self, keep: float, *, rng: np.random.Generator) -> None:
        super().__init__()
        regularization.require_keep(keep)
        self.keep, self.rng = keep, rng

    def forward(self, a: Array, *, training: bool) -> Array:
        """Apply the training or evaluation mode of section 4.3."""
        if not training:
            return regularization.dropout_in_evaluation(a)
        dropped, self.scale = regularization.dropout(a, self.keep, rng=self.rng)
        return dropped

    def backward(self, delta: Array) -> Array:
        """Apply the derivative of dropout in training mode."""
        return regularization.dropout_backward(delta, self.scale)


@final
class Flatten(Layer):
    """Reshapes feature maps (N, maps, H, W) to inputs of a dense layer, (N, maps x H x W)."""

    def forward(self, a: Array, *, training: bool) -> Array:  # noqa: ARG002
        """Return one row per sample."""
        self.shape = a.shape
        return a.reshape(len(a), -1)

    def backward(self, delta: Array) -> Array:
        """Reshape the error back to the shape of the input."""
        return delta.reshape(self.shape)
