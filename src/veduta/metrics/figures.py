"""A figure of merit as Veduta tells it: never without its interval and the images behind it."""

import math
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure with its 95 % interval and the number of images behind it.

    What nothing was measured for is NaN, and None in summary.json.
    """

    value: float
    low: float
    high: float
    images: int

    def as_dict(self) -> dict[str, Any]:
        """As it stands in summary.json.

        >>> Figure(0.5, 0.25, 0.75, 8).as_dict()
        {'value': 0.5, 'low': 0.25, 'high': 0.75, 'images': 8}
        """
        found = {"value": self.value, "low": self.low, "high": self.high}
        return {**{name: number(value) for name, value in found.items()}, "images": self.images}

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "not measured"
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f})"


def number(value: float) -> float | None:
    """A number as JSON has it: where there is none, None."""
    return None if math.isnan(value) else float(value)
