"""Images with traits, made up: what the gate would have seen of files that there are not."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.traits import Traits

TRAITS = Traits(
    pixels="",
    look=0,
    width=100,
    height=80,
    format="JPEG",
    mode="RGB",
    orientation=1,
    deep=False,
    transparent=False,
    animated=False,
    blank=False,
    brightness=120.0,
    contrast=40.0,
    sharpness=math.inf,
    thumbnail=bytes(192),
)
"""Of an image about which there is nothing to say."""


def made_up(content: str, name: str, **traits: object) -> Image:
    """An image at split/label/file, or label/file, of some content."""
    *splits, label, _ = name.split("/")
    pixels = hashlib.sha256(content.encode()).hexdigest()
    digest = hashlib.sha256(name.encode()).hexdigest()
    sample = Sample(Path(name), name, label, splits[0] if splits else None)
    own = {"pixels": pixels, "look": int(pixels[:16], 16), **traits}
    return Image(sample, digest, replace(TRAITS, **own))  # type: ignore[arg-type]


def seen(image: Image) -> Image:
    """An image whose pixels are those that no other file has."""
    pixels = hashlib.sha256(f"pixels of {image.digest}".encode()).hexdigest()
    return replace(image, traits=replace(TRAITS, pixels=pixels))
