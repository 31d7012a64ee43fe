"""Features of several views of the same images: one piece of work to whoever watches."""

from collections.abc import Sequence
from pathlib import Path

from veduta.augment.views import View
from veduta.data.pixels import Image
from veduta.data.rows import Rows
from veduta.features.store import Extractor, Features, Progress, load_features


def load_views(
    images: Sequence[Image],
    pixels: Rows,
    extractor: Extractor,
    *,
    views: Sequence[View],
    cache: Path,
    progress: Progress,
) -> list[Features]:
    """The features of each view of `images`; arguments and errors as of `load_features`.

    `progress` is called with (images done, images in all), over all views.
    """

    def show(done: int, total: int) -> None:
        progress(len(found) * total + done, len(views) * total)

    found: list[Features] = []
    for view in views:
        one = load_features(images, pixels, extractor, cache=cache, view=view, progress=show)
        found.append(one)
    return found
