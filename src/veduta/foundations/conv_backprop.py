r"""Back-propagation through a convolution (report section 2.1, equations 32-36).

Shapes: a = psi(z) is (N, channels, H, W), kernels w (maps, channels, k, k), delta_next, the error
of the feature maps, (N, maps, H_out, W_out). Padding, border and stride are those of `convolve`.
"""

from collections.abc import Callable

import numpy as np

from veduta.foundations.arrays import Array, require
from veduta.foundations.convolution import (
    Border,
    convolve,
    map_size,
    pad,
    patches,
    require_border,
    require_kernels,
    rot180,
)
from veduta.foundations.gradcheck import numerical_gradient


def error_by_definition(cost: Callable[[Array], float], z: Array) -> Array:
    r"""Equation 32: \delta_{x,y}^l = \frac{\partial C}{\partial z_{x,y}^l}.

    By central differences, straight from the definition: what (33) and (34) must agree with.

    Args:
        cost: C, as a function of z.
        z: z^l, of any shape.

    >>> error_by_definition(lambda z: float((z**2).sum()), np.array([[1.0, -3.0]])).round(6)
    array([[ 2., -6.]])
    """
    return numerical_gradient(cost, z)


def hidden_error_by_sums(delta_next: Array, w: Array, *, slope: Array) -> Array:
    r"""Equation 33: \delta_{xy}^l = \sum_{uv} \delta_{uv}^{l+1} \partial z_{uv} / \partial z_{xy}.

    The derivative is w_{u-x,v-y} \psi'(z_{xy}) inside the kernel and 0 outside; u, v run over
    the next layer (x', y' in the report). Written out for one image, one channel, no padding.

    Args:
        delta_next: \delta^{l+1}, (H - k + 1, W - k + 1).
        w: w^{l+1}, (k, k).
        slope: \psi'(z^l), (H, W).

    >>> hidden_error_by_sums(np.array([[2.0]]), np.array([[1.0, 3.0]] * 2), slope=np.ones((2, 2)))
    array([[6., 2.],
           [6., 2.]])
    """
    k = len(w)
    fits = w.shape == (k, k) and delta_next.shape == tuple(n - k + 1 for n in slope.shape)
    received = f"{delta_next.shape}, {w.shape} and {slope.shape}"
    require(fits, "delta_next is (H - k + 1, W - k + 1), w (k, k), slope (H, W)", received)
    delta = np.zeros(slope.shape)
    for x, y in np.ndindex(slope.shape):
        for x_next, y_next in np.ndindex(delta_next.shape):
            a, b = x_next + k - 1 - x, y_next + k - 1 - y  # z_next starts k - 1 pixels into z
            if 0 <= a < k and 0 <= b < k:
                delta[x, y] += delta_next[x_next, y_next] * w[a, b] * slope[x, y]
    return delta


def hidden_error(
    delta_next: Array,
    w: Array,
    *,
    slope: Array,
    stride: int = 1,
    padding: int = 0,
    border: Border = "constant",
) -> Array:
    r"""Equation 34: \delta^l = \delta^{l+1} * \mathrm{ROT180}(w^{l+1}) \psi'(z^l).

    A convolution over the whole overlap, with maps and channels exchanged. A stride puts zeros
    between the errors first; what a border copied is added back to where it came from.

    Args:
        delta_next: \delta^{l+1}, (N, maps, H_out, W_out).
        w: w^{l+1}, (maps, channels, k, k).
        slope: \psi'(z^l), (N, channels, H, W).
        stride: S, of the forward pass.
        padding: p, of the forward pass.
        border: the border of the forward pass.

    >>> delta = np.full((1, 1, 1, 1), 2.0)
    >>> hidden_error(delta, np.array([[[[1.0, 3.0]] * 2]]), slope=np.ones((1, 1, 2, 2)))
    array([[[[6., 2.],
             [6., 2.]]]])
    """
    require_kernels(slope, w)
    k = w.shape[2]
    maps = (len(slope), len(w), *map_size(slope, k, padding=padding, stride=stride))
    require_maps(delta_next, maps, "delta_next")
    height, width = (size + 2 * padding + k - 1 for size in slope.shape[2:])
    spread = np.zeros((*maps[:2], height, width))
    rows, columns = (size * stride for size in maps[2:])
    spread[:, :, k - 1 : k - 1 + rows : stride, k - 1 : k - 1 + columns : stride] = delta_next
    exchanged = rot180(w).swapaxes(0, 1)
    delta = convolve(spread, exchanged, b=np.zeros(len(exchanged)))
    return pad_backward(delta, padding, border=border) * slope


