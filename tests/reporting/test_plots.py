"""Formatting of numbers in captions."""

import math

import pytest

from veduta.reporting.figures.plots import format_number


@pytest.mark.parametrize(
    ("number", "text"),
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
def test_numbers_are_rounded_and_formatted(number: float, text: str) -> None:
    assert format_number(number) == text


def test_the_number_of_significant_digits() -> None:
    assert format_number(4.4e6, 1) == "4,000,000"
    assert format_number(3e-10, 1) == "3 × 10⁻¹⁰"  # noqa: RUF001
