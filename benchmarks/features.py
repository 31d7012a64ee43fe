"""How much of an engine's bare rate the store of features keeps.

    python -m benchmarks.features [--model NAME] [--image-size PIXELS] [--images N]

Bare: the engine over ready tensors in memory, into memory. Store: `load_features` from decoded
pixels in the cache into the cache, with an engine that is open (what opening takes is shown). Both
in turns in one run, so that whatever else the machine does falls on both; processor time stands
beside the clock's, which other work disturbs. Images are those of the Intel set where it is at
hand, noise otherwise: the rate does not depend on what they show.
"""

# ruff: noqa: E402 - the process is prepared before torch is loaded

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from veduta.runtime.process import prepare

prepare()

import numpy as np
from PIL import Image as Pillow

from veduta.data.folder import read_folder
from veduta.data.pixels import Image, Resize, load_pixels
from veduta.data.row_store import Rows
from veduta.data.sample import Sample
from veduta.features.engines import choose_engine
from veduta.features.store import Extractor, compute_features, load_features
from veduta.networks.backbones import build_backbone
from veduta.runtime.environment import processors

INTEL = Path(__file__).parents[2] / "shared" / "data" / "intel"
ROUNDS = 5
Cost = tuple[float, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--engine", default="auto", choices=["auto", "torch", "openvino"])
    chosen = parser.parse_args()
    threads = processors()
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        backbone = build_backbone(
            chosen.model, "pretrained", image_size=chosen.image_size, cache=cache
        )
        resize = Resize(chosen.image_size, backbone.preprocessing.filter)
        extractor = Extractor(backbone, choose_engine(chosen.engine), resize, threads)
        images, pixels = read(chosen.images, resize, cache, threads)
        report(extractor, images, pixels, cache)


def read(count: int, resize: Resize, cache: Path, threads: int) -> tuple[list[Image], Rows]:
    """`count` images and their decoded pixels."""
    samples = list(read_folder(INTEL).samples if INTEL.is_dir() else noise(count, cache))
    chosen = samples[:: max(1, len(samples) // count)][:count]
    found = load_pixels(chosen, resize, cache=cache, threads=threads)
    return list(found.images), found.rows


def noise(count: int, folder: Path) -> list[Sample]:
    """Files of noise, 150 x 150."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Pillow.fromarray(rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)).save(path)
    return [Sample(path, path.name, None, None) for path in paths]


def report(extractor: Extractor, images: list[Image], pixels: Rows, cache: Path) -> None:
    """Print the rates of both, in turns, and their ratio."""
    start = time.perf_counter()
    engine = extractor.opened
    opening = time.perf_counter() - start
    ready = pixels.take()
    compute_features(ready[:64], extractor.backbone, engine)  # warm
    bare: list[Cost] = []
    kept: list[Cost] = []
    for number in range(ROUNDS):
        before = now()
        compute_features(ready, extractor.backbone, engine)
        bare.append(since(before))
        kept.append(cost_of_store(extractor, images, pixels, cache / f"round-{number}"))
    size = extractor.backbone.preprocessing.image_size
    print(f"{extractor.backbone.model.name} at {size} px, {extractor.engine}, {len(images)} images")
    print(f"opening the engine          {opening:6.2f} s, {extractor.threads} threads")
    for name, costs in (("bare", bare), ("store", kept)):
        rates = [len(images) / wall for wall, _ in costs]
        print(f"{name:5} images/second        {statistics.median(rates):6.0f}   {rounded(rates)}")
    for kind, name in enumerate(("time", "processor time")):
        ratios = [one[kind] / other[kind] for one, other in zip(bare, kept, strict=True)]
        middle = statistics.median(ratios)
        print(f"bare / store, {name:14}{middle:6.2f}   {rounded(ratios, 2)}")


def cost_of_store(extractor: Extractor, images: list[Image], pixels: Rows, cache: Path) -> Cost:
    """What `load_features` takes with an empty cache; its engine is open already."""
    before = now()
    found = load_features(images, pixels, extractor, cache=cache)
    assert found.computed == len(images)
    return since(before)


def now() -> Cost:
    """Seconds on the clock, and of this process's processors."""
    return time.perf_counter(), time.process_time()


def since(before: Cost) -> Cost:
    """Both, since then."""
    clock, processor = now()
    return clock - before[0], processor - before[1]


def rounded(values: list[float], digits: int = 0) -> str:
    """All values, for the reader who asks how much they vary."""
    return " ".join(f"{value:.{digits}f}" for value in values)


if __name__ == "__main__":
    main()
