"""Images with given traits, for files that do not exist."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.traits import Traits

TRAITS = Traits(
    pixel_digest="",
    perceptual_hash=0,
    width=100,
    height=80,
    format="JPEG",
    mode="RGB",
    orientation=1,
    is_16_bit=False,
    has_transparency=False,
    is_animated=False,
    is_blank=False,
    brightness=120.0,
    contrast=40.0,
    sharpness=math.inf,
    thumbnail=bytes(192),
)
"""Traits of an image without unusual properties."""


def build_image(content: str, name: str, **traits: object) -> Image:
    """Return an image named split/label/file or label/file, whose pixels depend on `content`."""
    *splits, label, _ = name.split("/")
    pixel_digest = hashlib.sha256(content.encode()).hexdigest()
    digest = hashlib.sha256(name.encode()).hexdigest()
    sample = Sample(Path(name), name, label, splits[0] if splits else None)
    defaults = {"pixel_digest": pixel_digest, "perceptual_hash": int(pixel_digest[:16], 16)}
    return Image(sample, digest, replace(TRAITS, **{**defaults, **traits}))  # type: ignore[arg-type]


def add_distinct_traits(image: Image) -> Image:
    """Return the image with a digest of its pixels that no other file has."""
    pixel_digest = hashlib.sha256(f"pixels of {image.digest}".encode()).hexdigest()
    return replace(image, traits=replace(TRAITS, pixel_digest=pixel_digest))