def pad_backward(delta: Array, padding: int, *, border: Border) -> Array:
    r"""Derivative of `pad`: the error of a copy is added to the pixel it was copied from.

    >>> pad_backward(np.ones((1, 1, 5, 5)), 1, border="wrap")[0, 0, 1]
    array([2., 1., 2.])
    """
    height, width = (size - 2 * padding for size in delta.shape[2:])
    require_border((height, width), padding, border)
    if border == "constant":
        return delta[:, :, padding : padding + height, padding : padding + width]
    rows, columns = (
        np.eye(size)[np.pad(np.arange(size), padding, mode=border)] for size in (height, width)
    )
    return np.asarray(rows.T @ delta @ columns)  # rows[i] has its 1 where pixel i was copied from


def kernel_gradient(
    delta: Array,
    a: Array,
    *,
    k: int,
    stride: int = 1,
    padding: int = 0,
    border: Border = "constant",
) -> Array:
    r"""Equation 35: \partial C / \partial w_{ab} = \sum_{xy} \delta_{xy}^l \psi(z_{x-a,y-b}^{l-1}).

    Args:
        delta: \delta^l, the error of the feature maps, (N, maps, H_out, W_out).
        a: \psi(z^{l-1}), what the layer received, (N, channels, H, W).
        k: k, of the kernel.
        stride: S, of the forward pass.
        padding: p, of the forward pass.
        border: the border of the forward pass.

    Returns:
        Summed over the batch, (maps, channels, k, k).

    >>> kernel_gradient(np.full((1, 1, 1, 1), 2.0), np.arange(4.0).reshape(1, 1, 2, 2), k=2)
    array([[[[6., 4.],
             [2., 0.]]]])
    """
    sizes = map_size(a, k, padding=padding, stride=stride)
    require_maps(delta, (len(a), *delta.shape[1:2], *sizes), "delta")
    seen = patches(pad(a, padding, border), k, stride=stride)
    errors = delta.reshape(*delta.shape[:2], -1)
    gradient = (errors @ seen.swapaxes(1, 2)).sum(axis=0)
    return rot180(gradient.reshape(delta.shape[1], a.shape[1], k, k))


def bias_gradient(delta: Array) -> Array:
    r"""Equation 36: \frac{\partial C}{\partial b_{x,y}^l} = \delta_{x,y}^l.

    Of an untied bias; a tied one is in `tied_bias_gradient`.

    Args:
        delta: \delta^l, (N, maps, H_out, W_out).

    Returns:
        Summed over the batch, (maps, H_out, W_out).

    >>> bias_gradient(np.ones((2, 1, 1, 2)))
    array([[[2., 2.]]])
    """
    require(delta.ndim == 4, "delta is (N, maps, H_out, W_out)", delta.shape)
    return np.asarray(delta.sum(axis=0))


def tied_bias_gradient(delta: Array) -> Array:
    r"""Equation 36 for a tied bias: \frac{\partial C}{\partial b^l} = \sum_{x,y} \delta_{x,y}^l.

    >>> tied_bias_gradient(np.ones((2, 1, 1, 2)))
    array([4.])
    """
    return np.asarray(bias_gradient(delta).sum(axis=(1, 2)))


def require_maps(delta: Array, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless an error has the shape of the feature maps it belongs to."""
    require(delta.shape == shape, f"{name} has the shape of the feature maps, {shape}", delta.shape)
