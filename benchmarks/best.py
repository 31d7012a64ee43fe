"""Part (d) of `benchmarks.grid`: accuracy and duration of the best settings for frozen features.

The settings were selected on the validation images in a few trials; each run evaluates the test set
once.
"""

import shutil
from pathlib import Path

from benchmarks.command import run_search
from veduta.tracking.text import format_estimate

SETTINGS: dict[str, object] = {
    "model": "efficientnet_lite2",
    "image_size": 224,
    "precision": "int8",
    "views": 8,
    "hidden": "256",
    "batch_norm": True,
    "dropout": [0.3, 0.5],
    "lr": [1e-3, 3e-3],
    "optimizer": "adamw",
    "weight_decay": 1e-4,
    "label_smoothing": 0.1,
    "schedule": "one_cycle",
    "epochs": 20,
    "batch_size": 64,
    "tta": "flip",
}


def run_best_settings(data: Path, folder: Path) -> None:
    """Run the search with an empty cache, and print seconds and accuracies."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    summary, seconds = run_search(data, folder, SETTINGS)
    settings = " ".join(f"{name}={value}" for name, value in SETTINGS.items())
    print(f"(d) {settings}")
    print(f"(d) total {seconds:.1f} s: {summary.seconds}")
    print(f"(d) winner {summary.winner.varied} of {summary.trial_count} trials")
    print(f"(d) validation {format_estimate(summary.validation_accuracy)}")
    print(f"(d) test       {format_estimate(summary.test.accuracy)}")
