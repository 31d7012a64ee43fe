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
from typing import Any

GRID = {"lr": [3e-4, 3e-3], "weight_decay": [0.0, 1e-4]}
SIZE = 150
BATCH = 32
WIDTH = 1280


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


def plain_backbone(cache: Path) -> tuple[Any, Any]:
    """The frozen backbone as people load it, all processors its own, and its images' transform."""
    import torch
    from torchvision import transforms

    from veduta.networks.backbones import build_backbone
    from veduta.networks.catalogue.registry import find_model
    from veduta.runtime.environment import processors

    torch.set_num_threads(processors())
    model = find_model("efficientnet_lite0")
    backbone = build_backbone(model, cache=cache).network
    steps = [
        transforms.Resize((SIZE, SIZE), transforms.InterpolationMode.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize(model.mean, model.std),
    ]
    return backbone, transforms.Compose(steps)


def plain_epoch(backbone: Any, head: Any, optimizer: Any, loaders: Any) -> int:  # noqa: ANN401
    """One epoch of one trial, everything through the backbone; how many are right that choose."""
    import torch
    from torch import nn

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
    return right


def plain_loop(data: Path, cache: Path, epochs: int) -> dict[str, float]:
    """Seconds of the plain loop, and the best validation accuracy of its last epochs."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    backbone, transform = plain_backbone(cache)
    sets = {name: ImageFolder(data / name, transform) for name in ("train", "val")}
    started = time.perf_counter()
    best = 0.0
    for lr in GRID["lr"]:
        for decay in GRID["weight_decay"]:
            torch.manual_seed(0)
            head = torch.nn.Linear(WIDTH, len(sets["train"].classes))
            optimizer = torch.optim.Adam(head.parameters(), lr, weight_decay=decay)
            loaders = {n: DataLoader(s, BATCH, shuffle=n == "train") for n, s in sets.items()}
            for _ in range(epochs):
                right = plain_epoch(backbone, head, optimizer, loaders)
                best = max(best, right / len(sets["val"]))
    return {"whole": time.perf_counter() - started, "accuracy": best}


def plain_seconds(data: Path, cache: Path, some: int) -> float:
    """Seconds of an epoch of the plain loop an image, from `some` images, one in five chooses."""
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder

    backbone, transform = plain_backbone(cache)
    found = ImageFolder(data / "train", transform)
    chosen = range(0, len(found), max(1, len(found) // some))[:some]
    parts = {"val": chosen[::5], "train": [i for n, i in enumerate(chosen) if n % 5]}
    loaders = {n: DataLoader(Subset(found, rows), 2 * BATCH) for n, rows in parts.items()}
    head = torch.nn.Linear(WIDTH, len(found.classes))
    optimizer = torch.optim.Adam(head.parameters())
    with torch.no_grad():
        backbone(torch.stack([found[i][0] for i in chosen[: 2 * BATCH]]))  # warm
    started = time.perf_counter()
    plain_epoch(backbone, head, optimizer, loaders)
    return (time.perf_counter() - started) / len(chosen)


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
