"""The bootstrap: what a figure would have been on other images of the same kind.

Counts. A draw takes as many images as there are from the cells (truth, prediction) that they fell
into, with one image more spread evenly over all cells: without it a cell that happened to stay
empty could never be drawn, and a classifier without an error would be certain never to err. The
draws' own bias, their mean less the figure of what they are drawn from, is taken off the
percentiles: F1 of a class of few images is lower in a draw than in what is drawn from.

In simulation (3 to 20 classes, 60 to 900 images, accuracy 0.8 to 0.99, even and uneven classes, 600
times each) this interval holds the true macro F1, kappa, balanced accuracy and macro precision in
92 to 99 % of the cases. Plain percentiles fall to 84 % for macro F1, BCa to 87 %, both where errors
are rare and a class is small.

Figures of scores, which no table of cells holds, are drawn image by image.

Source: B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapters 10 and 13.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from veduta.metrics.counts import Counts, Numbers
from veduta.metrics.figures import Figure
from veduta.runtime.streams import stream

DRAWS = 1000
AT_ONCE = 100  # draws in memory, where images are drawn one by one
ENDS = (0.025, 0.975)

Labels = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Resampled:
    """Counts of one classifier: as measured (K,), what is drawn from (K,), draws (draws, K)."""

    measured: Counts
    centre: Counts
    draws: Counts

    def figure(self, of: Callable[[Counts], Numbers], *, least: float = 0.0) -> Figure:
        """A figure between `least` and 1, with its interval."""
        (found,) = self.figures(lambda counts: of(counts)[..., None], least=least)
        return found

    def figures(self, of: Callable[[Counts], Numbers], *, least: float = 0.0) -> list[Figure]:
        """Figures (..., n), such as one a class, each with its interval."""
        values = of(self.measured)
        low, high = shifted(of(self.draws), of(self.centre), values)
        images = int(self.measured.images)
        ends = zip(values, np.clip(low, least, 1), np.clip(high, least, 1), strict=True)
        return [Figure(float(v), float(a), float(b), images) for v, a, b in ends]


def shifted(draws: Numbers, centre: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Percentiles of `draws` (draws, n), less their bias; each interval holds its value (n,)."""
    there = ~np.isnan(draws)
    counted = np.where(there.any(0), there.sum(0), 1)
    bias = np.where(there, draws, 0.0).sum(0) / counted - centre
    filled = np.where(there.any(0), draws, 0.0)
    low, high = np.nanquantile(filled, ENDS, axis=0) - bias if len(values) else (values, values)
    return np.minimum(low, values), np.maximum(high, values)  # NaN where there is no value


def resampled(
    truth: Labels, predictions: Sequence[Labels], *, classes: int, seed: int
) -> list[Resampled]:
    """Draws of the same images for each of several classifiers, one or two.

    Args:
        truth: (N,) class of each image.
        predictions: of each classifier, (N,).
        classes: how many there are.
        seed: of the draws.
    """
    generator = generator_of(seed, "cells")
    columns = np.stack([truth, *predictions])
    cells, often = np.unique(columns, axis=1, return_counts=True)
    images = columns.shape[1]
    shares = np.append(often, 1) / (images + 1)
    drawn = generator.multinomial(images, shares, DRAWS)
    spread = drawn[:, -1]
    extra = generator.integers(classes, size=(len(columns), int(spread.sum())))
    where = np.repeat(np.arange(DRAWS), spread)
    found = []
    for place in range(1, len(columns)):
        measured = _counted(cells[0], cells[place], often, classes)
        pair = [0, place]
        draws = _drawn(drawn[:, :-1], cells[pair], where=where, extra=extra[pair], classes=classes)
        found.append(Resampled(measured, _with_one_more(measured), draws))
    return found


def image_draws(images: int, seed: int, draws: int = DRAWS) -> Iterator[Numbers]:
    """How often each image is drawn, (`AT_ONCE` draws, images) at a time."""
    generator = generator_of(seed, "images")
    for _ in range(0, draws, AT_ONCE):
        yield generator.multinomial(images, np.full(images, 1 / images), AT_ONCE).astype(np.float64)


def mean_figure(values: Numbers, seed: int) -> Figure:
    """The mean of one value an image, (N,), with its percentile interval."""
    images = len(values)
    if not images:
        return Figure(np.nan, np.nan, np.nan, 0)
    drawn = np.concatenate([block @ values for block in image_draws(images, seed)]) / images
    low, high = np.quantile(drawn, ENDS)
    return Figure(float(values.mean()), float(low), float(high), images)


def generator_of(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of the bootstrap."""
    return np.random.Generator(np.random.Philox(key=int(stream(seed, "bootstrap", purpose))))


def _counted(truth: Labels, predicted: Labels, often: Labels, classes: int) -> Counts:
    """Counts of cells that occur `often`."""
    right = truth == predicted
    pairs = ((truth[right], often[right]), (predicted, often), (truth, often))
    return Counts(*(np.bincount(of, times, classes).astype(np.float64) for of, times in pairs))


def _with_one_more(measured: Counts) -> Counts:
    """Counts with one image more, spread evenly over all cells."""
    classes = len(measured.truth)
    return Counts(
        measured.hits + 1 / classes**2,
        measured.predicted + 1 / classes,
        measured.truth + 1 / classes,
    )


def _drawn(drawn: Labels, cells: Labels, *, where: Labels, extra: Labels, classes: int) -> Counts:
    """Counts of each draw.

    Args:
        drawn: (draws, cells) how often each cell was drawn.
        cells: (2, cells) truth and prediction.
        where: (M,) the draw of each image that fell anywhere.
        extra: (2, M) truth and prediction of these.
        classes: how many there are.
    """
    from scipy.sparse import csr_array

    def per_class(side: int, cell: NDArray[np.bool_], image: NDArray[np.bool_]) -> Numbers:
        places = np.flatnonzero(cell)
        at = cells[side][places], places
        to = csr_array((np.ones(len(places)), at), shape=(classes, len(cell)))
        found: Numbers = np.ascontiguousarray((to @ drawn.T).T)
        np.add.at(found, (where[image], extra[side][image]), 1)
        return found

    every = np.ones(cells.shape[1], bool), np.ones(len(where), bool)
    right = cells[0] == cells[1], extra[0] == extra[1]
    return Counts(per_class(0, *right), per_class(1, *every), per_class(0, *every))
