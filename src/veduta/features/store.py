"""Features of frozen backbones, computed once per image and view and kept in the cache."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from veduta.augment.views import PLAIN, View
from veduta.data.decode import DECODER
from veduta.data.pixels import Image, Resize
from veduta.data.row_store import Rows, RowStore
from veduta.features.engines import Engine, get_engine_version, open_engine
from veduta.features.openvino_engine import F32, INT8
from veduta.features.quantized import QuantizedBackbone
from veduta.networks.backbones import Backbone
from veduta.runtime.streams import derive_sample_keys
from veduta.types import Float32Array, PixelArray, Progress, ignore_progress

CODE = 1  # version of the computation, part of the keys of features
IMAGES_PER_SHARD = 2048  # after this number of images the rows are written to the cache
IMAGES_PER_BLOCK = 256  # maximum for one call of the engine; 38 MB of pixels at 224 px
BYTES_PER_BLOCK = 256 * 2**20  # maximum size of the pixels of a block; 21 images at 2048 px

Block = tuple[slice, PixelArray]
"""The positions of a block among the requested images, and their pixels (n, S, S, 3)."""


def iterate_blocks(
    pixels: Rows, indices: Sequence[int], *, digests: Sequence[str], view: View, size: int
) -> Iterator[Block]:
    """Yield the view of the images at `indices` in blocks, with at most two blocks in memory.

    Args:
        pixels: uint8 (images, S, S, 3).
        indices: indices of the requested images.
        digests: digests of the contents of these images.
        view: the view to compute.
        size: number of images per block; it does not change the view of an image.
    """

    def read_block(start: int) -> Block:
        positions = slice(start, min(start + size, len(indices)))
        rows = pixels.take(np.asarray(indices[positions]))
        return positions, view.apply(rows, derive_sample_keys(digests[positions]))

    with ThreadPoolExecutor(1) as pool:
        following = None
        for start in range(0, len(indices), size):
            current, following = following, pool.submit(read_block, start)
            if current:
                yield current.result()
        if following:
            yield following.result()


@dataclass(frozen=True)
class Extractor:
    """Computes features of images.

    Attributes:
        backbone: the network.
        engine: name of the engine that runs it, as `choose_engine` returns it.
        resize: how images were resized to pixels.
        threads: number of threads; it does not change the features.
        quantized: the backbone in int8; None in float32.
    """

    backbone: Backbone
    engine: str
    resize: Resize
    threads: int
    quantized: QuantizedBackbone | None = None

    def spec(self, view: View = PLAIN) -> dict[str, object]:
        """Return everything that determines the features of a view, except the image."""
        model, preprocessing = self.backbone.model, self.backbone.preprocessing
        network = {}
        if self.quantized:
            network["calibration"] = self.quantized.calibration
            network["network"] = self.quantized.network.sha256
        return {
            "code": CODE,
            "model": model.architecture,
            "library": f"{model.library} {version(model.library)}",
            "weights": self.backbone.weights_sha256,
            "cut": self.backbone.cut,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "decoder": DECODER,
            **asdict(self.resize),
            "engine": f"{self.engine} {get_engine_version(self.engine)}",
            "precision": INT8 if self.quantized else F32,
            "dtype": "float32",
            "view": view.spec(),
            **network,
        }

    @cached_property
    def loaded_engine(self) -> Engine:
        """The engine; loading it takes seconds, so it is loaded on first use."""
        network = self.quantized.network if self.quantized else None
        return open_engine(self.engine, self.backbone, threads=self.threads, network=network)


@dataclass(frozen=True)
class Features:
    """Features of images.

    Attributes:
        rows: float32 (images, *shape of the backbone's output), aligned with the images.
        reused: number of images whose features were in the cache.
        computed: number of the other images.
        engine: name of the engine that computed the features.
        key: key of everything that determines a feature, except the image.
    """

    rows: Rows
    reused: int
    computed: int
    engine: str
    key: str


def load_features(
    images: Sequence[Image],
    pixels: Rows,
    extractor: Extractor,
    *,
    cache: Path,
    view: View = PLAIN,
    progress: Progress = ignore_progress,
) -> Features:
    """Load the features of images from the cache, and compute those that are missing.

    Args:
        images: the images; the digests of their contents are the keys.
        pixels: pixels of `images`, uint8 (images, S, S, 3).
        extractor: network and engine; the engine is loaded only if features are missing.
        cache: folder of the cache.
        view: the view whose features are computed; its pixels are not kept.
        progress: called with the number of finished images and with that of all.

    Raises:
        EngineError: the engine is not installed.
        InputError: the disk is full, or the cache cannot be written.
    """
    indices: dict[str, int] = {}  # of the first image with each content
    for index, image in enumerate(images):
        indices.setdefault(image.digest, index)
    shape = extractor.backbone.shape
    store = RowStore(cache, "features", extractor.spec(view), shape=shape, dtype="float32")
    missing = store.find_missing(list(indices))
    absent = set(missing)
    computed = sum(image.digest in absent for image in images)
    done = len(indices) - len(missing)
    progress(done, len(indices))

    def report(previous: int, finished: int, _: int, /) -> None:
        progress(previous + finished, len(indices))

    if missing:
        engine = extractor.loaded_engine
        for start in range(0, len(missing), IMAGES_PER_SHARD):
            digests = missing[start : start + IMAGES_PER_SHARD]
            with store.fill(digests) as shard:
                done += len(digests) - len(shard.keys)  # computed by another process meanwhile
                progress(done, len(indices))
                requested = [indices[key] for key in shard.keys]
                image_bytes = 3 * extractor.resize.size**2
                size = max(1, min(IMAGES_PER_BLOCK, BYTES_PER_BLOCK // image_bytes))
                blocks = iterate_blocks(pixels, requested, digests=shard.keys, view=view, size=size)
                for positions, block in blocks:
                    engine.write_features(block, shard.rows[positions], partial(report, done))
                    done += len(block)
    rows = store.load_rows([image.digest for image in images])
    return Features(rows, len(images) - computed, computed, extractor.engine, store.folder.name)


def compute_features(pixels: PixelArray, backbone: Backbone, engine: Engine) -> Float32Array:
    """Compute features (n, ...) of pixels (n, S, S, 3) without the cache, as for prediction."""
    out = np.empty((len(pixels), *backbone.shape), dtype=np.float32)
    engine.write_features(pixels, out, ignore_progress)
    return out


def load_views(
    images: Sequence[Image],
    pixels: Rows,
    extractor: Extractor,
    *,
    views: Sequence[View],
    cache: Path,
    progress: Progress,
) -> list[Features]:
    """Load the features of several views; arguments and errors are those of `load_features`.

    `progress` is called with the number of finished images and with that of all, over all views.
    """
    tables: list[Features] = []

    def report(done: int, total: int) -> None:
        progress(len(tables) * total + done, len(views) * total)

    for view in views:
        table = load_features(images, pixels, extractor, cache=cache, view=view, progress=report)
        tables.append(table)
    return tables
