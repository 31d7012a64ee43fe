"""Measure how many image files per second become pixels, with an empty cache.

    python -m benchmarks.pixels [FOLDER] [--image-size PIXELS] [--rounds N]

Three methods alternate in one run: `load_pixels` (hash, decode, check, resize, write to disk, sync)
on all cores; a plain Pillow loop that discards the pixels; torchvision's ImageFolder with the same
resizing, which discards them, too. The last line is `load_pixels` with all images cached.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from veduta.data.folder import read_folder
from veduta.data.pixels import Resize, load_pixels
from veduta.data.sample import Sample
from veduta.runtime.environment import count_cores

INTEL = Path(__file__).parents[1] / "../shared/data/intel/train"


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=INTEL)
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    samples = read_folder(options.folder).samples
    size = options.image_size
    methods: dict[str, Callable[[Path], None]] = {
        "veduta, cache empty": lambda cache: load_by_veduta(samples, size, cache),
        "plain Pillow loop": lambda _: load_by_pillow(samples, size),
        "torchvision ImageFolder loop": lambda _: load_by_torchvision(options.folder, size),
        "veduta, all cached": lambda cache: load_by_veduta(samples, size, cache),
    }
    print(f"{len(samples)} files to {size} x {size}, {count_cores()} cores")
    print_rates(measure(methods, options.rounds), len(samples))


def load_by_veduta(samples: Sequence[Sample], size: int, cache: Path) -> None:
    """Load pixels into the cache, or from it."""
    loaded = load_pixels(samples, Resize(size), cache=cache, threads=count_cores())
    assert len(loaded.images) + len(loaded.rejected) == len(samples)


def load_by_pillow(samples: Sequence[Sample], size: int) -> None:
    """Load pixels with a simple loop."""
    for sample in samples:
        with Image.open(sample.path) as image:
            np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def load_by_torchvision(folder: Path, size: int) -> None:
    """Load pixels with the data set class of tutorials, without the workers of a DataLoader."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import InterpolationMode, Resize, functional

    resize = Resize((size, size), InterpolationMode.BICUBIC)
    for image, _ in ImageFolder(str(folder), transform=resize):
        functional.pil_to_tensor(image)


def measure(methods: dict[str, Callable[[Path], None]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each method in each round; each round has its own cache."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, method in methods.items():
                start = time.perf_counter()
                method(Path(cache))
                seconds[name].append(time.perf_counter() - start)
    return seconds


def print_rates(seconds: dict[str, list[float]], files: int) -> None:
    """Print images per second of each method, and the ratio to Veduta with an empty cache."""
    reference = next(iter(seconds.values()))
    for name, times in seconds.items():
        rate = files / statistics.median(times)
        ratio = statistics.median(own / t for own, t in zip(reference, times, strict=True))
        print(f"{name:30} {rate:8,.0f} images/s   ratio {ratio:5.2f}")


if __name__ == "__main__":
    main()
