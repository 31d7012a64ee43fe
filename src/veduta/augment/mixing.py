"""MixUp and CutMix: an image and its partner become one, and share the label as they do the pixels.

They mix what the stages that train are given: pixels where nothing is frozen, else the feature maps
of the frozen stages, which are made once and kept for one image each. A pair, its share and its
place are pure functions of (seed, epoch, sample); who pairs with whom depends on the set of
training images too, never on batches. The loss is share * C(label) + (1 - share) * C(partner's).

Sources: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization; Yun et al. 2019, CutMix; of
maps Verma et al. 2019, Manifold Mixup.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from veduta.augment.matrices import Array
from veduta.augment.registry import mix_names
from veduta.runtime.streams import Keys, order, stream, uniforms

Grids = NDArray[np.uint8] | NDArray[np.float32]
"""(n, S, S, C): pixels of images, or feature maps with their channels last."""

ALPHA: Final = {"mixup": 0.2, "cutmix": 1.0}  # the share is drawn from Beta(alpha, alpha)
PARTS: Final = 256  # a share of MixUp is a whole number of them, so a sum of pixels is exact


def partners(
    keys: Keys, *, names: Collection[str], seed: int, epoch: int
) -> NDArray[np.intp] | None:
    """Whom each training image is mixed with in an epoch: the next one in a shuffled circle.

    So every image is the partner of exactly one, and none its own where there are two.

    Args:
        keys: (n,), of all training images in canonical order.
        names: of the setting `augment`.
        seed: of the run.
        epoch: from 1.

    Returns:
        Indices (n,); None where `names` mix nothing.
    """
    if not mix_names(names):
        return None
    circle = order(stream(seed, "augment", "partners", epoch), keys)
    found = np.empty_like(circle)
    found[circle] = np.roll(circle, -1)
    return found


def mix(
    own: Grids, others: Grids, keys: Keys, *, names: Collection[str], seed: int, epoch: int
) -> tuple[Grids, NDArray[np.float32]]:
    """Images mixed with their partners, each by one of `names` that its own coin takes.

    Args:
        own: (n, S, S, C), views of images: uint8 pixels, or float32 maps.
        others: the like, of their partners.
        keys: (n,), one 64-bit number an image.
        names: of the setting `augment`.
        seed: of the run.
        epoch: from 1.

    Returns:
        Mixed images, (n, S, S, C), and the share (n,) that each keeps of itself: 1 where `names`
        mix nothing.
    """
    shares = np.ones(len(own), np.float32)
    if not (known := mix_names(names)):
        return own, shares
    out = own.copy()
    coins = uniforms(stream(seed, "augment", "mixes", epoch), keys, 1)[:, 0]
    taken = (coins * len(known)).astype(int)
    for number, name in enumerate(known):
        chosen = np.flatnonzero(taken == number)
        u = uniforms(stream(seed, "augment", name, epoch), keys[chosen], 3).astype(np.float64)
        drawn = betaincinv(ALPHA[name], ALPHA[name], u[:, 0])
        if name == "mixup":
            shares[chosen] = mixup(out, others, np.rint(PARTS * drawn), chosen=chosen)
        else:
            shares[chosen] = cutmix(
                out, others, boxes(drawn, u[:, 1:], out.shape[1]), chosen=chosen
            )
    return out, shares


def mixup(
    own: Grids, others: Grids, parts: Array, *, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The weighted mean of the `chosen` images and of their partners, in place of them.

    That of pixels is rounded.

    Args:
        own: (n, S, S, C), uint8 or float32; changed.
        others: the like.
        parts: (m,), how many of `PARTS` each keeps of itself.
        chosen: (m,), indices.

    Returns:
        The shares that they keep, (m,).
    """
    whole = own.dtype.kind == "u"
    for index, part in zip(chosen, parts.astype(np.uint16 if whole else np.float32), strict=True):
        mixed = own[index] * part + others[index] * (part.dtype.type(PARTS) - part)
        own[index] = (mixed + PARTS // 2) // PARTS if whole else mixed / PARTS
    return parts / PARTS


def boxes(shares: Array, u: Array, size: int) -> NDArray[np.intp]:
    """Squares (n, 4) left, top, right, bottom, of 1 - shares of the area, cut at the image's edge.

    Their middles are uniform in the image: `u` (n, 2) in [0, 1). A side is a whole number, rounded
    down: on coarse maps less is cut (of 5 x 5 a quarter on average, of 19 x 19 0.3), of 1 x 1 none.
    """
    side = (size * np.sqrt(1 - shares)).astype(np.intp)[:, None]
    start = (size * u).astype(np.intp) - side // 2
    return np.concatenate([start, start + side], axis=1).clip(0, size)


def cutmix(
    own: Grids, others: Grids, places: NDArray[np.intp], *, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """A box of each of the `chosen` images replaced by that of its partner.

    Args:
        own: (n, S, S, C), uint8 or float32; changed.
        others: the like.
        places: (m, 4): left, top, right, bottom.
        chosen: (m,), indices.

    Returns:
        The shares that they keep, (m,): of the real area.
    """
    for index, (left, top, right, bottom) in zip(chosen, places.tolist(), strict=True):
        own[index, top:bottom, left:right] = others[index, top:bottom, left:right]
    width, height = (places[:, 2:] - places[:, :2]).T
    return np.asarray(1 - width * height / own.shape[1] ** 2)
