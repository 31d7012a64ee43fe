"""Numbers in sentences, written as people write them."""

import math

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def as_written(number: float, digits: int = 2) -> str:
    """A number rounded to so many digits, without an exponent where it is neither tiny nor huge.

    >>> [as_written(number) for number in (14052.1, 0.2498, 4e6, 9.89e-6, math.inf, 0.0)]
    ['14,000', '0.25', '4,000,000', '9.9 × 10⁻⁶', 'infinite', '0']
    """
    if not math.isfinite(number):
        return "infinite" if number > 0 else str(number)
    rounded = float(f"{number:.{digits}g}")
    if rounded == 0 or 1e-4 <= abs(rounded) < 1e9:
        text = f"{rounded:,.{digits + 4}f}"
        return text.rstrip("0").rstrip(".")
    mantissa, _, power = f"{rounded:.{digits - 1}e}".partition("e")
    return f"{mantissa} × 10{str(int(power)).translate(SUPERSCRIPTS)}"  # noqa: RUF001
