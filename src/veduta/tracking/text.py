r"""Formats names, estimates and small tables as text and HTML, safe for any file or class name.

A name may contain markup, a line break, bytes that are not UTF-8, or letters written from right to
left. Markup is escaped, invisible characters are replaced by visible ones, and the direction of
each name is isolated from its neighbors.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:  # `--help` imports this module, and must be fast
    from veduta.runs.summary import CorrectedAccuracy, Estimate

INVISIBLE = (
    *range(0x80, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A),
)  # fmt: skip
r"""Invisible characters, some of which reorder text: `\u202e` displays `gpj.exe` as `exe.jpg`."""

REPLACEMENTS: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(0x20)},
    0x7F: 0x2421,
    **{code: f"\\u{code:04x}" for code in INVISIBLE},
}
"""Visible replacement of each character without a glyph of its own, such as a line break."""

ISOLATE, POP = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"


def make_visible(name: object) -> str:
    r"""Return a name in which every character is visible and can be encoded as UTF-8.

    >>> make_visible("a\nb"), make_visible("caf\udce9.jpg")  # a line break; a Latin-1 byte
    ('a␊b', 'caf\\xe9.jpg')
    """
    text = str(name)
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that does not encode a byte
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text.translate(REPLACEMENTS)


def isolate_direction(name: object) -> str:
    """Return a visible name between directional isolates, for attributes and plain text."""
    return f"{ISOLATE}{make_visible(name)}{POP}"


def format_name(name: object) -> Markup:
    """Return a visible name as an HTML element whose direction is isolated.

    >>> str(format_name("<b>"))
    '<bdi>&lt;b&gt;</bdi>'
    """
    return Markup("<bdi>{}</bdi>").format(make_visible(name))


def build_html_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = ""
) -> Markup:
    """Return an HTML table; column names and cells are formatted as names."""
    head = Markup("").join(
        Markup('<th scope="col">{}</th>').format(format_name(column)) for column in columns
    )
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(format_name(cell)) for cell in row)
        )
        for row in rows
    )
    title = Markup("<caption>{}</caption>").format(caption) if caption else ""
    return Markup("<table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(
        title, head, body
    )


def build_html_facts(title: str, facts: Mapping[str, object]) -> Markup:
    """Return an HTML block with a title and one row per fact: its name and its value."""
    rows = Markup("").join(
        Markup('<tr><th scope="row" style="text-align:left">{}</th><td>{}</td></tr>').format(
            escape(name), value if isinstance(value, Markup) else format_name(value)
        )
        for name, value in facts.items()
    )
    return Markup("<div><strong>{}</strong><table><tbody>{}</tbody></table></div>").format(
        title, rows
    )


def format_interval(estimate: "Estimate | CorrectedAccuracy") -> str:
    """Return the 95 % interval of a metric in percent.

    >>> from veduta.runs.summary import Estimate
    >>> format_interval(Estimate(value=0.5, low=0.2, high=0.8, images=6))
    '95 % interval 20.0% to 80.0%'
    """
    return f"95 % interval {estimate.low:.1%} to {estimate.high:.1%}"


def format_estimate(estimate: "Estimate | CorrectedAccuracy") -> str:
    """Return a metric in percent with its 95 % interval and, if known, the number of images.

    >>> from veduta.runs.summary import Estimate
    >>> format_estimate(Estimate(value=0.5, low=0.2, high=0.8, images=6))
    '50.0% (95 % interval 20.0% to 80.0%, 6 images)'
    >>> format_estimate(Estimate(images=0))
    'not measured'
    """
    if estimate.value is None:
        return "not measured"
    count = getattr(estimate, "images", None)
    images = f", {count:,} images" if count is not None else ""
    return f"{estimate.value:.1%} ({format_interval(estimate)}{images})"
