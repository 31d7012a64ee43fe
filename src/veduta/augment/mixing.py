"""MixUp and CutMix: combine each image with another one, and their labels in the same proportion.

They mix the input of the trainable stages: pixels if no stage is frozen, otherwise the feature maps
of the frozen stages, which are computed once per image. The method, the weight lambda and the box
of an image are pure functions of (seed, epoch, sample); its partner depends in addition on the set
of training images, but never on batches. The loss is
lambda * C(own label) + (1 - lambda) * C(label of the partner).

Sources: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization; Yun et al. 2019, CutMix;
for feature maps Verma et al. 2019, Manifold Mixup.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from veduta.augment.registry import select_mixing_augmentations
from veduta.runtime.streams import derive_key, draw_uniforms, shuffle
from veduta.types import FloatArray, IndexArray, KeyArray, PixelArray

ImageBatch = PixelArray | NDArray[np.float32]
"""(n, S, S, C): pixels of images, or feature maps with channels last."""

ALPHA: Final = {"mixup": 0.2, "cutmix": 1.0}  # lambda is drawn from Beta(alpha, alpha)
MIXUP_LEVELS: Final = 256  # lambda of MixUp is a multiple of 1/256, so sums of pixels are exact


def assign_partners(
    keys: KeyArray, *, names: Collection[str], seed: int, epoch: int
) -> IndexArray | None:
    """Assign each training image the partner that it is mixed with in an epoch.

    The images are shuffled into a cycle, and the partner is the next one in it. So each image is
    the partner of exactly one image, and of itself only if there is no other.

    Args:
        keys: (n,) keys of all training images in canonical order.
        names: augmentations; those that do not mix images are ignored.
        seed: random seed of the run.
        epoch: from 1.

    Returns:
        Indices of the partners, (n,); None if no augmentation mixes images.
    """
    if not select_mixing_augmentations(names):
        return None
    cycle = shuffle(derive_key(seed, "augment", "partners", epoch), keys)
    partners = np.empty_like(cycle)
    partners[cycle] = np.roll(cycle, -1)
    return partners


def mix_images(
    images: ImageBatch,
    partners: ImageBatch,
    keys: KeyArray,
    *,
    names: Collection[str],
    seed: int,
    epoch: int,
) -> tuple[ImageBatch, NDArray[np.float32]]:
    """Mix images with their partners, each by one randomly chosen method.

    Args:
        images: (n, S, S, C) uint8 pixels, or float32 feature maps.
        partners: (n, S, S, C) the image that each is mixed with.
        keys: (n,) one 64-bit number per image.
        names: augmentations; those that do not mix images are ignored.
        seed: random seed of the run.
        epoch: from 1.

    Returns:
        Mixed images, (n, S, S, C), and the weight lambda (n,) of each original image, which is 1
        if no augmentation mixes images.
    """
    weights = np.ones(len(images), np.float32)
    if not (methods := select_mixing_augmentations(names)):
        return images, weights
    mixed = images.copy()
    numbers = draw_uniforms(derive_key(seed, "augment", "mixes", epoch), keys, 1)[:, 0]
    method_index = (numbers * len(methods)).astype(int)
    for index, method in enumerate(methods):
        rows = np.flatnonzero(method_index == index)
        u = draw_uniforms(derive_key(seed, "augment", method, epoch), keys[rows], 3).astype(
            np.float64
        )
        lam = betaincinv(ALPHA[method], ALPHA[method], u[:, 0])
        if method == "mixup":
            weights[rows] = apply_mixup(mixed, partners, np.rint(MIXUP_LEVELS * lam), rows=rows)
        else:
            boxes = compute_cutmix_boxes(lam, u[:, 1:], mixed.shape[1])
            weights[rows] = apply_cutmix(mixed, partners, boxes, rows=rows)
    return mixed, weights


def apply_mixup(
    images: ImageBatch, partners: ImageBatch, levels: FloatArray, *, rows: IndexArray
) -> FloatArray:
    """Replace images by weighted means of each image and its partner; pixels are rounded.

    Args:
        images: (n, S, S, C) uint8 or float32; changed in place.
        partners: (n, S, S, C) the image that each is mixed with.
        levels: (m,) weights of the original images, in units of 1 / `MIXUP_LEVELS`.
        rows: (m,) indices of the images that are mixed.

    Returns:
        The weights lambda, (m,).
    """
    is_pixels = images.dtype.kind == "u"
    typed_levels = levels.astype(np.uint16 if is_pixels else np.float32)
    for row, level in zip(rows, typed_levels, strict=True):
        total = images[row] * level + partners[row] * (level.dtype.type(MIXUP_LEVELS) - level)
        images[row] = (
            (total + MIXUP_LEVELS // 2) // MIXUP_LEVELS if is_pixels else total / MIXUP_LEVELS
        )
    return levels / MIXUP_LEVELS


def compute_cutmix_boxes(lam: FloatArray, u: FloatArray, size: int) -> IndexArray:
    """Compute square boxes (n, 4) left, top, right, bottom with a fraction 1 - lam of the area.

    Their centers are uniform in the image, given by `u` (n, 2) in [0, 1), and they are clipped at
    the edges. Sides are integers, rounded down, so less is replaced on small feature maps: on
    average a quarter of the area for 5 x 5, 0.3 for 19 x 19, and nothing for 1 x 1.
    """
    side = (size * np.sqrt(1 - lam)).astype(np.intp)[:, None]
    start = (size * u).astype(np.intp) - side // 2
    return np.concatenate([start, start + side], axis=1).clip(0, size)


def apply_cutmix(
    images: ImageBatch, partners: ImageBatch, boxes: IndexArray, *, rows: IndexArray
) -> FloatArray:
    """Replace a box of each image by the same box of its partner.

    Args:
        images: (n, S, S, C) uint8 or float32; changed in place.
        partners: (n, S, S, C) the image that each is mixed with.
        boxes: (m, 4) left, top, right, bottom.
        rows: (m,) indices of the images that are mixed.

    Returns:
        The weights lambda, (m,): the fraction of the area that is not replaced.
    """
    for row, (left, top, right, bottom) in zip(rows, boxes.tolist(), strict=True):
        images[row, top:bottom, left:right] = partners[row, top:bottom, left:right]
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return np.asarray(1 - width * height / images.shape[1] ** 2)
