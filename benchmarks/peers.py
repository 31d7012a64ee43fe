"""Compare the same search by Veduta and by other tools.

    python -m benchmarks.peers --environments DIR [FOLDER] [--only METHOD,METHOD] [--csv FILE]

The job: EfficientNet-Lite0 frozen at 150 px, the same weights, a linear head; 8 learning rates x 8
weight decays, 20 epochs; Veduta's split of the images; the best on validation is tested.

veduta            the command `veduta search` with an empty cache
optuna-images    Optuna over a plain loop of PyTorch; features made by torch and kept in memory
optuna-ours      the same on features of Veduta
sklearn-sgd      GridSearchCV over SGDClassifier on features of Veduta, as many trials and epochs
sklearn-ridge    RidgeClassifierCV on features of Veduta: no epochs, 64 penalties
fastai-features  a Learner per trial on features computed once by fastai's loaders; extrapolated
fastai-images    a Learner per trial as in its guide, with the body in every epoch; extrapolated

Every tool runs in a separate process and a separate environment in DIR, which pip installs if it is
missing (6 GB each for two of them). Measurements are kept there; `--only` repeats the named ones
and shows the others. Seconds of a process are those from its start to its end, including loading;
`whole` starts from images: for features of Veduta, its time for computing them is added.
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

from benchmarks.command import run_search
from benchmarks.workers.environments import set_up_environment
from benchmarks.workers.job import SPLITS
from benchmarks.workers.prepare import prepare_job

GRID = {
    "lr": [1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 3e-2],
    "weight_decay": [0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3],
}
OURS = "veduta"
MODEL, SIZE, BATCH = "efficientnet_lite0", 150, 64
METHODS = {  # environment, and the name of the method in its worker
    "optuna-images": ("optuna", "images"),
    "optuna-ours": ("optuna", "ours"),
    "sklearn-sgd": ("sklearn", "sgd"),
    "sklearn-ridge": ("sklearn", "ridge"),
    "fastai-features": ("fastai", "features"),
    "fastai-images": ("fastai", "images"),
}
FROM_OURS = ("optuna-ours", "sklearn-sgd", "sklearn-ridge")  # start from features of Veduta
Row = dict[str, Any]
HEADER = (
    f"{'method':16} {'features':>9} {'search':>9} {'process':>9} {'whole':>9} {'times':>7}"
    "  validation   test  note"
)


def measure_veduta(options: argparse.Namespace, folder: Path) -> Row:
    """Measure the command with an empty cache."""
    for old in ("cache", "run"):
        shutil.rmtree(folder / old, ignore_errors=True)
    shared = {"model": MODEL, "image_size": SIZE, "batch_size": BATCH, "epochs": options.epochs}
    summary, whole = run_search(options.folder, folder, {**GRID, **shared})
    stages = summary.seconds
    return {
        "features": stages.pixels + stages.features,
        "search": stages.training,
        "process": whole,
        "validation": summary.validation_accuracy.value,
        "test": summary.test.accuracy.value,
        "chosen": str(summary.winner.varied),
        "note": f"all {summary.trial_count} trials",
    }


def measure_tool(name: str, python: Path, folder: Path, threads: int) -> Row:
    """Measure a tool on the job; return its row of the table."""
    environment, method = METHODS[name]
    answer_path = folder / "answer.json"
    module = f"benchmarks.workers.by_{environment}"
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV"))}
    count = "1" if method == "sgd" else str(threads)  # sgd uses processes instead
    clean |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
    start = time.perf_counter()
    subprocess.run(
        [python, "-W", "ignore", "-m", module, method, folder / "job.json", answer_path],
        cwd=Path(__file__).parents[1], env=clean, check=True,
    )  # fmt: skip
    whole = time.perf_counter() - start
    answer: Row = json.loads(answer_path.read_text())
    seconds, versions = answer.pop("seconds"), answer.pop("versions")
    whole += answer.pop("added")
    answer["note"] += f" ({', '.join(' '.join(pair) for pair in versions.items())})"
    times = {"features": seconds.get("features"), "search": seconds["search"], "process": whole}
    return times | answer


def measure(options: argparse.Namespace, selected: list[str], folder: Path) -> dict[str, Row]:
    """Return rows by method: the selected ones are measured, others loaded if they exist."""
    path = folder / "rows.json"
    job_settings = {
        "folder": str(options.folder.absolute()),
        "epochs": options.epochs,
        "grid": GRID,
    }
    rows: dict[str, Row] = {}
    print(HEADER, flush=True)
    if path.is_file() and (stored := json.loads(path.read_text()))["job"] == job_settings:
        rows = stored["rows"]
    if OURS in selected or OURS not in rows:
        rows[OURS] = measure_veduta(options, folder)
        print_row(OURS, rows)
        path.write_text(json.dumps({"job": job_settings, "rows": rows}))
    job = prepare_job(
        options.folder, folder, model=MODEL, size=SIZE,
        rest={"batch_size": BATCH, "epochs": options.epochs, "grid": GRID,
              "loops": options.loops, "some": options.some},
    )  # fmt: skip
    (folder / "job.json").write_text(json.dumps(asdict(job)))
    for name in (name for name in METHODS if name in selected):
        try:
            python = set_up_environment(options.environments, METHODS[name][0])
            rows[name] = measure_tool(name, python, folder, job.threads)
        except subprocess.CalledProcessError as error:  # measure the others
            print(f"{name:16} failed with exit code {error.returncode}", flush=True)
            continue
        print_row(name, rows)
        path.write_text(json.dumps({"job": job_settings, "rows": rows}))
    return rows


def compute_total(name: str, rows: dict[str, Row]) -> float:
    """Return the seconds from images, including those for features of Veduta."""
    features = rows[OURS]["features"] if name in FROM_OURS else 0.0
    return float(rows[name]["process"] + features)


def print_row(name: str, rows: dict[str, Row]) -> None:
    """Print one line of the table: seconds, ratio to Veduta, accuracies."""
    row = rows[name]
    features = "ours" if name in FROM_OURS else "-"
    if row["features"] is not None:
        features = f"{row['features']:.1f}"
    whole = compute_total(name, rows)
    times = whole / compute_total(OURS, rows)
    accuracies = [f"{row[split]:.1%}" if row[split] is not None else "-" for split in SPLITS[1:]]
    print(
        f"{name:16} {features:>9} {row['search']:9,.1f} {row['process']:9,.1f} {whole:9,.1f}"
        f" {times:7,.1f}  {accuracies[0]:>10} {accuracies[1]:>6}  {row['note']}",
        flush=True,
    )


def main() -> None:
    """Measure and print the table; with `--csv`, write it, too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--environments", type=Path, default=Path(".peers"), metavar="DIR")
    parser.add_argument("--only", help=f"any of {OURS},{','.join(METHODS)}")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--loops", type=int, default=4, help="trials of fastai on features")
    parser.add_argument("--some", type=int, default=640, help="images of fastai from images")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    selected = options.only.split(",") if options.only else [OURS, *METHODS]
    if unknown := set(selected) - {OURS, *METHODS}:
        parser.error(f"no such method: {', '.join(sorted(unknown))}")
    folder = (options.environments / "measured").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    rows = measure(options, selected, folder)
    print("\nall measurements of this job")
    print(HEADER)
    for name in rows:
        print_row(name, rows)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            table = csv.DictWriter(file, ["method", "whole", *rows[OURS]])
            table.writeheader()
            for name, row in rows.items():
                table.writerow({"method": name, "whole": compute_total(name, rows), **row})


if __name__ == "__main__":
    main()
