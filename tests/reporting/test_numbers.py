import math

import pytest

from veduta.reporting.figures.plots import as_written


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-0.0206, "-0.021"),
        (149.0, "150"),
        (14052.1, "14,000"),
        (4.2e6, "4,200,000"),
        (9.89e-6, "9.9 × 10⁻⁶"),  # noqa: RUF001
        (3.1e12, "3.1 × 10¹²"),  # noqa: RUF001
        (math.inf, "infinite"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_as_people_write_them(number: float, written: str) -> None:
    assert as_written(number) == written


def test_digits() -> None:
    assert as_written(4.4e6, 1) == "4,000,000"
    assert as_written(3e-10, 1) == "3 × 10⁻¹⁰"  # noqa: RUF001
