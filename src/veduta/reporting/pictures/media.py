"""The media folder of a report: selection, writing and reading of its pictures."""

import io
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, final

import numpy as np
import pandas as pd
from PIL import Image

from veduta.errors import InputError
from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.mistakes import (
    group_by_cell,
    select_confident_errors,
    select_uncertain_correct,
    tabulate_predictions,
)
from veduta.reporting.pictures.drawing import overlay_heat
from veduta.runs.provenance import Record
from veduta.runtime.disk import replace_folder, write_json
from veduta.types import Float32Array, IntArray, PixelArray

# selection

MAX_CELL_IMAGES: Final = 24  # per cell of the confusion matrix
MAX_ALL_CELL_IMAGES: Final = 800  # limits the size of the page
MAX_ERRORS, MAX_UNCERTAIN_CORRECT, MAX_LABEL_ISSUES = 15, 9, 24

CellImages = Mapping[tuple[str, str], Sequence[str]]
"""Paths of images by cell of the confusion matrix, (true class, predicted class)."""


@final
@dataclass(frozen=True, slots=True)
class MediaSelection:
    """Paths of the images that a report shows.

    Attributes:
        cells: images by cell of the confusion matrix; cells with the most images come first.
        gallery: class index predicted for each large image: incorrect predictions, the most
            confident first, then correct ones, the least confident first.
        label_issues: images whose label may be wrong, the most suspicious first.
    """

    cells: CellImages
    gallery: Mapping[str, int]
    label_issues: tuple[str, ...]

    @property
    def thumbnails(self) -> tuple[str, ...]:
        """Images that are shown as thumbnails, each once."""
        paths = [path for cell in self.cells.values() for path in cell]
        return tuple(dict.fromkeys([*paths, *self.label_issues]))


def select_media(
    images: pd.DataFrame, classes: Sequence[str], issues: pd.DataFrame | None = None
) -> MediaSelection:
    """Select the images that a report shows.

    Args:
        images: predictions, one row per image, as `tabulate_predictions` returns them.
        classes: names of the classes.
        issues: label issues, as `find_label_issues` returns them; None without cross-validation.
    """
    label_issues = (
        issues.loc[issues["issue"], "path"].head(MAX_LABEL_ISSUES) if issues is not None else ()
    )
    large = pd.concat(
        [
            select_confident_errors(images).head(MAX_ERRORS),
            select_uncertain_correct(images).head(MAX_UNCERTAIN_CORRECT),
        ]
    )
    class_index = {name: index for index, name in enumerate(classes)}
    y_pred = [class_index[name] for name in large["y_pred"]]
    gallery = dict(zip(large["path"], y_pred, strict=True))
    return MediaSelection(select_cell_images(images), gallery, tuple(label_issues))


def tabulate_images(predictions: LabeledPredictions) -> pd.DataFrame:
    """Return a table of temperature-scaled predictions, one row per image."""
    return tabulate_predictions(
        predictions.paths, predictions.y_true, predictions.probabilities, predictions.classes
    )


def select_cell_images(
    images: pd.DataFrame, *, limit: int = MAX_CELL_IMAGES, total: int = MAX_ALL_CELL_IMAGES
) -> CellImages:
    """Select the images of each cell of the confusion matrix.

    Each cell gets at most `limit` images, and fewer if there would be more than `total` in all. If
    even one image per cell is too many, cells with errors take precedence.
    """
    cells = group_by_cell(images, limit=limit)
    sizes = [len(table) for table in cells.values()]
    fitting_limits = (
        n for n in range(limit, 1, -1) if sum(min(n, size) for size in sizes) <= total
    )
    cell_limit = next(fitting_limits, 1)
    errors_first = sorted(cells.items(), key=lambda item: item[0][0] == item[0][1])
    selected, remaining = {}, total
    for cell, table in errors_first:
        selected[cell] = tuple(table["path"].head(min(cell_limit, remaining)))
        remaining -= len(selected[cell])
    return {cell: selected[cell] for cell in cells if selected[cell]}


# files

