"""What is odd about single images: read right, and worth a look."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from veduta.data.inspect.findings import Finding
from veduta.data.inspect.traits import Traits
from veduta.data.pixels import Image
from veduta.data.sample import Sample

EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "PNG": {".png", ".apng"},
    "BMP": {".bmp", ".dib"},
    "DIB": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
}
"""The extensions that a format goes by; a name without one is no wrong one."""

LONG = 4.0  # from so many times as long as broad, an image is oddly shaped
TINY = 16  # pixels of the shorter side below which there is little to see
DARK, BRIGHT = 16.0, 240.0  # mean grey level
BLURRED = 0.03  # sharpness: scenes of 150 pixels have 0.1 or more, blurred by 2 pixels 0.03 or less
USUAL = 0.5  # what more than this share of all images has is how the data are


def odd_findings(images: Sequence[Image]) -> list[Finding]:
    """A finding for each oddity of an image.

    What more than half of all images have, such as being grey, is one finding about all of them.
    """
    found: dict[str, list[tuple[Sample, str]]] = defaultdict(list)
    for image in images:
        if image.traits:
            for problem, detail in oddities(image.sample.name, image.traits):
                found[problem].append((image.sample, detail))
    findings = []
    for problem, odd in found.items():
        if len(odd) > max(1, USUAL * len(images)):
            told = f"{len(odd):,} of {len(images):,} images, such as: {odd[0][1]}"
            findings.append(Finding(problem, tuple(sample for sample, _ in odd), told))
        else:
            findings += [Finding(problem, (sample,), detail) for sample, detail in odd]
    return findings


def oddities(name: str, traits: Traits) -> Iterator[tuple[str, str]]:
    """Problem and detail of whatever is odd about an image."""
    yield from _of_the_file(PurePath(name).suffix, traits)
    width, height = traits.width, traits.height
    longer, shorter = max(width, height), min(width, height)
    if longer >= LONG * shorter:
        yield "odd shape", f"{width} x {height} pixels, {longer / shorter:.0f} : 1"
    if shorter < TINY:
        yield "tiny image", f"{width} x {height} pixels"
    if traits.blank:
        yield "blank", f"all of it is one colour, grey level {traits.brightness:.0f} of 255"
    elif traits.brightness < DARK:
        yield "dark", f"mean grey level {traits.brightness:.0f} of 255"
    elif traits.brightness > BRIGHT:
        yield "bright", f"mean grey level {traits.brightness:.0f} of 255"
    elif traits.sharpness < BLURRED:
        yield "blurred", f"sharpness {traits.sharpness:.4f}; sharp images have {BLURRED} or more"


def _of_the_file(extension: str, traits: Traits) -> Iterator[tuple[str, str]]:
    known = EXTENSIONS.get(traits.format, {extension.lower()})
    if extension and extension.lower() not in known:
        yield (
            "wrong extension",
            f"a {traits.format} file called {extension}; it is read as what it is",
        )
    if traits.animated:
        yield "animated", "it has several frames; the first one is used"
    if traits.deep:
        yield "16-bit", "16 bits a channel; scaled to 8"
    elif traits.mode not in {"RGB", "RGBA"}:
        yield "not RGB", f"mode {traits.mode} of a {traits.format} file; converted to RGB"
    if traits.transparent:
        yield "transparent", "laid on white"
    if traits.orientation != 1:
        yield "rotated", f"EXIF orientation {traits.orientation}; turned upright"
