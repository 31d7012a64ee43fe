"""The pictures of a report: which images are shown, and the media folder that holds them."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.mistakes import (
    group_by_cell,
    select_confident_errors,
    select_uncertain_correct,
    tabulate_predictions,
)
from veduta.runs.files import replace_folder, write_json

A_CELL: Final = 24  # images of a cell of the confusion matrix, at most
ALL_CELLS: Final = 800  # of all cells together, so that a page stays small
ERRORS, HITS, DOUBTED = 15, 9, 24

Cells = Mapping[tuple[str, str], Sequence[str]]


@final
@dataclass(frozen=True, slots=True)
class Shown:
    """Images by their paths.

    Attributes:
        cells: of each cell (truth, label), those with most images first.
        gallery: those shown large, and the class predicted for each: wrong ones, the most
            confident first, then right ones, the least confident first.
        doubted: labels that models doubt, the most doubtful first.
    """

    cells: Cells
    gallery: Mapping[str, int]
    doubted: tuple[str, ...]

    @property
    def thumbnails(self) -> tuple[str, ...]:
        """Every image that is shown small, once."""
        paths = [path for cell in self.cells.values() for path in cell]
        return tuple(dict.fromkeys([*paths, *self.doubted]))


def shown_of(
    images: pd.DataFrame, classes: Sequence[str], issues: pd.DataFrame | None = None
) -> Shown:
    """What a report shows of judged images.

    Args:
        images: a row an image, as `tabulate_predictions` gives it.
        classes: their names.
        issues: as `find_label_issues` gives them, where there are folds.
    """
    doubted = issues.loc[issues["issue"], "path"].head(DOUBTED) if issues is not None else ()
    chosen = pd.concat(
        [select_confident_errors(images).head(ERRORS), select_uncertain_correct(images).head(HITS)]
    )
    number = {name: place for place, name in enumerate(classes)}
    labels = [number[label] for label in chosen["label"]]
    gallery = dict(zip(chosen["path"], labels, strict=True))
    return Shown(cells_of(images), gallery, tuple(doubted))


def table_of(judged: LabeledPredictions) -> pd.DataFrame:
    """A row an image: path, truth, label and its calibrated probability."""
    return tabulate_predictions(judged.paths, judged.y_true, judged.probabilities, judged.classes)


def cells_of(images: pd.DataFrame, *, most: int = A_CELL, together: int = ALL_CELLS) -> Cells:
    """The images of each cell: at most `most`, and fewer where all would be more than `together`.

    Room is shared evenly: every cell may show as many, and errors come before hits.
    """
    cells = group_by_cell(images, limit=most)
    sizes = [len(table) for table in cells.values()]
    each = next((n for n in range(most, 1, -1) if sum(min(n, s) for s in sizes) <= together), 1)
    ordered = sorted(cells.items(), key=lambda cell: cell[0][0] == cell[0][1])
    found, room = {}, together
    for cell, table in ordered:
        found[cell] = tuple(table["path"].head(min(each, room)))
        room -= len(found[cell])
    return {cell: found[cell] for cell in cells if found[cell]}


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