INDEX = "index.json"
THUMBNAIL_SIDE, LARGE_SIDE = 96, 192  # pixels
WEBP_QUALITY, OVERLAY_QUALITY = 70, 75
MEDIA_TYPES = {".webp": "image/webp", ".png": "image/png"}


class SimilarImage(NamedTuple):
    """A training image, and the cosine similarity of its features to those of another image."""

    path: str
    label: str
    similarity: float


class GalleryEntry(Record):
    """A large image of the gallery.

    Attributes:
        path: path of the image.
        picture: file name of its picture.
        heat: file name of its heat map in grayscale; None if the network has no feature maps.
        nearest: the most similar training images; empty if they are unknown.
    """

    path: str
    picture: str
    heat: str | None
    nearest: tuple[SimilarImage, ...]


class MediaIndex(Record):
    """The content of `index.json` in a media folder.

    Attributes:
        thumbnails: file names by path of the image.
        description: what the heat maps show, or why there are none.
        gallery: the large images.
    """

    thumbnails: dict[str, str]
    description: str
    gallery: tuple[GalleryEntry, ...]

    @property
    def file_names(self) -> list[str]:
        """Names of all files that the index refers to."""
        large = [name for entry in self.gallery for name in (entry.picture, entry.heat) if name]
        return [*self.thumbnails.values(), *large]


@final
@dataclass(frozen=True, slots=True)
class PictureSource:
    """Functions that compute the content of the pictures.

    Attributes:
        load_pixels: takes paths of images; returns the pixels, uint8 (n, S, S, 3), and the paths
            of those that can be decoded.
        compute_heat_maps: takes pixels and one class per image; returns heat maps (n, S, S) in
            [0, 1]. None if the network has no feature maps.
        description: what the heat maps show, or why there are none.
        find_similar: takes paths of images; returns the most similar training images of each. None
            if they are unknown.
    """

    load_pixels: Callable[[Sequence[str]], tuple[PixelArray, Sequence[str]]]
    compute_heat_maps: Callable[[PixelArray, IntArray], Float32Array] | None
    description: str
    find_similar: Callable[[Sequence[str]], list[list[SimilarImage]]] | None = None


def write_media(folder: Path, selection: MediaSelection, source: PictureSource) -> None:
    """Write the pictures of a report and their index; an existing folder is replaced as a whole."""
    with replace_folder(folder) as scratch:
        index = _MediaWriter(scratch).write(selection, source)
        write_json(scratch / INDEX, index.to_json_content())


