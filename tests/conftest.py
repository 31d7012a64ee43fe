"""Fixtures of all tests: a separate cache, and small folders of images."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.datasets import SHARED, write_color_folders
from veduta.runtime.process import prepare_process

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: heads are trained on one thread
prepare_process()
settings.register_profile("veduta", deadline=None, derandomize=True)
settings.load_profile("veduta")


@pytest.fixture(scope="session", autouse=True)
def _separate_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor fill the user's cache."""
    os.environ["VEDUTA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def color_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: 3 classes of 20 images. No test may change it."""
    folder = tmp_path_factory.mktemp("colors")
    write_color_folders(folder / "data", 20)
    return folder / "data"


@pytest.fixture
def split_folder(tmp_path: Path) -> Path:
    """Split folders: train of 3 x 20 images, test of 3 x 8. A test may change it."""
    folder = tmp_path / "splits"
    write_color_folders(folder / "train", 20)
    write_color_folders(folder / "test", 8, seed=1)
    return folder


@pytest.fixture
def intel() -> Path:
    """Folder of the Intel scene images; tests are skipped if it does not exist."""
    if not (SHARED / "intel").is_dir():
        pytest.skip("../shared/data/intel, the Intel scene images, does not exist")
    return SHARED / "intel"


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """A function that returns the content of every file below a folder by relative path."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return read
