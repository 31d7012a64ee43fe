"""From scratch: how long until a network is as good as the report's one becomes in half an hour.

    python -m benchmarks.scratch --environments DIR [FOLDER] [--minutes 30] [--only WAY,WAY]

report     `veduta train --model report_cnn`, 64-32-16 maps, the report's recipe, for the whole
           time: its best validation accuracy is the mark for the others
quick      `veduta train --model cnn` with the quick recipe, until its validation reaches the mark
cnn        the same with the recipe that `--model cnn` has by itself, to its end
fastai     ResNet-18 as fastai's guide has it, untrained at the start, one cycle; until the mark
wide       256-128-64 maps, the report's recipe: one epoch, its seconds

Everyone has the same split and budget, starts from files with an empty cache, and has both
processors; seconds are those from the start of the process to the end of the epoch that reached
the mark, loading and measuring included. Nothing is extrapolated. The test images stay sealed but
for our own runs that end, which open them once.
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

from benchmarks.workers.environments import python_of
from benchmarks.workers.job import Job
from veduta.data.folder import read_folder
from veduta.runs.journal import read_journal
from veduta.runtime.environment import processors

REPORT = {"model": "report_cnn"}
QUICK: dict[str, Any] = {"model": "cnn", "image_size": 64, "epochs": 8}
WIDE = {"model": "report_cnn", "channels": "256x128x64", "epochs": 1}
WAYS = ("report", "quick", "cnn", "fastai", "wide")
Point = tuple[float, float]
"""Seconds from the start of the process, and validation accuracy then."""


def train(
    folder: Path, place: Path, flags: Mapping[str, Any], *, budget: float
) -> tuple[list[Point], dict[str, Any]]:
    """Run the command until it ends, or its budget; the points of its epochs, and its summary.

    Args:
        folder: of images.
        place: a folder of its own, which is made anew.
        flags: values by setting.
        budget: seconds; then the process is ended; its journal tells what it did.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = [sys.executable, "-m", "veduta.cli.main", "train", str(folder.absolute())]
    command += [f"--out={place / 'run'}"]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "VEDUTA_CACHE": str(place / "cache")}
    started = time.time()
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            process.wait(budget)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
    events = read_journal(place / "run" / "journal.jsonl")
    found = [
        (event["time"] - started, event["val_accuracy"])
        for event in events
        if event["event"] == "epoch" and event["time"] - started <= budget
    ]
    summary = place / "run" / "summary.json"
    return found, json.loads(summary.read_text()) if summary.is_file() else {}


def fastai(folder: Path, place: Path, mark: float, *, budget: float, epochs: int) -> list[Point]:
    """The way of fastai, in its environment, on the split of an earlier run of ours."""
    splits = place / "report" / "run" / "splits.csv"
    rows = [line.rsplit(",", 3) for line in splits.read_text().splitlines()[1:]]
    split = {path.strip('"'): part for path, _, part, _ in rows}
    found = read_folder(folder)
    number = {name: index for index, name in enumerate(found.classes)}
    images: dict[str, list[tuple[str, int]]] = {"train": [], "validation": []}
    for sample in found.samples:
        if (part := split.get(sample.name, "")) in images:
            images[part].append((str(sample.path.absolute()), number[str(sample.label)]))
    job = Job(
        images=images, classes=len(number), image_size=128, batch_size=64, epochs=epochs,
        grid={"lr": [3e-3]}, weights="", features="", threads=processors(), loops=1, some=0,
    )  # fmt: skip
    given, answer = place / "job.json", place / "answer.json"
    given.write_text(json.dumps({**asdict(job), "mark": mark, "budget": budget}))
    python = python_of(place.parent, "fastai")
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV"))}
    clean |= {"OMP_NUM_THREADS": str(processors()), "STARTED": str(time.time())}
    module = ["-m", "benchmarks.workers.from_scratch", str(given), str(answer)]
    subprocess.run(
        [python, "-W", "ignore", *module], cwd=Path(__file__).parents[1], env=clean, check=True
    )
    return [(float(a), float(b)) for a, b in json.loads(answer.read_text())]


def first(points: Sequence[Point], mark: float) -> float | None:
    """Seconds until the mark was reached; None where it was not."""
    return next((seconds for seconds, accuracy in points if accuracy >= mark), None)


def tell(way: str, points: Sequence[Point], mark: float, summary: Mapping[str, Any]) -> str:
    """One row."""
    if not points:
        return f"{way:8} no epoch within the budget"
    best = max(accuracy for _, accuracy in points)
    reached = first(points, mark)
    when = "not reached" if reached is None else f"{reached:8.1f} s"
    test = summary.get("test", {}).get("accuracy")
    more = f", test {test:.1%}" if test else ""
    return (
        f"{way:8} mark {mark:.1%}: {when}; {len(points)} epochs in {points[-1][0]:.0f} s, "
        f"best {best:.1%}{more}"
    )


def main() -> None:
    """Run the ways one after the other; what was measured is kept below DIR."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--environments", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--fastai-epochs", type=int, default=15)
    parser.add_argument("--only", default=",".join(WAYS))
    given = parser.parse_args()
    place, budget = given.environments / "scratch", given.minutes * 60
    kept = place / "points.json"
    rows: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    place.mkdir(parents=True, exist_ok=True)
    for way in (way for way in WAYS if way in given.only.split(",")):
        mark = max((a for _, a in rows["report"]["points"]), default=0.0) if rows else 0.0
        summary: dict[str, Any] = {}
        if way == "fastai":
            points = fastai(given.folder, place, mark, budget=budget, epochs=given.fastai_epochs)
        else:
            flags = {"report": REPORT, "quick": {**QUICK, "stop_at": mark or 1}, "wide": WIDE}
            wanted = flags.get(way, {"model": "cnn"})
            points, summary = train(given.folder, place / way, wanted, budget=budget)
        rows[way] = {"points": points, "summary": summary}
        kept.write_text(json.dumps(rows))
        mark = max(a for _, a in rows["report"]["points"])
        print(tell(way, points, mark, summary), flush=True)
    mark = max(a for _, a in rows["report"]["points"])
    slow = first(rows["report"]["points"], mark)
    for way in ("quick", "cnn", "fastai"):
        if way in rows and slow and (fast := first(rows[way]["points"], mark)):
            print(f"{way:8} {slow / fast:.1f} times as fast as the report's recipe to {mark:.1%}")


if __name__ == "__main__":
    main()
