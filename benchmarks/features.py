"""Compare the rate of the feature cache with that of the engine alone.

    python -m benchmarks.features [--model NAME] [--image-size PIXELS] [--images N]

Engine: from tensors in memory into memory. Cache: `load_features` from decoded pixels in the cache
into the cache, with a loaded engine (the time for loading is printed). Both are measured
alternately in one run, so that other load affects both equally; CPU time is printed beside wall
time, which other load disturbs. The images are those of the Intel data set if it is available, else
noise: the rate does not depend on their content.
"""

# ruff: noqa: E402 - the process is prepared before torch is loaded

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from veduta.runtime.process import prepare_process

prepare_process()

import numpy as np
from PIL import Image as Pillow

from veduta.data.folder import read_folder
from veduta.data.pixels import Image, Resize, load_pixels
from veduta.data.row_store import Rows
from veduta.data.sample import Sample
from veduta.features.engines import choose_engine
from veduta.features.store import Extractor, compute_features, load_features
from veduta.networks.backbones import build_backbone
from veduta.runtime.environment import count_cores

INTEL = Path(__file__).parents[2] / "shared" / "data" / "intel"
ROUNDS = 5
Cost = tuple[float, float]


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--engine", default="auto", choices=["auto", "torch", "openvino"])
    options = parser.parse_args()
    threads = count_cores()
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        backbone = build_backbone(
            options.model, "pretrained", image_size=options.image_size, cache=cache
        )
        resize = Resize(options.image_size, backbone.preprocessing.filter)
        extractor = Extractor(backbone, choose_engine(options.engine), resize, threads)
        images, pixels = load_images(options.images, resize, cache, threads)
        print_rates(extractor, images, pixels, cache)


def load_images(count: int, resize: Resize, cache: Path, threads: int) -> tuple[list[Image], Rows]:
    """Return `count` images and their decoded pixels."""
    samples = list(read_folder(INTEL).samples if INTEL.is_dir() else write_noise(count, cache))
    selected = samples[:: max(1, len(samples) // count)][:count]
    loaded = load_pixels(selected, resize, cache=cache, threads=threads)
    return list(loaded.images), loaded.rows


def write_noise(count: int, folder: Path) -> list[Sample]:
    """Write files of noise, 150 x 150 pixels."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Pillow.fromarray(rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)).save(path)
    return [Sample(path, path.name, None, None) for path in paths]


def print_rates(extractor: Extractor, images: list[Image], pixels: Rows, cache: Path) -> None:
    """Measure both alternately; print the rates and their ratio."""
    start = time.perf_counter()
    engine = extractor.loaded_engine
    opening = time.perf_counter() - start
    ready = pixels.take()
    compute_features(ready[:64], extractor.backbone, engine)  # warm
    engine_costs: list[Cost] = []
    cache_costs: list[Cost] = []
    for number in range(ROUNDS):
        start_cost = read_clocks()
        compute_features(ready, extractor.backbone, engine)
        engine_costs.append(compute_cost(start_cost))
        cache_costs.append(measure_cache(extractor, images, pixels, cache / f"round-{number}"))
    size = extractor.backbone.preprocessing.image_size
    print(f"{extractor.backbone.model.name} at {size} px, {extractor.engine}, {len(images)} images")
    print(f"loading the engine          {opening:6.2f} s, {extractor.threads} threads")
    for name, costs in (("engine", engine_costs), ("cache", cache_costs)):
        rates = [len(images) / wall for wall, _ in costs]
        print(f"{name:6} images/second       {statistics.median(rates):6.0f}   {format_all(rates)}")
    for kind, name in enumerate(("wall time", "CPU time")):
        ratios = [
            one[kind] / other[kind] for one, other in zip(engine_costs, cache_costs, strict=True)
        ]
        middle = statistics.median(ratios)
        print(f"engine / cache, {name:13}{middle:6.2f}   {format_all(ratios, 2)}")


def measure_cache(extractor: Extractor, images: list[Image], pixels: Rows, cache: Path) -> Cost:
    """Measure `load_features` with an empty cache and a loaded engine."""
    start = read_clocks()
    loaded = load_features(images, pixels, extractor, cache=cache)
    assert loaded.computed == len(images)
    return compute_cost(start)


def read_clocks() -> Cost:
    """Return wall time and the CPU time of this process, in seconds."""
    return time.perf_counter(), time.process_time()


def compute_cost(start: Cost) -> Cost:
    """Return wall time and CPU time since `start`."""
    wall, cpu = read_clocks()
    return wall - start[0], cpu - start[1]


def format_all(values: list[float], digits: int = 0) -> str:
    """Return all values, which shows their variation."""
    return " ".join(f"{value:.{digits}f}" for value in values)


if __name__ == "__main__":
    main()
