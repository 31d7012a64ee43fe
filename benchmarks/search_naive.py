"""Our search against the plain loop that people write: the same trials, side by side in one run.

    python -m benchmarks.search_naive [FOLDER] [--images N] [--epochs N]

The plain loop is the report's: torchvision's ImageFolder and DataLoader, the frozen backbone run in
every epoch of every trial, a fresh head and optimiser a trial. Both get the same images (the first
N of each class, 60 % to train on, 20 % to choose), trials, epochs, backbone and weights, and both
use all cores; ours also scores a test set, which the plain loop has none of.
The ratio is of whole runs, ours with an empty cache; nothing is extrapolated.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

GRID = {"lr": [3e-4, 3e-3], "weight_decay": [0.0, 1e-4]}
SIZE = 150
BATCH = 32


def subset(source: Path, target: Path, each: int) -> None:
    """Copy the first `each` images of a class: 60 % to train on, 20 % to choose, 20 % as test."""
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        for number, path in enumerate(sorted(label.iterdir())[:each]):
            split = ("test", "val", "train", "train", "train")[number % 5]
            folder = target / split / label.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.name)


def ours(data: Path, out: Path, epochs: int) -> dict[str, float]:
    """Seconds by stage of a search with an empty cache, and its best validation accuracy."""
    import veduta
    from veduta.tracking.console import Console

    os.environ["VEDUTA_CACHE"] = str(out / "cache")
    started = time.perf_counter()
    run = veduta.search(
        data, grid=GRID, out=out / "run", image_size=SIZE, batch_size=BATCH, epochs=epochs,
        console=Console(quiet=True),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    return {
        **run.summary["seconds"],
        "whole": seconds,
        "accuracy": run.summary["validation"]["accuracy"],
    }


def plain_loop(data: Path, cache: Path, epochs: int) -> dict[str, float]:
    """Seconds of the plain loop, and the best validation accuracy of its last epochs."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from veduta.models.backbones import full_network
    from veduta.models.registry import find_model
    from veduta.runtime.environment import processors

    torch.set_num_threads(processors())
    model = find_model("efficientnet_lite0")
    backbone = full_network(model, cache=cache)
    backbone.set_submodule(model.classifier, nn.Identity())
    steps = [
        transforms.Resize((SIZE, SIZE), transforms.InterpolationMode.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize(model.mean, model.std),
    ]
    sets = {n: ImageFolder(data / n, transforms.Compose(steps)) for n in ("train", "val")}
    started = time.perf_counter()
    best = 0.0
    for lr in GRID["lr"]:
        for decay in GRID["weight_decay"]:
            torch.manual_seed(0)
            head = nn.Linear(model.features, len(sets["train"].classes))
            optimizer = torch.optim.Adam(head.parameters(), lr, weight_decay=decay)
            loaders = {n: DataLoader(s, BATCH, shuffle=n == "train") for n, s in sets.items()}
            for _ in range(epochs):
                for images, labels in loaders["train"]:
                    with torch.no_grad():
                        features = backbone(images)
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(head(features), labels).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                right = 0
                with torch.no_grad():
                    for images, labels in loaders["val"]:
                        right += int((head(backbone(images)).argmax(1) == labels).sum())
                best = max(best, right / len(sets["val"]))
    return {"whole": time.perf_counter() - started, "accuracy": best}


def main() -> None:
    """Run both and print ratio and seconds."""
    from veduta.runtime.process import prepare

    prepare()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel/train"))
    parser.add_argument("--images", type=int, default=80, help="a class")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        subset(given.folder, place / "data", given.images)
        mine = ours(place / "data", place, given.epochs)
        theirs = plain_loop(place / "data", place / "cache", given.epochs)
    trials = len(GRID["lr"]) * len(GRID["weight_decay"])
    print(f"{trials} trials x {given.epochs} epochs, {given.images} images a class at {SIZE} px")
    print("ours        " + json.dumps({name: round(value, 3) for name, value in mine.items()}))
    print("plain loop  " + json.dumps({name: round(value, 3) for name, value in theirs.items()}))
    print(f"ratio       {theirs['whole'] / mine['whole']:.1f} (seconds of the plain loop / ours)")


if __name__ == "__main__":
    main()
