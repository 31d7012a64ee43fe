"""Array types and the progress protocol that all packages share."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]
AnyFloatArray = NDArray[np.floating[Any]]
PixelArray = NDArray[np.uint8]
Float32Array = NDArray[np.float32]
KeyArray = NDArray[np.uint64]


class Progress(Protocol):
    """Receives the progress of long work."""

    def __call__(self, done: int, total: int, /) -> None:
        """Report that `done` of `total` units are done."""


def ignore_progress(_done: int, _total: int, /) -> None:
    """Ignore the progress of long work."""
