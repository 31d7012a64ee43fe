"""How many image files a second become pixels, cache empty, everything included.

    python -m benchmarks.pixels [FOLDER] [--image-size PIXELS] [--rounds N]

Three ways in turns in one run: `load_pixels` (hash, decode, resize, write to the disk, sync) on
every processor; a plain Pillow loop that throws its pixels away; torchvision's ImageFolder with the
same resize, likewise. The last line of the table is a second run of ours, with everything cached.
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
from veduta.runtime.environment import processors

INTEL = Path(__file__).parents[1] / "../shared/data/intel/train"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=INTEL)
    parser.add_argument("--image-size", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    samples = read_folder(chosen.folder).samples
    size = chosen.image_size
    ways: dict[str, Callable[[Path], None]] = {
        "veduta, cache empty": lambda cache: ours(samples, size, cache),
        "plain Pillow loop": lambda _: pillow(samples, size),
        "torchvision ImageFolder loop": lambda _: torchvision(chosen.folder, size),
        "veduta, all cached": lambda cache: ours(samples, size, cache),
    }
    print(f"{len(samples)} files to {size} x {size}, {processors()} processors")
    report(measure(ways, chosen.rounds), len(samples))


def ours(samples: Sequence[Sample], size: int, cache: Path) -> None:
    """Into the cache, or out of it."""
    found = load_pixels(samples, Resize(size), cache=cache, threads=processors())
    assert len(found.images) + len(found.rejected) == len(samples)


def pillow(samples: Sequence[Sample], size: int) -> None:
    """What anyone would write first."""
    for sample in samples:
        with Image.open(sample.path) as image:
            np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def torchvision(folder: Path, size: int) -> None:
    """What tutorials write: the data set as it is, without the workers of a DataLoader."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import InterpolationMode, Resize, functional

    resize = Resize((size, size), InterpolationMode.BICUBIC)
    for image, _ in ImageFolder(str(folder), transform=resize):
        functional.pil_to_tensor(image)


def measure(ways: dict[str, Callable[[Path], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; a round has its own cache."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for name, way in ways.items():
                start = time.perf_counter()
                way(Path(cache))
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: dict[str, list[float]], files: int) -> None:
    """Images a second of each way, and how many times as fast as ours it is, the cache empty."""
    ours_first = next(iter(seconds.values()))
    for name, times in seconds.items():
        rate = files / statistics.median(times)
        ratio = statistics.median(own / t for own, t in zip(ours_first, times, strict=True))
        print(f"{name:30} {rate:8,.0f} images/s   ratio {ratio:5.2f}")


if __name__ == "__main__":
    main()
