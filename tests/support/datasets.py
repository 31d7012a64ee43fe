"""Small data sets of images."""

from pathlib import Path

import numpy as np
from PIL import Image

COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}
SHARED = Path(__file__).parents[3] / "shared" / "data"
"""Folder of real data sets; tests that need one are skipped if it does not exist."""


def write_color_folders(folder: Path, count: int, *, seed: int = 0, spread: float = 60) -> None:
    """Write class folders of noisy colored squares that a small network can learn."""
    generator = np.random.default_rng(seed)
    for label, color in COLORS.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            noise = generator.normal(0, spread, (32, 32, 3)) + generator.normal(0, spread, 3)
            pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:03}.png")
