"""The same search by Veduta and by the tools people use for it, side by side in one run.

    python -m benchmarks.peers --environments DIR [FOLDER] [--only WAY,WAY] [--csv FILE]

The job: EfficientNet-Lite0 frozen at 150 px, our weights, a linear head; 8 learning rates x 8
weight decays, 20 epochs; Veduta's split of the images; the best on validation meets the test.

veduta            the command `veduta search`, its cache empty
optuna-images    Optuna over a plain loop of PyTorch; features made by torch and kept in memory
optuna-ours      the same on our features
sklearn-sgd      GridSearchCV over SGDClassifier on our features, as many trials and epochs
sklearn-ridge    RidgeClassifierCV on our features: no epochs, 64 penalties
fastai-features  a Learner a trial on features made once by fastai's loaders; extrapolated
fastai-images    a Learner a trial as its guide has it, the body in every epoch; extrapolated

Every peer runs in a process of its own, in an environment of its own below DIR, which is made
with pip where it is missing (6 GB each for two of them); what one call measured is kept there, and
another with `--only` measures again what it names and shows the rest as it was. Seconds of a
process are those from its start to its end, loading included; `whole` is from images: on our
features, what Veduta took to make them is added.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.command import search
from benchmarks.workers.environments import python_of
from benchmarks.workers.job import PARTS
from benchmarks.workers.prepare import prepare

GRID = {
    "lr": [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 3e-2],
    "weight_decay": [0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3],
}
OURS = "veduta"
MODEL, SIZE, BATCH = "efficientnet_lite0", 150, 64
WAYS = {  # environment, and what its worker calls the way
    "optuna-images": ("optuna", "images"),
    "optuna-ours": ("optuna", "ours"),
    "sklearn-sgd": ("sklearn", "sgd"),
    "sklearn-ridge": ("sklearn", "ridge"),
    "fastai-features": ("fastai", "features"),
    "fastai-images": ("fastai", "images"),
}
FROM_OURS = ("optuna-ours", "sklearn-sgd", "sklearn-ridge")  # start from our features
Row = dict[str, Any]
HEADER = (
    f"{'way':16} {'features':>9} {'search':>9} {'process':>9} {'whole':>9} {'times':>7}"
    "  validation   test  note"
)


def ours(given: argparse.Namespace, place: Path) -> Row:
    """The command, its cache empty."""
    for old in ("cache", "run"):
        shutil.rmtree(place / old, ignore_errors=True)
    shared = {"model": MODEL, "image_size": SIZE, "batch_size": BATCH, "epochs": given.epochs}
    summary, whole = search(given.folder, place, {**GRID, **shared})
    stages = summary["seconds"]
    return {
        "features": stages["pixels"] + stages["features"],
        "search": stages["training"],
        "process": whole,
        "validation": summary["validation"]["accuracy"],
        "test": summary["test"]["accuracy"],
        "chosen": str(summary["winner"]["varied"]),
        "note": f"{summary['trials']} trials in full",
    }


def peer(name: str, python: Path, place: Path, threads: int) -> Row:
    """One peer on the job: its row of the table."""
    environment, way = WAYS[name]
    answer = place / "answer.json"
    module = f"benchmarks.workers.by_{environment}"
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV"))}
    each = "1" if way == "sgd" else str(threads)  # there it is processes that share the work
    clean |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), each)
    started = time.perf_counter()
    subprocess.run(
        [python, "-W", "ignore", "-m", module, way, place / "job.json", answer],
        cwd=Path(__file__).parents[1], env=clean, check=True,
    )  # fmt: skip
    whole = time.perf_counter() - started
    found: Row = json.loads(answer.read_text())
    seconds, versions = found.pop("seconds"), found.pop("versions")
    whole += found.pop("added")
    found["note"] += f" ({', '.join(' '.join(pair) for pair in versions.items())})"
    told = {"features": seconds.get("features"), "search": seconds["search"], "process": whole}
    return told | found


def measure(given: argparse.Namespace, wanted: list[str], place: Path) -> dict[str, Row]:
    """Rows by way: what is to be measured, and what an earlier call measured."""
    kept = place / "rows.json"
    asked = {"folder": str(given.folder.absolute()), "epochs": given.epochs, "grid": GRID}
    rows: dict[str, Row] = {}
    print(HEADER, flush=True)
    if kept.is_file() and (found := json.loads(kept.read_text()))["asked"] == asked:
        rows = found["rows"]
    if OURS in wanted or OURS not in rows:
        rows[OURS] = ours(given, place)
        show(OURS, rows)
        kept.write_text(json.dumps({"asked": asked, "rows": rows}))
    job = prepare(
        given.folder, place, model=MODEL, size=SIZE,
        rest={"batch_size": BATCH, "epochs": given.epochs, "grid": GRID,
              "loops": given.loops, "some": given.some},
    )  # fmt: skip
    (place / "job.json").write_text(json.dumps(asdict(job)))
    for name in (name for name in WAYS if name in wanted):
        try:
            python = python_of(given.environments, WAYS[name][0])
            rows[name] = peer(name, python, place, job.threads)
        except subprocess.CalledProcessError as error:  # the others can still be measured
            print(f"{name:16} failed with exit code {error.returncode}", flush=True)
            continue
        show(name, rows)
        kept.write_text(json.dumps({"asked": asked, "rows": rows}))
    return rows


def from_images(name: str, rows: dict[str, Row]) -> float:
    """Seconds from images; those of our features belong to whom they were given."""
    given = rows[OURS]["features"] if name in FROM_OURS else 0.0
    return float(rows[name]["process"] + given)


def show(name: str, rows: dict[str, Row]) -> None:
    """One line of the table: seconds, how many times ours, accuracies."""
    row = rows[name]
    features = "ours" if name in FROM_OURS else "-"
    if row["features"] is not None:
        features = f"{row['features']:.1f}"
    whole = from_images(name, rows)
    times = whole / from_images(OURS, rows)
    right = [f"{row[part]:.1%}" if row[part] is not None else "-" for part in PARTS[1:]]
    print(
        f"{name:16} {features:>9} {row['search']:9,.1f} {row['process']:9,.1f} {whole:9,.1f}"
        f" {times:7,.1f}  {right[0]:>10} {right[1]:>6}  {row['note']}",
        flush=True,
    )


def main() -> None:
    """Measure, and print a table; with `--csv` write it too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--environments", type=Path, default=Path(".peers"), metavar="DIR")
    parser.add_argument("--only", help=f"of {OURS},{','.join(WAYS)}")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--loops", type=int, default=4, help="trials of fastai on features")
    parser.add_argument("--some", type=int, default=640, help="images of fastai from images")
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else [OURS, *WAYS]
    if unknown := set(wanted) - {OURS, *WAYS}:
        parser.error(f"no such way: {', '.join(sorted(unknown))}")
    place = (given.environments / "measured").absolute()
    place.mkdir(parents=True, exist_ok=True)
    rows = measure(given, wanted, place)
    print("\nall that was measured for this job")
    print(HEADER)
    for name in rows:
        show(name, rows)
    if given.csv:
        with given.csv.open("w", newline="") as file:
            table = csv.DictWriter(file, ["way", "whole", *rows[OURS]])
            table.writeheader()
            for name, row in rows.items():
                table.writerow({"way": name, "whole": from_images(name, rows), **row})


if __name__ == "__main__":
    main()
