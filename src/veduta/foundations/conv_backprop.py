r"""Backpropagation through a convolution (report section 2.1, equations 32-36).

Shapes: a = psi(z) is (N, channels, H, W), the kernels w are (maps, channels, k, k), and
delta_next, the error of the feature maps, is (N, maps, H_out, W_out). Stride, padding and border
are the arguments of `convolve` in the forward pass.
"""

from collections.abc import Callable

import numpy as np

from veduta.foundations.arrays import Array, require
from veduta.foundations.checks import numerical_gradient
from veduta.foundations.convolution import (
    Border,
    convolve,
    extract_patches,
    feature_map_size,
    pad,
    require_border,
    require_kernels,
    rot180,
)


def error_by_definition(cost: Callable[[Array], float], z: Array) -> Array:
    r"""Equation 32: \delta_{x,y}^l = \frac{\partial C}{\partial z_{x,y}^l}.

    Computed by central differences, as a reference for (33) and (34).

    Args:
        cost: C, as a function of z.
        z: z^l, of any shape.

    >>> error_by_definition(lambda z: float((z**2).sum()), np.array([[1.0, -3.0]])).round(6)
    array([[ 2., -6.]])
    """
    return numerical_gradient(cost, z)


def hidden_error_by_sums(delta_next: Array, w: Array, *, slope: Array) -> Array:
    r"""Equation 33: \delta_{xy}^l = \sum_{uv} \delta_{uv}^{l+1} \partial z_{uv} / \partial z_{xy}.

    The derivative is w_{u-x,v-y} \psi'(z_{xy}) inside the kernel and 0 outside. The indices u, v
    run over the next layer (x', y' in the report). Implemented with explicit loops for one image,
    one channel and no padding, as a reference for (34).

    Args:
        delta_next: \delta^{l+1}, (H - k + 1, W - k + 1).
        w: w^{l+1}, (k, k).
        slope: \psi'(z^l), (H, W).

    >>> hidden_error_by_sums(np.array([[2.0]]), np.array([[1.0, 3.0]] * 2), slope=np.ones((2, 2)))
    array([[6., 2.],
           [6., 2.]])
    """
    k = len(w)
    valid = w.shape == (k, k) and delta_next.shape == tuple(n - k + 1 for n in slope.shape)
    received = f"{delta_next.shape}, {w.shape} and {slope.shape}"
    rule = "delta_next must be (H - k + 1, W - k + 1), w (k, k) and slope (H, W)"
    require(valid, rule, received)
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

    A convolution over all positions where error and kernel overlap, with the axes of maps and
    channels exchanged. For a stride above 1, zeros are inserted between the errors first. The
    errors of padding pixels are added to the pixels they were copied from.

    Args:
        delta_next: \delta^{l+1}, (N, maps, H_out, W_out).
        w: w^{l+1}, (maps, channels, k, k).
        slope: \psi'(z^l), (N, channels, H, W).
        stride: S, as in the forward pass.
        padding: p, as in the forward pass.
        border: values of the padding pixels, as in the forward pass.

    Returns:
        \delta^l, (N, channels, H, W).

    >>> delta = np.full((1, 1, 1, 1), 2.0)
    >>> hidden_error(delta, np.array([[[[1.0, 3.0]] * 2]]), slope=np.ones((1, 1, 2, 2)))
    array([[[[6., 2.],
             [6., 2.]]]])
    """
    require_kernels(slope, w)
    k = w.shape[2]
    maps = (len(slope), len(w), *feature_map_size(slope, k, padding=padding, stride=stride))
    require_feature_maps(delta_next, maps, "delta_next")
    height, width = (size + 2 * padding + k - 1 for size in slope.shape[2:])
    dilated = np.zeros((*maps[:2], height, width))
    rows, columns = (size * stride for size in maps[2:])
    dilated[:, :, k - 1 : k - 1 + rows : stride, k - 1 : k - 1 + columns : stride] = delta_next
    exchanged = rot180(w).swapaxes(0, 1)
    delta = convolve(dilated, exchanged, b=np.zeros(len(exchanged)))
    return pad_backward(delta, padding, border=border) * slope


def pad_backward(delta: Array, padding: int, *, border: Border) -> Array:
    r"""Derivative of `pad`: the error of each copy is added to the pixel it was copied from.

    Args:
        delta: error of the padded images, (N, channels, H + 2p, W + 2p).
        padding: p, as in the forward pass.
        border: values of the padding pixels, as in the forward pass.

    Returns:
        The error of the images, (N, channels, H, W).

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
    return np.asarray(rows.T @ delta @ columns)  # rows[i] is 1 at the pixel that i was copied from


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
        a: \psi(z^{l-1}), the input of the layer, (N, channels, H, W).
        k: k, the kernel size.
        stride: S, as in the forward pass.
        padding: p, as in the forward pass.
        border: values of the padding pixels, as in the forward pass.

    Returns:
        The gradient summed over the batch, (maps, channels, k, k).

    >>> kernel_gradient(np.full((1, 1, 1, 1), 2.0), np.arange(4.0).reshape(1, 1, 2, 2), k=2)
    array([[[[6., 4.],
             [2., 0.]]]])
    """
    sizes = feature_map_size(a, k, padding=padding, stride=stride)
    require_feature_maps(delta, (len(a), *delta.shape[1:2], *sizes), "delta")
    patches = extract_patches(pad(a, padding, border), k, stride=stride)
    errors = delta.reshape(*delta.shape[:2], -1)
    gradient = (errors @ patches.swapaxes(1, 2)).sum(axis=0)
    return rot180(gradient.reshape(delta.shape[1], a.shape[1], k, k))


def bias_gradient(delta: Array) -> Array:
    r"""Equation 36: \frac{\partial C}{\partial b_{x,y}^l} = \delta_{x,y}^l.

    This is the gradient of an untied bias; `tied_bias_gradient` computes that of a tied bias.

    Args:
        delta: \delta^l, (N, maps, H_out, W_out).

    Returns:
        The gradient summed over the batch, (maps, H_out, W_out).

    >>> bias_gradient(np.ones((2, 1, 1, 2)))
    array([[[2., 2.]]])
    """
    require(delta.ndim == 4, "delta must be (N, maps, H_out, W_out)", delta.shape)
    return np.asarray(delta.sum(axis=0))


def tied_bias_gradient(delta: Array) -> Array:
    r"""Equation 36 for a tied bias: \frac{\partial C}{\partial b^l} = \sum_{x,y} \delta_{x,y}^l.

    Args:
        delta: \delta^l, (N, maps, H_out, W_out).

    Returns:
        The gradient summed over the batch, (maps,).

    >>> tied_bias_gradient(np.ones((2, 1, 1, 2)))
    array([4.])
    """
    return np.asarray(bias_gradient(delta).sum(axis=(1, 2)))


def require_feature_maps(delta: Array, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless the error `delta` has the shape of its feature maps."""
    rule = f"{name} must have the shape of the feature maps, {shape}"
    require(delta.shape == shape, rule, delta.shape)
