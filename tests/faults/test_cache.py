"""The cache: killed, failing, stale, or not to be written. What is not whole is never used."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import veduta
from tests.faults.fault_injection import inject_faults
from tests.faults.test_places import SMALL, search
from tests.support.permissions import those_of_a_user
from veduta.data.pixels import Resize, load_pixels
from veduta.data.sample import Sample
from veduta.tracking.console import Console


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return inject_faults("cache interrupted at every call", tmp_path_factory.mktemp("filled"))


@pytest.mark.skipif(
    bool(explain_missing_strace()), reason=f"needs strace: {explain_missing_strace()}"
)
def test_c5_a_cache_killed_or_failing_at_any_call_is_whole_or_absent(
    filled: dict[str, Any],
) -> None:
    assert filled["faults"] == []
    assert sum(filled["counts"].values()) > 50
    assert all(
        "the cache must" in line and "set VEDUTA_CACHE" in line for line in filled["told"]
    ), filled["told"]


def test_c5_an_image_that_was_edited_is_read_again_though_size_and_date_are_as_before(
    tmp_path: Path,
) -> None:
    path = tmp_path / "image.bmp"
    seen = []
    for value in (10, 200):
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
        os.utime(path, ns=(0, 0))
        sample = Sample(path, "image.bmp", "a", None)
        resize = Resize(8, "bicubic", "squash")
        found = load_pixels([sample], resize, cache=tmp_path / "cache", threads=1)
        seen.append(int(found.rows.take()[0, 0, 0, 0]))
    assert seen == [10, 200]


def test_c5_without_a_cache_that_can_be_written_a_run_is_the_same(
    color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, told, console = tmp_path / "locked", list[str](), Console(quiet=True)
    locked.mkdir()
    locked.chmod(0o500)
    monkeypatch.setattr(console, "warn", told.append)
    whole = search(color_folder, tmp_path / "whole")
    monkeypatch.setenv("VEDUTA_CACHE", str(locked / "cache"))
    with those_of_a_user():
        run = search(color_folder, tmp_path / "run", console=console)
    (line,) = told
    assert "Permission denied" in line
    assert "set VEDUTA_CACHE" in line
    instead = Path(line.split("; ")[2].split(" serves")[0])
    assert not instead.exists()
    assert [*locked.iterdir()] == []
    model = "model/model.safetensors"
    assert (run.directory.path / model).read_bytes() == (whole.directory.path / model).read_bytes()
    assert veduta.load(run.directory.path).classes == ("blue", "green", "red")
    assert SMALL["weights"] == "none"
