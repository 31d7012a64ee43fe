r"""Pooling (report section 2, equations 31a and 31b, and the size of what comes out).

Shapes: z is (N, maps, H, W), what comes out (N, maps, H_out, W_out), each entry from a region of
p x p. Unless told the stride is p: regions touch. Average pooling is not numbered in the report,
but its own network uses it.
"""

import numpy as np

from veduta.foundations.arrays import Array, require


def output_size(width: int, p: int, *, stride: int) -> int:
    r"""Size of a pooling: W_{out} = \left\lfloor \frac{W - p}{S} \right\rfloor + 1.

    Args:
        width: W, of the feature map.
        p: p, of the region.
        stride: S, how far the region moves.

    >>> [output_size(width, 3, stride=3) for width in (146, 44, 10)]
    [48, 14, 3]
    """
    require(p >= 1 and stride >= 1, "p and stride are 1 or more", f"p={p}, stride={stride}")
    require(width >= p, "the region fits into the map", f"region {p}, map {width}")
    return (width - p) // stride + 1


def max_pool(z: Array, p: int, *, stride: int | None = None) -> Array:
    r"""Equation 31a: z_{i,j} = \max \{ z_{i+n-1,\, j+m-1} : 1 \le n, m \le p \}.

    Args:
        z: feature maps, (N, maps, H, W).
        p: p, the side of a region.
        stride: S, where None the side of the region.

    >>> max_pool(np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), 2)
    array([[[[4.]]]])
    """
    return np.asarray(regions(z, p, stride).max(axis=0))


def max_pool_backward(delta: Array, z: Array, *, p: int, stride: int | None = None) -> Array:
    r"""Derivative of (31a): the error goes to the largest entry; to the first of equal ones.

    >>> max_pool_backward(np.array([[[[1.0]]]]), np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), p=2)
    array([[[[0., 1.],
             [0., 0.]]]])
    """
    require_pooled(delta, z, p, stride)
    winner = regions(z, p, stride).argmax(axis=0)
    shares = (winner == np.arange(p * p)[:, None, None, None, None]) * delta
    return collect(shares, z.shape, stride=stride)


def l2_pool(z: Array, p: int, *, stride: int | None = None) -> Array:
    r"""Equation 31b: z_{i,j} = \sqrt{\sum_{n=1}^p \sum_{m=1}^p z_{i+n-1,\, j+m-1}^2}.

    A norm, so it grows with p; over p it is the root of the mean square.

    Args:
        z: feature maps, (N, maps, H, W).
        p: p, the side of a region.
        stride: S, where None the side of the region.

    >>> l2_pool(np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), 2)
    array([[[[5.]]]])
    """
    return np.asarray(np.sqrt((regions(z, p, stride) ** 2).sum(axis=0)))


def l2_pool_backward(delta: Array, z: Array, *, p: int, stride: int | None = None) -> Array:
    r"""Derivative of (31b): \partial z_{i,j} / \partial z = z / z_{i,j}, 0 where all entries are 0.

    >>> l2_pool_backward(np.array([[[[1.0]]]]), np.array([[[[3.0, 4.0], [0.0, 0.0]]]]), p=2)
    array([[[[0.6, 0.8],
             [0. , 0. ]]]])
    """
    require_pooled(delta, z, p, stride)
    norm = l2_pool(z, p, stride=stride)
    shares = regions(z, p, stride) * (delta / np.where(norm > 0, norm, 1.0))
    return collect(shares, z.shape, stride=stride)


def average_pool(z: Array, p: int, *, stride: int | None = None) -> Array:
    r"""Average pooling: z_{i,j} = \frac{1}{p^2} \sum_{n=1}^p \sum_{m=1}^p z_{i+n-1,\, j+m-1}.

    >>> average_pool(np.array([[[[3.0, 4.0], [0.0, 1.0]]]]), 2)
    array([[[[2.]]]])
    """
    return np.asarray(regions(z, p, stride).mean(axis=0))


def average_pool_backward(delta: Array, z: Array, *, p: int, stride: int | None = None) -> Array:
    r"""Derivative of average pooling: every entry gets 1 / p^2 of the error.

    >>> average_pool_backward(np.array([[[[1.0]]]]), np.zeros((1, 1, 2, 2)), p=2)[0, 0, 0]
    array([0.25, 0.25])
    """
    require_pooled(delta, z, p, stride)
    shares = np.broadcast_to(delta / p**2, (p * p, *delta.shape))
    return collect(shares, z.shape, stride=stride)


def regions(z: Array, p: int, stride: int | None = None) -> Array:
    """Entry n of every region, for each of its p x p entries: (p x p, N, maps, H_out, W_out)."""
    return np.stack([z[place] for place in places(z.shape, p, stride=stride)])


def pooled_shape(shape: tuple[int, ...], p: int, stride: int) -> tuple[int, int, int, int]:
    """The shape of what comes out, (N, maps, H_out, W_out)."""
    require(len(shape) == 4, "z is (N, maps, H, W)", shape)
    rows, columns = (output_size(size, p, stride=stride) for size in shape[2:])
    return shape[0], shape[1], rows, columns


def require_pooled(delta: Array, z: Array, p: int, stride: int | None) -> None:
    """Raise ValueError unless an error has the shape of what was pooled from z."""
    shape = pooled_shape(z.shape, p, p if stride is None else stride)
    require(delta.shape == shape, f"delta has the shape of what was pooled, {shape}", delta.shape)


def collect(shares: Array, shape: tuple[int, ...], *, stride: int | None = None) -> Array:
    """Add every entry of every region onto the map it came from: `regions` backwards."""
    dz, p = np.zeros(shape), int(np.sqrt(len(shares)))
    for share, place in zip(shares, places(shape, p, stride=stride), strict=True):
        dz[place] += share
    return dz


def places(
    shape: tuple[int, ...], p: int, *, stride: int | None
) -> list[tuple[slice, slice, slice, slice]]:
    """Where entry n of every region lies, for each of the p x p entries, row by row."""
    step = p if stride is None else stride
    rows, columns = (size * step for size in pooled_shape(shape, p, step)[2:])
    whole = slice(None)
    return [
        (whole, whole, slice(n, n + rows, step), slice(m, m + columns, step))
        for n, m in np.ndindex(p, p)
    ]
