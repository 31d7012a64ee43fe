"""What all tests share: a cache of their own, and small folders of images."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from veduta.runtime.process import prepare

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: heads are trained on one thread
prepare()
settings.register_profile("veduta", deadline=None, derandomize=True)
settings.load_profile("veduta")

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or fills the user's cache."""
    os.environ["VEDUTA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def paint(folder: Path, count: int, *, seed: int = 0, spread: float = 60) -> None:
    """Class folders of noisy coloured squares: easy, not trivial, to tell apart."""
    generator = np.random.default_rng(seed)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            noise = generator.normal(0, spread, (32, 32, 3)) + generator.normal(0, spread, 3)
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number:03}.png")


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: 3 classes of 20 images. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("colours")
    paint(folder / "data", 20)
    return folder / "data"


@pytest.fixture
def split_colours(tmp_path: Path) -> Path:
    """Split folders: train of 3 x 20, test of 3 x 8. A test may change it."""
    folder = tmp_path / "splits"
    paint(folder / "train", 20)
    paint(folder / "test", 8, seed=1)
    return folder


@pytest.fixture
def intel() -> Path:
    """The Intel scene images, where they are."""
    if not (SHARED / "intel").is_dir():
        pytest.skip("../shared/data/intel, the Intel scene images, is not here")
    return SHARED / "intel"


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, with its content: to show that nothing was written or changed."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
