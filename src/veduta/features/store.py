"""Features of frozen backbones, computed once per image and view and kept in the cache."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veduta.augment.views import PLAIN, View
from veduta.data.decode import DECODER
from veduta.data.pixels import Image, Resize
from veduta.data.row_store import Rows, RowStore
from veduta.features.engines import Engine, engine_version, open_engine
from veduta.features.openvino_engine import F32, INT8
from veduta.features.quantized import Quantised
from veduta.networks.backbones import Backbone
from veduta.runtime.streams import sample_keys

Block = tuple[slice, NDArray[np.uint8]]
"""Which of the images, and their pixels (n, S, S, 3)."""


def blocks(
    pixels: Rows, places: Sequence[int], *, digests: Sequence[str], view: View, size: int
) -> Iterator[Block]:
    """The view of the pixels at `places`, `size` images at a time; memory holds two blocks.

    Args:
        pixels: uint8 (images, S, S, 3).
        places: which of them, in the order of the blocks.
        digests: one a place, of the image's content.
        view: what is shown of each.
        size: images a block; it does not change what is shown.
    """

    def block(start: int) -> Block:
        part = slice(start, min(start + size, len(places)))
        taken = pixels.take(np.asarray(places[part]))
        return part, view.apply(taken, sample_keys(digests[part]))

    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for start in range(0, len(places), size):
            now, ahead = ahead, pool.submit(block, start)
            if now:
                yield now.result()
        if ahead:
            yield ahead.result()


CODE = 1  # grows when this package changes what it computes
KEPT = 2048  # images after which the rows are safe in the cache, whatever happens next
BLOCK = 256  # images handed to the engine at once, at most: at 224 px 38 MB of pixels
BLOCK_BYTES = 256 * 2**20  # of their pixels, at most: at 2048 px 21 images

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Extractor:
    """What turns an image into features.

    Attributes:
        backbone: the network.
        engine: name of the engine that runs it, as `choose_engine` gives it.
        resize: how images became pixels.
        threads: how many threads may run; they do not change the result.
        quantised: the backbone in int8, where that is what runs.
    """

    backbone: Backbone
    engine: str
    resize: Resize
    threads: int
    quantised: Quantised | None = None

    def spec(self, view: View = PLAIN) -> dict[str, object]:
        """Everything that decides a feature of a view, the image apart."""
        model, preprocessing = self.backbone.model, self.backbone.preprocessing
        network = {}
        if self.quantised:
            network["calibration"] = self.quantised.calibration
            network["network"] = self.quantised.network.sha256
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
            "engine": f"{self.engine} {engine_version(self.engine)}",
            "precision": INT8 if self.quantised else F32,
            "dtype": "float32",
            "view": view.spec(),
            **network,
        }

    @cached_property
    def opened(self) -> Engine:
        """The engine, loaded and compiled when first asked for: this takes seconds."""
        network = self.quantised.network if self.quantised else None
        return open_engine(self.engine, self.backbone, threads=self.threads, network=network)


@dataclass(frozen=True)
class Features:
    """Features of images.

    Attributes:
        rows: float32, (images, *shape of the backbone's output), aligned with the images.
        reused: how many images had theirs in the cache.
        computed: how many had not.
        engine: name of the engine that computed them.
        key: of everything that decides a feature, the image apart.
    """

    rows: Rows
    reused: int
    computed: int
    engine: str
    key: str


def _silent(done: int, total: int) -> None:
    """No progress shown."""


def load_features(
    images: Sequence[Image],
    pixels: Rows,
    extractor: Extractor,
    *,
    cache: Path,
    view: View = PLAIN,
    progress: Progress = _silent,
) -> Features:
    """The features of `images`, from the cache where their content is known.

    Args:
        images: their digests are the keys.
        pixels: uint8, (images, S, S, 3), aligned with `images`.
        extractor: network and engine; the engine is opened only when something is missing.
        cache: folder of the cache.
        view: what the backbone sees of an image; made block by block, never kept.
        progress: called with (images done, images in all).

    Raises:
        EngineError: the engine is not installed.
        InputError: the disk has no room, or the cache cannot be written.
    """
    places: dict[str, int] = {}  # of the first image with each content
    for place, image in enumerate(images):
        places.setdefault(image.digest, place)
    shape = extractor.backbone.shape
    store = RowStore(cache, "features", extractor.spec(view), shape=shape, dtype="float32")
    missing = store.missing(list(places))
    absent = set(missing)
    computed = sum(image.digest in absent for image in images)
    done = len(places) - len(missing)
    progress(done, len(places))

    def more(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(places))

    if missing:
        engine = extractor.opened
        for start in range(0, len(missing), KEPT):
            wanted = missing[start : start + KEPT]
            with store.fill(wanted) as block:
                more(len(wanted) - len(block.keys))  # made by another process meanwhile
                chosen = [places[key] for key in block.keys]
                size = max(1, min(BLOCK, BLOCK_BYTES // (3 * extractor.resize.size**2)))
                seen = blocks(pixels, chosen, digests=block.keys, view=view, size=size)
                for part, shown in seen:
                    engine.features(shown, block.rows[part], more)
    rows = store.rows([image.digest for image in images])
    return Features(rows, len(images) - computed, computed, extractor.engine, store.folder.name)


def compute_features(
    pixels: NDArray[np.uint8], backbone: Backbone, engine: Engine
) -> NDArray[np.float32]:
    """Features (n, ...) of pixels (n, S, S, 3) that are not to be kept, such as in prediction."""
    out = np.empty((len(pixels), *backbone.shape), dtype=np.float32)
    engine.features(pixels, out, lambda _: None)
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
    """The features of each view of `images`; arguments and errors as of `load_features`.

    `progress` is called with (images done, images in all), over all views.
    """

    def show(done: int, total: int) -> None:
        progress(len(found) * total + done, len(views) * total)

    found: list[Features] = []
    for view in views:
        one = load_features(images, pixels, extractor, cache=cache, view=view, progress=show)
        found.append(one)
    return found
