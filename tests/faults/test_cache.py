"""The cache: interrupted, failing, stale or read-only; an incomplete cache is never used."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import veduta
from tests.faults.fault_injection import inject_faults, needs_strace
from tests.support.permissions import without_root_privileges
from tests.support.runs import run_small_search
from veduta.data.pixels import Resize, load_pixels
from veduta.data.sample import Sample
from veduta.tracking.console import Console


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of interrupting a process that fills a cache at each of its calls."""
    return inject_faults("cache interrupted at every call", tmp_path_factory.mktemp("filled"))


@needs_strace
def test_a_cache_interrupted_at_any_call_is_complete_or_missing(
    filled: dict[str, Any],
) -> None:
    assert filled["faults"] == []
    assert sum(filled["counts"].values()) > 50
    assert all(
        "the cache must" in line and "set VEDUTA_CACHE" in line for line in filled["messages"]
    ), filled["messages"]


def test_an_edited_image_of_the_same_size_and_date_is_read_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "image.bmp"
    pixels = []
    for value in (10, 200):
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
        os.utime(path, ns=(0, 0))
        sample = Sample(path, "image.bmp", "a", None)
        resize = Resize(8, "bicubic", "squash")
        rows = load_pixels([sample], resize, cache=tmp_path / "cache", threads=1)
        pixels.append(int(rows.rows.take()[0, 0, 0, 0]))
    assert pixels == [10, 200]


def test_a_run_without_a_writable_cache_has_the_same_results(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, warnings, console = tmp_path / "locked", list[str](), Console(quiet=True)
    locked.mkdir()
    locked.chmod(0o500)
    monkeypatch.setattr(console, "warn", warnings.append)
    settings: dict[str, Any] = {"grid": {"lr": [3e-3, 1e-2]}, "weights": "none"}
    whole = run_small_search(color_folder, tmp_path / "whole", **settings)
    monkeypatch.setenv("VEDUTA_CACHE", str(locked / "cache"))
    with without_root_privileges():
        run = run_small_search(color_folder, tmp_path / "run", console=console, **settings)
    (warning,) = warnings
    assert "Permission denied" in warning
    assert "set VEDUTA_CACHE" in warning
    replacement = Path(warning.split("; ")[2].split(" serves")[0])
    assert not replacement.exists()
    assert [*locked.iterdir()] == []
    model = "model/model.safetensors"
    assert (run.directory.path / model).read_bytes() == (whole.directory.path / model).read_bytes()
    assert veduta.load(run.directory.path).classes == ("blue", "green", "red")
