"""The pictures of a report: made from pixels while a run has them, kept in its `media` folder.

The images may be gone when the report is drawn again. Files have numbers for names; index.json says
which image each shows. Heat is kept as grey, from 0 (none) to 255 (most); the report colours it.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veduta.experiment.shown import Shown
from veduta.runs.files import replace_folder, write_json

Pixels = NDArray[np.uint8]
Heats = NDArray[np.float32]
Labels = NDArray[np.int64]
SMALL, LARGE = 96, 192  # pixels of a thumbnail's side, and of a picture's in the gallery
QUALITY = 70
INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Alike:
    """A training image that is like another, by the cosine of their features."""

    path: str
    label: str
    cosine: float


@final
@dataclass(frozen=True, slots=True)
class Source:
    """Where the pictures come from.

    Attributes:
        pixels: uint8 (n, S, S, 3) of images, by their paths, and which of the paths they are of.
        heats: for such pixels and their predicted classes, what speaks for these (n, S, S), from 0
            to 1; None where the network has no maps to look at.
        looked_at: what `heats` look at, in words, or why there are none.
        nearest: the training images most like each of some images; None where they are not known.
    """

    pixels: Callable[[Sequence[str]], tuple[Pixels, Sequence[str]]]
    heats: Callable[[Pixels, Labels], Heats] | None
    looked_at: str
    nearest: Callable[[Sequence[str]], list[list[Alike]]] | None = None


def write_media(folder: Path, shown: Shown, source: Source) -> None:
    """Make the pictures of a report, as a whole, in place of those that are there."""
    with replace_folder(folder) as building:
        write_json(building / INDEX, _Album(building).filled(shown, source))


def pictures_stand(folder: Path) -> bool:
    """Whether the index of a folder of pictures can be read, and all that it names is there."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        names = [*index["thumbnails"].values()]
        names += [one[kind] for one in index["gallery"] for kind in ("picture", "heat")]
        return all((folder / name).is_file() for name in names if name is not None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@final
class _Album:
    """Numbers pictures as they are saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved = 0

    def filled(self, shown: Shown, source: Source) -> Mapping[str, Any]:
        """Save everything; what index.json says."""
        asked = list(shown.gallery)
        alike = source.nearest(asked) if source.nearest and asked else []
        like = dict(zip(asked, alike, strict=False))
        small = dict.fromkeys([*shown.thumbnails, *(one.path for many in alike for one in many)])
        thumbnails = {}
        for pixels, path in zip(*source.pixels(list(small)), strict=True):
            thumbnails[path] = self._picture(pixels, SMALL)
        return {
            "thumbnails": thumbnails,
            "looked_at": source.looked_at,
            "gallery": self._gallery(shown, source, like),
        }

    def _gallery(
        self, shown: Shown, source: Source, like: Mapping[str, Sequence[Alike]]
    ) -> list[dict[str, Any]]:
        pixels, paths = source.pixels(list(shown.gallery))
        labels = np.array([shown.gallery[path] for path in paths], np.int64)
        heats = source.heats(pixels, labels) if source.heats and len(pixels) else None
        return [
            {
                "path": path,
                "picture": self._picture(pixels[place], LARGE),
                "heat": None if heats is None else self._grey(heats[place]),
                "nearest": [[one.path, one.label, one.cosine] for one in like.get(path, ())],
            }
            for place, path in enumerate(paths)
        ]

    def _picture(self, pixels: Pixels, side: int) -> str:
        """Save an image, made smaller where it is larger than `side`."""
        image = Image.fromarray(pixels)
        if image.width > side:
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        return self._save(image, "WEBP", quality=QUALITY, method=4)

    def _grey(self, heat: Heats) -> str:
        image = Image.fromarray((255 * heat).round().astype(np.uint8))
        if image.width > LARGE:
            image = image.resize((LARGE, LARGE), Image.Resampling.BICUBIC)
        return self._save(image, "PNG", optimize=True)

    def _save(self, image: Image.Image, kind: str, **options: Any) -> str:  # noqa: ANN401
        content = io.BytesIO()
        image.save(content, format=kind, **options)
        self._saved += 1
        name = f"{self._saved:04}.{kind.lower()}"
        (self._folder / name).write_bytes(content.getvalue())
        return name
