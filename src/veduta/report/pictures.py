"""The pictures of a run's `media` folder, as a page carries them: inside itself."""

import io
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from veduta.errors import InputError
from veduta.experiment.media import INDEX
from veduta.report.heat_colours import laid_over

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
