"""Images and comparisons for tests of features and engines."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from sklearn.datasets import load_sample_images

from veduta.data.pixels import Image
from veduta.data.row_store import Rows, RowStore
from veduta.data.sample import Sample
from veduta.features.engines import Engine
from veduta.types import Float32Array, PixelArray, ignore_progress

INTEL = Path(__file__).parents[3] / "shared" / "data" / "intel" / "test"
SIZE = 64


def draw_noise(count: int, size: int = SIZE) -> PixelArray:
    """Return images of noise, (count, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def load_photographs(size: int) -> PixelArray:
    """Return squares of photographs: of the Intel data set if it exists, else of scikit-learn."""
    if paths := sorted(INTEL.rglob("*.jpg"))[::60]:
        images = [PillowImage.open(path).convert("RGB") for path in paths]
    else:
        photographs = [PillowImage.fromarray(image) for image in load_sample_images().images]
        boxes = [(x, y, x + 200, y + 200) for x in (0, 200, 400) for y in (0, 200)]
        images = [image.crop(box) for image in photographs for box in boxes]
    return np.stack([np.asarray(image.resize((size, size))) for image in images])


def run_engine(engine: Engine, pixels: PixelArray, width: int = 1280) -> Float32Array:
    """Compute features (n, width) by an engine."""
    out = np.full((len(pixels), width), np.nan, dtype=np.float32)
    engine.write_features(pixels, out, ignore_progress)
    return out


def compute_max_difference(features: Float32Array, reference: Float32Array) -> float:
    """Return the maximum distance of two rows, relative to the norm of the reference row."""
    distances = np.linalg.norm(features - reference, axis=1)
    return float((distances / np.linalg.norm(reference, axis=1)).max())


def store_images(pixels: PixelArray, root: Path) -> tuple[list[Image], Rows]:
    """Keep pixels in a store below `root`; return the images and their rows."""
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    store = RowStore(root, "pixels", {}, shape=pixels.shape[1:], dtype="uint8")
    with store.fill(digests) as block:
        for index, key in enumerate(block.keys):
            block.rows[index] = pixels[digests.index(key)]
    samples = [Sample(Path(f"{i}.png"), f"{i}.png", None, None) for i in range(len(digests))]
    images = [Image(sample, digest) for sample, digest in zip(samples, digests, strict=True)]
    return images, store.load_rows(digests)
