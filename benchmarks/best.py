"""Part (d) of `benchmarks.grid`: how good, and how quick, the best recipe on frozen features is.

The recipe was found on the validation images, in a handful of trials; the test met it once a run.
"""

import shutil
from pathlib import Path

from benchmarks.command import search

RECIPE: dict[str, object] = {
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


def best_recipe(folder: Path, place: Path) -> None:
    """Run it from images, the cache empty, and print seconds and accuracies."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    summary, seconds = search(folder, place, RECIPE)
    told = " ".join(f"{name}={value}" for name, value in RECIPE.items())
    print(f"(d) {told}")
    print(f"(d) whole {seconds:.1f} s: {summary['seconds']}")
    print(f"(d) winner {summary['winner']['varied']} of {summary['trials']} trials")
    for part in ("validation", "test"):
        found = summary[part]
        print(
            f"(d) {part:10} {found['accuracy']:.1%} ({found['low']:.1%} to {found['high']:.1%}, "
            f"{found['images']} images)"
        )