@final
class _MediaWriter:
    """Writes numbered pictures to a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, selection: MediaSelection, source: PictureSource) -> MediaIndex:
        """Write all pictures, and return the index."""
        paths = list(selection.gallery)
        similar = source.find_similar(paths) if source.find_similar and paths else []
        similar_by_path = dict(zip(paths, similar, strict=False))
        similar_paths = [image.path for images in similar for image in images]
        thumbnail_paths = dict.fromkeys([*selection.thumbnails, *similar_paths])
        thumbnails = {
            path: self._write_picture(pixels, THUMBNAIL_SIDE)
            for pixels, path in zip(*source.load_pixels(list(thumbnail_paths)), strict=True)
        }
        return MediaIndex(
            thumbnails=thumbnails,
            description=source.description,
            gallery=self._write_gallery(selection, source, similar_by_path),
        )

    def _write_gallery(
        self,
        selection: MediaSelection,
        source: PictureSource,
        similar_by_path: Mapping[str, Sequence[SimilarImage]],
    ) -> tuple[GalleryEntry, ...]:
        pixels, paths = source.load_pixels(list(selection.gallery))
        targets = np.array([selection.gallery[path] for path in paths], np.int64)
        heat_maps = None
        if source.compute_heat_maps and len(pixels):
            heat_maps = source.compute_heat_maps(pixels, targets)
        return tuple(
            GalleryEntry(
                path=path,
                picture=self._write_picture(pixels[row], LARGE_SIDE),
                heat=None if heat_maps is None else self._write_heat_map(heat_maps[row]),
                nearest=tuple(similar_by_path.get(path, ())),
            )
            for row, path in enumerate(paths)
        )

    def _write_picture(self, pixels: PixelArray, side: int) -> str:
        """Write an image, reduced to `side` pixels if it is larger, and return the file name."""
        image = Image.fromarray(pixels)
        if image.width > side:
            image = image.resize((side, side), Image.Resampling.LANCZOS)
        return self._write_file(encode_webp(image, quality=WEBP_QUALITY), "webp")

    def _write_heat_map(self, heat: Float32Array) -> str:
        """Write a heat map in gray, and return the file name."""
        image = Image.fromarray((255 * heat).round().astype(np.uint8))
        if image.width > LARGE_SIDE:
            image = image.resize((LARGE_SIDE, LARGE_SIDE), Image.Resampling.BICUBIC)
        content = io.BytesIO()
        image.save(content, format="PNG", optimize=True)
        return self._write_file(content.getvalue(), "png")

    def _write_file(self, data: bytes, suffix: str) -> str:
        self._count += 1
        name = f"{self._count:04}.{suffix}"
        (self._folder / name).write_bytes(data)
        return name


def encode_webp(image: Image.Image, *, quality: int, method: int = 4) -> bytes:
    """Return an image as WebP; a larger `method` compresses better and is slower."""
    content = io.BytesIO()
    image.save(content, format="WEBP", quality=quality, method=method)
    return content.getvalue()


def is_media_complete(folder: Path) -> bool:
    """Return whether the index of a media folder can be read and all its files exist."""
    try:
        index = _read_index(folder)
    except (OSError, ValueError):
        return False
    return all((folder / name).is_file() for name in index.file_names)


# pages


@final
@dataclass(frozen=True, slots=True)
class MediaFolder:
    """A media folder, and its pictures as data URIs for a page.

    Attributes:
        path: the folder.
        index: its content; empty if there is no folder.
    """

    path: Path
    index: MediaIndex

    def find_thumbnail(self, path: str) -> str | None:
        """Return the thumbnail of an image as a data URI; None if there is none."""
        name = self.index.thumbnails.get(path)
        return None if name is None else self.embed(name)

    def embed(self, name: str) -> str:
        """Return a file of the folder as a data URI."""
        return build_data_uri(self._read(name), MEDIA_TYPES[Path(name).suffix])

    def embed_overlay(self, picture: str, heat: str) -> str:
        """Return a grayscale picture with its heat map on top as a data URI."""
        pixels = Image.open(io.BytesIO(self._read(picture))).convert("RGB")
        gray = Image.open(io.BytesIO(self._read(heat))).convert("L")
        heat_map = np.asarray(gray.resize(pixels.size), np.float32) / np.float32(255)
        overlay = Image.fromarray(overlay_heat(np.asarray(pixels), heat_map))
        return build_data_uri(encode_webp(overlay, quality=OVERLAY_QUALITY), MEDIA_TYPES[".webp"])

    def _read(self, name: str) -> bytes:
        path = self.path / Path(name).name  # file name only: no file outside the folder is read
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(
                f"a report needs the pictures that its run wrote; {path}: {error.strerror}: "
                "restore the folder, or remove it to get a report without pictures"
            ) from error


def load_media_folder(path: Path) -> MediaFolder:
    """Return a media folder; it has no pictures if the folder does not exist.

    Raises:
        InputError: the index is damaged.
    """
    if not path.is_dir():
        return MediaFolder(path, MediaIndex(thumbnails={}, description="", gallery=()))
    try:
        return MediaFolder(path, _read_index(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"a media folder must have the index that its run wrote; {path / INDEX}: {error}: "
            "restore the folder, or remove it to get a report without pictures"
        ) from error


def _read_index(folder: Path) -> MediaIndex:
    """Return the index of a media folder. Raises OSError or ValueError if it is damaged."""
    return MediaIndex.model_validate(json.loads((folder / INDEX).read_text(encoding="utf-8")))


def build_data_uri(content: bytes, media_type: str) -> str:
    """Return the content of a file as a data URI."""
    return f"data:{media_type};base64,{b64encode(content).decode('ascii')}"
