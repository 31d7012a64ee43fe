"""A folder of images whose names contain markup, line breaks or invisible characters."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    b"<script>alert(1)<!--",
    b"\"quotes\" & 'more'",
    b"new\nline",
    "fox \N{FOX FACE}".encode(),
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe".encode(),
    "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET} (1".encode(),
)
FILE = b"<img src=x onerror=alert(2)>\n\xff%d.png"


def write_hostile_images(root: Path, count: int = 8) -> Path:
    """Write class folders of noisy gray squares; the brightness depends on the class."""
    generator = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        folder = os.path.join(os.fsencode(root), name)  # noqa: PTH118 - bytes have no Path
        os.makedirs(folder)  # noqa: PTH103
        for image in range(count):
            level = 20 + 40 * number + generator.normal(0, 25)
            pixels = np.clip(level + generator.normal(0, 30, (16, 16, 3)), 0, 255)
            path = os.path.join(folder, FILE % image)  # noqa: PTH118
            Image.fromarray(pixels.astype(np.uint8)).save(os.fsdecode(path))
    (root / os.fsdecode(CLASSES[2]) / "broken <b>.png").write_bytes(b"no image")
    return root
