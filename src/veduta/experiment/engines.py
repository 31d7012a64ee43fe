"""What runs the backbone of a run: measured where `fastest` is asked, quantised, and checked."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from veduta.data.pixels import Image
from veduta.data.rows import Rows
from veduta.features import agreement, measuring, quantised
from veduta.features.engines import TORCH, candidates
from veduta.features.openvino_engine import F32
from veduta.features.store import Extractor, load_features
from veduta.models.backbones import Backbone
from veduta.runtime.environment import processors
from veduta.tracking.console import Console


def fastest(backbone: Backbone, pixels: Rows, console: Console) -> tuple[str, dict[str, float]]:
    """The engine that was quickest on `pixels` just now, and images a second of each."""
    rates = measuring.measure(candidates(), backbone, pixels.take(), threads=processors())
    name = max(rates, key=lambda one: rates[one])
    told = ", ".join(f"{engine} {rate:,.0f}" for engine, rate in rates.items())
    console.say(f"engine      {name}, the fastest here; images a second: {told}")
    return name, {engine: round(rate, 1) for engine, rate in rates.items()}


def quantise(
    extractor: Extractor, images: Sequence[Image], pixels: Rows, *, cache: Path, console: Console
) -> Extractor:
    """The extractor in int8, calibrated on `images`, whose pixels are aligned with them."""
    with console.stage("calibrating int8", "images") as advance:
        made = quantised.quantised(
            extractor.backbone, extractor.spec(), images, pixels, cache=cache, progress=advance
        )
    return replace(extractor, quantised=made)


def check(
    extractor: Extractor, images: Sequence[Image], pixels: Rows, *, cache: Path, console: Console
) -> dict[str, Any] | None:
    """How far the features of `images` are from torch's in float32; None where it is torch's.

    Both come from the cache where they are known: the reference is kept there like any features.
    """
    if extractor.engine == TORCH:
        return None
    reference = replace(extractor, engine=TORCH, quantised=None)
    ours, theirs = (
        load_features(images, pixels, one, cache=cache).rows.take()
        for one in (extractor, reference)
    )
    found = agreement.agreement(ours, theirs)
    precision = str(extractor.spec()["precision"])
    text = (
        f"{extractor.engine} {precision} against {agreement.REFERENCE}, {found.images} images: "
        f"features differ by at most {found.largest_difference:.2g} of their length, smallest "
        f"cosine {found.smallest_cosine:.4f}"
    )
    if precision != F32:
        console.say(text)
    elif not found.largest_difference <= agreement.ROUNDING:
        console.warn(f"{text}; more than {agreement.ROUNDING:g} is not rounding")
    return found.as_dict()
