"""Pictures embedded in a page as data URIs."""

import io
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from veduta.data.decode import decode, read_file
from veduta.data.files import in_chunks
from veduta.data.sample import Sample
from veduta.errors import DecodeError, InputError
from veduta.reporting.pictures.drawing import laid_over
from veduta.reporting.pictures.media import INDEX
from veduta.runtime.environment import processors

KINDS = {".webp": "image/webp", ".png": "image/png"}
QUALITY = 75


@final
@dataclass(frozen=True)
class Pictures:
    """What a media folder holds.

    Attributes:
        folder: where.
        thumbnails: name of the file, by the path of the image.
        gallery: what is shown large: path, picture, heat, nearest.
        looked_at: what the heat maps look at, in words.
    """

    folder: Path
    thumbnails: Mapping[str, str]
    gallery: Sequence[Mapping[str, Any]]
    looked_at: str

    def thumbnail(self, path: str) -> str | None:
        """The picture of an image as an address that holds it; None where there is none."""
        name = self.thumbnails.get(path)
        return None if name is None else self.address(name)

    def address(self, name: str) -> str:
        """A file of the folder, as an address that holds it."""
        return data_address(self._content(name), KINDS[Path(name).suffix])

    def overlay(self, picture: str, heat: str) -> str:
        """Heat on an image in grey, as an address that holds it."""
        pixels = Image.open(io.BytesIO(self._content(picture))).convert("RGB")
        grey = Image.open(io.BytesIO(self._content(heat))).convert("L")
        warmth = np.asarray(grey.resize(pixels.size), np.float32) / np.float32(255)
        drawn = io.BytesIO()
        Image.fromarray(laid_over(np.asarray(pixels), warmth)).save(
            drawn, format="WEBP", quality=QUALITY, method=4
        )
        return data_address(drawn.getvalue(), KINDS[".webp"])

    def _content(self, name: str) -> bytes:
        path = self.folder / Path(name).name  # no name can lead outside
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(
                f"a report needs the pictures that its run made; {path}: {error.strerror}: "
                "restore the folder, or remove it to have a report without pictures"
            ) from error


def pictures_in(folder: Path) -> Pictures:
    """The pictures in a media folder; none where there is no folder.

    Raises:
        InputError: its index is damaged.
    """
    if not folder.is_dir():
        return Pictures(folder, {}, (), "")
    path = folder / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return Pictures(folder, index["thumbnails"], index["gallery"], index["looked_at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"a folder of pictures has an index as its run wrote it; {path}: {error}: restore the "
            "folder, or remove it to have a report without pictures"
        ) from error


def data_address(content: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"


SIDE = 160  # pixels of the longer side
THUMBNAIL_QUALITY = 72


def thumbnails(
    samples: Sequence[Sample], progress: Callable[[int, int], None]
) -> Mapping[str, str]:
    """Pictures of `samples`, by name, as addresses that hold them.

    What cannot be decoded (any more) has none.
    """
    different = list({sample.name: sample for sample in samples}.values())
    found: dict[str, str] = {}
    done = 0
    for made in in_chunks(_thumbnail, different, processors()):
        found |= {name: address for name, address in made if address}
        done += len(made)
        progress(done, len(different))
    return found


def _thumbnail(sample: Sample) -> tuple[str, str | None]:
    try:
        image = Image.fromarray(decode(read_file(sample.path)))
    except DecodeError:
        return sample.name, None
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    drawn = io.BytesIO()
    image.save(drawn, format="WEBP", quality=THUMBNAIL_QUALITY, method=2)
    return sample.name, data_address(drawn.getvalue(), "image/webp")
