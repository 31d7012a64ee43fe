"""The array types that several packages share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]
AnyFloatArray = NDArray[np.floating[Any]]
PixelArray = NDArray[np.uint8]
