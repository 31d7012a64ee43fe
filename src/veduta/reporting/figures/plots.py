"""Figures as inline SVG that follows the colors of the page; numbers in sentences."""

import io
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from veduta.runtime.disk import explain_write_errors, write_atomically
from veduta.runtime.process import PLOTTING_LOCK

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_number(number: float, digits: int = 2) -> str:
    """Return a number rounded to significant digits; tiny and huge ones have an exponent.

    >>> [format_number(number) for number in (14052.1, 0.2498, 4e6, 9.89e-6, math.inf, 0.0)]
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


INK = "#010203"  # placeholder; replaced by the text color of the page
COLORS = ("#0f7fbf", "#d9702b", "#2f9e6e", "#b8559d", "#8a7a2e")  # readable on light and dark pages
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # lines also differ without color
Margins = tuple[float, float, float, float]
PERCENT = FuncFormatter(lambda fraction, _: f"{100 * fraction:.4g}%")
STYLE: Any = {  # Matplotlib types each parameter by its name
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "veduta",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def open_panel(
    width: float = 4.2, height: float = 2.9, *, margins: Margins | None = None
) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure with one pair of axes in Veduta's style; the default size fits a phone.

    Args:
        width: width of the figure, in inches.
        height: height of the figure, in inches.
        margins: space around the axes, in inches: left, bottom, right, top. If None, Matplotlib
            computes the margins, which takes longer than drawing the figure.
    """
    with PLOTTING_LOCK, rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
        if margins:
            left, bottom, right, top = margins
            figure.subplots_adjust(
                left / width, bottom / height, 1 - right / width, 1 - top / height
            )
        yield figure, figure.add_subplot()


def plot_lines(axes: Axes, x: ArrayLike, series: Mapping[str, ArrayLike]) -> None:
    """Plot one line per name, each with its own color and dash pattern; ticks at integers."""
    styles = zip(COLORS, DASHES, strict=True)
    for (name, y), (color, dash) in zip(series.items(), styles, strict=False):
        axes.plot(x, y, color=color, linestyle=dash, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.legend()


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as two files, `path` with the suffixes .svg and .png, on white background.

    Args:
        figure: figure made with `open_panel`.
        path: path without suffix.
    """
    for suffix, metadata in (
        (".svg", {"Date": None, "Creator": None}),
        (".png", {"Software": None}),
    ):
        content = io.BytesIO()
        with PLOTTING_LOCK, rc_context(STYLE):
            figure.savefig(
                content, format=suffix[1:], metadata=metadata, facecolor="white", dpi=150
            )
        with explain_write_errors(path.parent):
            write_atomically(path.with_suffix(suffix), content.getvalue())


def render_svg(figure: Figure, *, name: str, title: str) -> Markup:
    """Return the figure as an `<svg>` element without prolog, date or external references.

    Args:
        figure: figure made with `open_panel`.
        name: prefix of all identifiers in the SVG, unique on the page.
        title: text alternative for readers who cannot see the figure.
    """
    content = io.StringIO()
    with PLOTTING_LOCK, rc_context(STYLE):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    svg = content.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    box = re.search(r'viewBox="[^"]*"', svg)
    opening = f'<svg role="img" aria-label="{escape(title)}" {box[0] if box else ""}>'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1))  # noqa: S704


class Drawing(NamedTuple):
    """Panels under one caption, placed after an equation or at the start of a section."""

    anchor: str
    name: str
    title: str
    caption: str
    panels: tuple[Markup, ...]


def make_drawing(anchor: str, title: str, caption: str, panels: dict[str, Figure]) -> Drawing:
    """Render the panels of a drawing, given by their text alternatives.

    Args:
        anchor: equation number, or "section" and its number.
        title: title of the drawing; its identifier on the page is derived from it.
        caption: text under the panels.
        panels: figures by text alternative, from left to right.
    """
    name = title.lower().replace(" ", "-").replace(",", "")
    rendered = (
        render_svg(figure, name=f"{name}-{i}", title=alternative)
        for i, (alternative, figure) in enumerate(panels.items())
    )
    return Drawing(anchor, name, title, caption, tuple(rendered))
