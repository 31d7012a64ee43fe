"""Figures as inline SVG that follows the page's colours, the same bytes for the same numbers.

Matplotlib is used here and beside, nowhere else. Text stays text, so that it can be read aloud,
searched and scaled; ink is the page's own colour, light or dark.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from veduta.runs.files import expect_room, write_atomically

INK = "#010203"  # stands for the page's text colour until the figure is on the page
COLOURS = ("#0f7fbf", "#d9702b", "#2f9e6e", "#b8559d", "#8a7a2e")  # readable on light and on dark
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # nothing is told by colour alone
Margins = tuple[float, float, float, float]
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g}%")
STYLE: Any = {  # matplotlib types its parameters name by name
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
def panel(
    width: float = 4.2, height: float = 2.9, *, margins: Margins | None = None
) -> Iterator[tuple[Figure, Axes]]:
    """One pair of axes in Veduta's style; panels are small, so that a phone shows them whole.

    Args:
        width: of all of it, in inches.
        height: of all of it, in inches.
        margins: around the axes, in inches: left, below, right, above. Those that are known need
            not be measured, which takes longer than the drawing.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout=None if margins else "constrained")
        if margins:
            left, below, right, above = margins
            figure.subplots_adjust(
                left / width, below / height, 1 - right / width, 1 - above / height
            )
        yield figure, figure.add_subplot()


def lines(axes: Axes, x: Any, series: dict[str, Any]) -> None:  # noqa: ANN401
    """One line a name, told apart by colour and by dash, against whole numbers."""
    styles = zip(COLOURS, DASHES, strict=True)
    for (name, y), (colour, dash) in zip(series.items(), styles, strict=False):
        axes.plot(x, y, color=colour, linestyle=dash, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.legend()


def to_files(figure: Figure, path: Path) -> None:
    """The figure as two files beside each other, `path` with .svg and .png, black on white.

    Args:
        figure: drawn in `panel`.
        path: without an ending.
    """
    for ending, metadata in (
        (".svg", {"Date": None, "Creator": None}),
        (".png", {"Software": None}),
    ):
        drawn = io.BytesIO()
        with rc_context(STYLE):
            figure.savefig(drawn, format=ending[1:], metadata=metadata, facecolor="white", dpi=150)
        with expect_room(path.parent):
            write_atomically(path.with_suffix(ending), drawn.getvalue())


def to_svg(figure: Figure, *, name: str, title: str) -> Markup:
    """The figure as an `<svg>` element: no prolog, no date, no outside reference.

    Args:
        figure: drawn in `panel`.
        name: unique on the page; every identifier inside begins with it.
        title: what a reader who does not see the figure is told.
    """
    drawn = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    box = re.search(r'viewBox="[^"]*"', svg)
    opening = f'<svg role="img" aria-label="{escape(title)}" {box[0] if box else ""}>'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1))  # noqa: S704
