"""A figure of a page: small panels side by side, a title, and a caption with computed figures."""

from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure

from veduta.report.plots import to_svg


class Drawing(NamedTuple):
    """Panels under one caption, and the equation they follow, or the section that has none."""

    after: str
    name: str
    title: str
    caption: str
    panels: tuple[Markup, ...]


def drawing(after: str, title: str, caption: str, panels: dict[str, Figure]) -> Drawing:
    """Panels, each with the sentence that stands for it where it is not seen."""
    name = title.lower().replace(" ", "-").replace(",", "")
    drawn = (
        to_svg(figure, name=f"{name}-{i}", title=told)
        for i, (told, figure) in enumerate(panels.items())
    )
    return Drawing(after, name, title, caption, tuple(drawn))
