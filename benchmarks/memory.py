"""Measure the memory of a search: compared with its plan, and with ten times as many images.

    python -m benchmarks.memory [--images 10000,100000] [--trials 16] [--epochs 3] [--memory 4GB]

It writes folders of small synthetic images, runs a search on each in a separate process with an
empty cache, and reads the anonymous memory of that process (RssAnon of /proc/PID/status, without
mapped files) twenty times per second. It prints the memory after all imports, the maximum of each
stage above it, the memory plan of the training, and the ratios. It runs only on Linux.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from veduta.runs.events import MemoryPlanned, events_of_type
from veduta.runs.journal import read_journal

SIZE, CLASSES, SAMPLES_PER_SECOND = 32, 4, 20
RATES = [1e-4, 2e-4, 3e-4, 1e-3, 2e-3, 3e-3, 1e-2, 2e-2]
DROPOUT = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
MB = 1e6


def write_images(folder: Path, count: int) -> None:
    """Write class folders with `count` different images of colored noise."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    colors = generator.integers(60, 200, (CLASSES, 3))
    for label in range(CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
    for number in range(count):
        label = number % CLASSES
        coarse = generator.normal(0, 30, (4, 4, 3)) + colors[label]
        image = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
        path = folder / f"class {label}" / f"{number:06}.png"
        image.resize((SIZE, SIZE)).save(path, compress_level=1)


def search(data: Path, cache: Path, settings: dict[str, Any]) -> None:
    """Run a search; print on standard output when a stage starts."""
    import os

    os.environ["VEDUTA_CACHE"] = str(cache)
    import openvino  # noqa: F401 - the base includes every library of a run
    import torch.utils.tensorboard  # noqa: F401

    import veduta
    import veduta.experiment.run
    from veduta.tracking.console import Console
    from veduta.types import Progress

    class StageConsole(Console):
        """Prints when a stage starts and ends."""

        @contextmanager
        def stage(self, label: str, unit: str, *more: Any) -> Iterator[Progress]:  # noqa: ANN401
            print("STAGE", label, flush=True)
            with super().stage(label, unit, *more) as advance:
                yield advance
            print("STAGE", f"after {label}", flush=True)

    print("STAGE imports", flush=True)
    time.sleep(0.5)
    print("STAGE finding files", flush=True)
    veduta.search(data, out=cache / "run", console=StageConsole(stderr=True), **settings)
    print("STAGE end", flush=True)


def read_anonymous_memory(pid: int) -> int:
    """Return the bytes that a process has allocated; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(s.split()[1]) * 1024 for s in text.splitlines() if s[:7] == "RssAnon"), 0)


def measure_stages(command: list[str]) -> dict[str, int]:
    """Run a command; return the maximum anonymous memory of each stage, in order."""
    peaks = {"start": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def sample() -> None:
            while process.poll() is None:
                stage = next(reversed(peaks))
                peaks[stage] = max(peaks[stage], read_anonymous_memory(process.pid))
                time.sleep(1 / SAMPLES_PER_SECOND)

        thread = threading.Thread(target=sample)
        thread.start()
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("STAGE "):
                peaks[line.removeprefix("STAGE ").strip()] = read_anonymous_memory(process.pid)
        thread.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    return peaks


def measure(scratch: Path, count: int, settings: dict[str, Any]) -> int:
    """Measure one number of images and print the results; return the peak above the base."""
    data, cache = scratch / f"images-{count}", scratch / f"cache-{count}"
    write_images(data, count)
    arguments = ["--child", json.dumps([str(data), str(cache), settings])]
    start = time.perf_counter()
    peaks = measure_stages([sys.executable, "-m", "benchmarks.memory", *arguments])
    base = peaks["imports"]
    print(f"{count:,} images, {time.perf_counter() - start:.0f} s; "
          f"base after imports {base / MB:.0f} MB")  # fmt: skip
    for stage, peak in peaks.items():
        if stage not in {"start", "imports"}:
            print(f"    {stage:32} {(peak - base) / MB:8.1f} MB above it")
    for event in events_of_type(read_journal(cache / "run" / "journal.jsonl"), MemoryPlanned):
        plan = event.in_use + event.planned
        print(f"    plan of the training: {(event.in_use - base) / MB:.1f} MB in use above "
              f"the base + {event.planned / MB:.1f} MB of tiles; peak of the training / "
              f"plan, including the base: {peaks['training'] / plan:.3f}, "
              f"without: {(peaks['training'] - base) / (plan - base):.3f}")  # fmt: skip
    return max(peaks.values()) - base


def main() -> None:
    """Measure all numbers of images and print the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", default="10000,100000")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--hidden", default="none")
    parser.add_argument("--child", type=json.loads)
    options = parser.parse_args()
    if options.child:
        data, cache, settings = options.child
        search(Path(data), Path(cache), settings)
        return
    grid = {"lr": RATES[: max(2, options.trials // 8)], "dropout": DROPOUT[: options.trials]}
    settings = {
        "grid": grid, "epochs": options.epochs, "memory": options.memory, "image_size": SIZE,
        "weights": "none", "batch_size": 128, "hidden": options.hidden,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        sizes = [int(text) for text in options.images.split(",")]
        peaks = [measure(Path(scratch), count, settings) for count in sizes]
    first, last = peaks[0], peaks[-1]
    more = (last - first) / (sizes[-1] - sizes[0]) if len(sizes) > 1 else 0
    print(f"peak above the base, {sizes[-1]:,} images / {sizes[0]:,}: {last / first:.2f}; "
          f"{more:.0f} more bytes per image")  # fmt: skip


if __name__ == "__main__":
    main()
