r"""Pooling and output sizes (report section 2, equations 31a and 31b).

Shapes: feature maps z are (N, maps, H, W), pooled maps (N, maps, H_out, W_out). Each pooled entry
is computed from a region of p x p entries. By default the stride is p, so that the regions do not
overlap. Average pooling has no equation number in the report, but the report's network uses it.
"""

import numpy as np

from veduta.foundations.arrays import Array, require


def output_size(width: int, p: int, *, stride: int) -> int:
    r"""Size of a pooling: W_{out} = \left\lfloor \frac{W - p}{S} \right\rfloor + 1.

    Args:
        width: W, the size of the feature map.
        p: p, the size of a region.
        stride: S, the step from region to region.

    >>> [output_size(width, 3, stride=3) for width in (146, 44, 10)]
    [48, 14, 3]
    """
    valid = p >= 1 and stride >= 1
    require(valid, "p and stride must be 1 or more", f"p={p}, stride={stride}")
    require(width >= p, "the region must fit into the map", f"region {p}, map {width}")
    return (width - p) // stride + 1


def max_pool(z: Array, p: int, *, stride: int | None = None) -> Array:
    r"""Equation 31a: z_{i,j} = \max \{ z_{i+n-1,\, j+m-1} : 1 \le n, m \le p \}.

    Args:
        z: feature maps, (N, maps, H, W).
        p: p, the size of a region.
        stride: S, the step from region to region; p if None.

    >>> max_pool(np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), 2)
    array([[[[4.]]]])
    """
    return np.asarray(extract_regions(z, p, stride).max(axis=0))


def max_pool_backward(delta: Array, z: Array, *, p: int, stride: int | None = None) -> Array:
    r"""Derivative of (31a): the error is passed to the largest entry, the first one if tied.

    Args:
        delta: error of the pooled maps, (N, maps, H_out, W_out).
        z: input of the forward pass, (N, maps, H, W).
        p: p, as in the forward pass.
        stride: S, as in the forward pass.

    Returns:
        The error of z, (N, maps, H, W).

    >>> max_pool_backward(np.array([[[[1.0]]]]), np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), p=2)
    array([[[[0., 1.],
             [0., 0.]]]])
    """
    require_pooled_shape(delta, z, p, stride)
    largest = extract_regions(z, p, stride).argmax(axis=0)
    errors = (largest == np.arange(p * p)[:, None, None, None, None]) * delta
    return scatter_regions(errors, z.shape, stride=stride)


def l2_pool(z: Array, p: int, *, stride: int | None = None) -> Array:
    r"""Equation 31b: z_{i,j} = \sqrt{\sum_{n=1}^p \sum_{m=1}^p z_{i+n-1,\, j+m-1}^2}.

    This is a norm, so it grows with p; divided by p it is the root mean square.

    Args:
        z: feature maps, (N, maps, H, W).
        p: p, the size of a region.
        stride: S, the step from region to region; p if None.

    >>> l2_pool(np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), 2)
    array([[[[5.]]]])
    """
    return np.asarray(np.sqrt((extract_regions(z, p, stride) ** 2).sum(axis=0)))


def l2_pool_backward(delta: Array, z: Array, *, p: int, stride: int | None = None) -> Array:
    r"""Derivative of (31b): \partial z_{i,j} / \partial z = z / z_{i,j}, or 0 where z_{i,j} = 0.

    Args:
        delta: error of the pooled maps, (N, maps, H_out, W_out).
        z: input of the forward pass, (N, maps, H, W).
        p: p, as in the forward pass.
        stride: S, as in the forward pass.

    Returns:
        The error of z, (N, maps, H, W).

    >>> l2_pool_backward(np.array([[[[1.0]]]]), np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), p=2)
    array([[[[0.6, 0.8],
             [0. , 0. ]]]])
    """
    require_pooled_shape(delta, z, p, stride)
    norm = l2_pool(z, p, stride=stride)
    errors = extract_regions(z, p, stride) * (delta / np.where(norm > 0, norm, 1.0))
    return scatter_regions(errors, z.shape, stride=stride)


def average_pool(z: Array, p: int, *, stride: int | None = None) -> Array:
    r"""Average pooling: z_{i,j} = \frac{1}{p^2} \sum_{n=1}^p \sum_{m=1}^p z_{i+n-1,\, j+m-1}.

    >>> average_pool(np.array([[[[3.0, 4.0], [0.0, 1.0]]]]), 2)
    array([[[[2.]]]])
    """
    return np.asarray(extract_regions(z, p, stride).mean(axis=0))


def average_pool_backward(delta: Array, z: Array, *, p: int, stride: int | None = None) -> Array:
    r"""Derivative of average pooling: every entry of a region receives 1 / p^2 of its error.

    >>> average_pool_backward(np.array([[[[1.0]]]]), np.zeros((1, 1, 2, 2)), p=2)[0, 0, 0]
    array([0.25, 0.25])
    """
    require_pooled_shape(delta, z, p, stride)
    errors = np.broadcast_to(delta / p**2, (p * p, *delta.shape))
    return scatter_regions(errors, z.shape, stride=stride)


def extract_regions(z: Array, p: int, stride: int | None = None) -> Array:
    """Return the p x p entries of all regions, (p x p, N, maps, H_out, W_out)."""
    return np.stack([z[slices] for slices in region_slices(z.shape, p, stride=stride)])


def pooled_shape(shape: tuple[int, ...], p: int, stride: int) -> tuple[int, int, int, int]:
    """Return the shape of the pooled maps, (N, maps, H_out, W_out)."""
    require(len(shape) == 4, "z must be (N, maps, H, W)", shape)
    rows, columns = (output_size(size, p, stride=stride) for size in shape[2:])
    return shape[0], shape[1], rows, columns


def require_pooled_shape(delta: Array, z: Array, p: int, stride: int | None) -> None:
    """Raise ValueError unless the error `delta` has the shape of the maps pooled from z."""
    shape = pooled_shape(z.shape, p, p if stride is None else stride)
    require(delta.shape == shape, f"delta must have the pooled shape {shape}", delta.shape)


def scatter_regions(errors: Array, shape: tuple[int, ...], *, stride: int | None = None) -> Array:
    """Add the entries of all regions to an array of the given shape: adjoint of extract_regions."""
    dz, p = np.zeros(shape), int(np.sqrt(len(errors)))
    for error, slices in zip(errors, region_slices(shape, p, stride=stride), strict=True):
        dz[slices] += error
    return dz


def region_slices(
    shape: tuple[int, ...], p: int, *, stride: int | None
) -> list[tuple[slice, slice, slice, slice]]:
    """Return, for each of the p x p entries of a region, the slices that select it in all regions.

    The entries are in row-major order.
    """
    step = p if stride is None else stride
    rows, columns = (size * step for size in pooled_shape(shape, p, step)[2:])
    everything = slice(None)
    return [
        (everything, everything, slice(n, n + rows, step), slice(m, m + columns, step))
        for n, m in np.ndindex(p, p)
    ]
