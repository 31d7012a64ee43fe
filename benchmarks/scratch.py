"""Measure how soon networks trained from scratch reach the report's accuracy of half an hour.

    python -m benchmarks.scratch --environments DIR [FOLDER] [--minutes 30] [--only METHOD,METHOD]

report     `veduta train --model report_cnn`, 64-32-16 channels, the report's settings, for the
           whole time: its best validation accuracy is the target for the others
quick      `veduta train --model cnn` with quick settings, until validation reaches the target
cnn        the same with the default settings of `--model cnn`, to its end
fastai     ResNet-18 as in fastai's guide, from random weights, one cycle; until the target
wide       256-128-64 channels, the report's settings: duration of one epoch

All have the same split and budget, start from files with an empty cache, and use all cores; seconds
are those from the start of the process to the end of the epoch that reached the target, including
loading and evaluation. Nothing is extrapolated. Only runs of Veduta that end evaluate the test set,
once each.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.workers.environments import set_up_environment
from benchmarks.workers.job import Job
from veduta.data.folder import read_folder
from veduta.runs.events import EpochFinished, events_of_type
from veduta.runs.journal import read_journal
from veduta.runs.summary import read_run_summary
from veduta.runs.tables import read_splits
from veduta.runtime.environment import count_cores

REPORT = {"model": "report_cnn"}
QUICK: dict[str, Any] = {"model": "cnn", "image_size": 64, "epochs": 8}
WIDE = {"model": "report_cnn", "channels": "256x128x64", "epochs": 1}
METHODS = ("report", "quick", "cnn", "fastai", "wide")
Point = tuple[float, float]
"""Seconds since the start of the process, and the validation accuracy at that time."""


def train(
    data: Path, folder: Path, flags: Mapping[str, Any], *, budget: float
) -> tuple[list[Point], float | None]:
    """Run the command until it ends or the budget is spent; return epochs and test accuracy.

    Args:
        data: folder of images.
        folder: folder of the run, which is emptied.
        flags: values by setting.
        budget: seconds after which the process is ended.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "veduta.cli.main", "train", str(data.absolute())]
    command += [f"--out={folder / 'run'}"]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "VEDUTA_CACHE": str(folder / "cache")}
    start = time.time()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            process.wait(budget)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
    epochs = events_of_type(read_journal(folder / "run" / "journal.jsonl"), EpochFinished)
    points = [(epoch.time - start, epoch.val_accuracy) for epoch in epochs]
    path = folder / "run" / "summary.json"
    test = read_run_summary(path).test.accuracy.value if path.is_file() else None
    return [point for point in points if point[0] <= budget], test


def train_by_fastai(
    data: Path, folder: Path, target: float, *, budget: float, epochs: int
) -> list[Point]:
    """Train with fastai in its environment, on the split of the run `report`."""
    table = read_splits(folder / "report" / "run" / "splits.csv")
    split = dict(zip(table["path"], table["split"], strict=True))
    listing = read_folder(data)
    number = {name: index for index, name in enumerate(listing.classes)}
    images: dict[str, list[tuple[str, int]]] = {"train": [], "validation": []}
    for sample in listing.samples:
        if (name := split.get(sample.name, "")) in images:
            images[name].append((str(sample.path.absolute()), number[str(sample.label)]))
    job = Job(
        images=images, classes=len(number), image_size=128, batch_size=64, epochs=epochs,
        grid={"lr": [3e-3]}, weights="", features="", threads=count_cores(), loops=1, some=0,
    )  # fmt: skip
    input_path, output_path = folder / "job.json", folder / "answer.json"
    input_path.write_text(json.dumps({**asdict(job), "target": target, "budget": budget}))
    python = set_up_environment(folder.parent, "fastai")
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV"))}
    clean |= {"OMP_NUM_THREADS": str(count_cores()), "STARTED": str(time.time())}
    module = ["-m", "benchmarks.workers.from_scratch", str(input_path), str(output_path)]
    subprocess.run(
        [python, "-W", "ignore", *module], cwd=Path(__file__).parents[1], env=clean, check=True
    )
    return [(float(a), float(b)) for a, b in json.loads(output_path.read_text())]


def find_seconds(points: Sequence[Point], target: float) -> float | None:
    """Return the seconds until the target was reached; None if it was not."""
    return next((seconds for seconds, accuracy in points if accuracy >= target), None)


def format_row(
    method: str, points: Sequence[Point], target: float, test: float | None = None
) -> str:
    """Return one line of the table."""
    if not points:
        return f"{method:8} no epoch within the budget"
    best = max(accuracy for _, accuracy in points)
    seconds = find_seconds(points, target)
    when = "not reached" if seconds is None else f"{seconds:8.1f} s"
    tested = f", test {test:.1%}" if test is not None else ""
    return (
        f"{method:8} target {target:.1%}: {when}; {len(points)} epochs in {points[-1][0]:.0f} s, "
        f"best {best:.1%}{tested}"
    )


def main() -> None:
    """Run the methods one after the other; the measurements are kept in DIR."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--fastai-epochs", type=int, default=15)
    parser.add_argument("--only", default=",".join(METHODS))
    options = parser.parse_args()
    folder, budget = options.environments / "scratch", options.minutes * 60
    path = folder / "points.json"
    points_of: dict[str, list[Point]] = json.loads(path.read_text()) if path.is_file() else {}
    folder.mkdir(parents=True, exist_ok=True)
    for method in (method for method in METHODS if method in options.only.split(",")):
        target = find_target(points_of)
        test: float | None = None
        if method == "fastai":
            points = train_by_fastai(
                options.folder, folder, target, budget=budget, epochs=options.fastai_epochs
            )
        else:
            flags = {"report": REPORT, "quick": {**QUICK, "stop_at": target or 1}, "wide": WIDE}
            settings = flags.get(method, {"model": "cnn"})
            points, test = train(options.folder, folder / method, settings, budget=budget)
        points_of[method] = points
        path.write_text(json.dumps(points_of))
        print(format_row(method, points, find_target(points_of), test), flush=True)
    target = find_target(points_of)
    slow = find_seconds(points_of["report"], target)
    for method in ("quick", "cnn", "fastai"):
        if method in points_of and slow and (fast := find_seconds(points_of[method], target)):
            print(f"{method:8} reaches {target:.1%} {slow / fast:.1f} times as fast as the report")


def find_target(points_of: Mapping[str, Sequence[Point]]) -> float:
    """Return the best validation accuracy of the report's network; 0 before it was measured."""
    return max((accuracy for _, accuracy in points_of.get("report", ())), default=0.0)


if __name__ == "__main__":
    main()
