"""Names and tables as HTML: whatever files and classes are called, it is text and stays in place.

A name may hold markup, a line break, bytes that are no UTF-8, or letters that run from right to
left. Markup is escaped, what has no picture gets one, and each name is isolated from the direction
of its neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

UNSEEN = (*range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Characters that no one sees and that move others: `\\u202e` makes `gpj.exe` look as `exe.jpg`."""

PICTURES: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
    **{code: f"\\u{code:04x}" for code in UNSEEN},
}
"""What stands for each character that has no picture of its own, such as a line break."""

ISOLATE, POP = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def visible(name: object) -> str:
    r"""A name with nothing in it that cannot be seen or written as UTF-8.

    >>> visible("a\nb"), visible("caf\udce9.jpg")  # a line break; a byte of another encoding
    ('a␊b', 'caf\\xe9.jpg')
    """
    text = str(name)
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair, that never was a byte
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.translate(PICTURES)


def isolated(name: object) -> str:
    """A name for an attribute or a line of plain text, where no element can isolate it."""
    return f"{ISOLATE}{visible(name)}{POP}"


def named(name: object) -> Markup:
    """A name as an element, whose direction is its own.

    >>> str(named("<b>"))
    '<bdi>&lt;b&gt;</bdi>'
    """
    return Markup("<bdi>{}</bdi>").format(visible(name))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> Markup:
    """A table; every cell is a name."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(named(one)) for one in columns)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(named(cell)) for cell in row)
        )
        for row in rows
    )
    told = Markup("<caption>{}</caption>").format(caption) if caption else ""
    return Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(
        told, head, body
    )


def facts(title: str, told: Mapping[str, object]) -> Markup:
    """A title and what is known, one row each."""
    rows = Markup("").join(
        Markup('<tr><th scope="row" style="text-align:left">{}</th><td>{}</td></tr>').format(
            escape(name), value if isinstance(value, Markup) else named(value)
        )
        for name, value in told.items()
    )
    return Markup("<div><strong>{}</strong><table><tbody>{}</tbody></table></div>").format(
        title, rows
    )


def ranged(figures: Mapping[str, Any]) -> str:
    """An accuracy with its interval and the images behind it.

    >>> ranged({"accuracy": 0.5, "low": 0.2, "high": 0.8, "images": 6})
    '50.0% (95% interval 20.0% to 80.0%, 6 images)'
    """
    return "{accuracy:.1%} (95% interval {low:.1%} to {high:.1%}, {images:,} images)".format(
        **figures
    )
