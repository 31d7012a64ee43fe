"""Compare a search with a plain PyTorch loop: the same trials, in one run.

    python -m benchmarks.search_naive [FOLDER] [--images N] [--epochs N]

The plain loop is the report's: torchvision's ImageFolder and DataLoader, the frozen backbone run in
every epoch of every trial, a new head and optimizer per trial. Both get the same images (the first
N of each class, 60 % for training, 20 % for validation), trials, epochs, backbone and weights, and
both use all cores; the search also evaluates a test set, which the plain loop does not. The ratio
is that of complete runs, the search with an empty cache; nothing is extrapolated.
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


def copy_images(source: Path, target: Path, count: int) -> None:
    """Copy the first `count` images per class: 60 % training, 20 % validation, 20 % test."""
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        for number, path in enumerate(sorted(label.iterdir())[:count]):
            split = ("test", "val", "train", "train", "train")[number % 5]
            folder = target / split / label.name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.name)


def run_search(data: Path, out: Path, epochs: int) -> dict[str, float]:
    """Return the seconds per stage of a search with an empty cache, and its best accuracy."""
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
        **run.summary.seconds.model_dump(),
        "whole": seconds,
        "accuracy": run.summary.validation_accuracy.value or 0.0,
    }


def build_plain_backbone(cache: Path) -> tuple[Any, Any]:
    """Return the frozen backbone, which uses all cores, and the transform of its images."""
    import torch
    from torchvision import transforms

    from veduta.networks.backbones import build_backbone
    from veduta.networks.catalogue.registry import find_model
    from veduta.runtime.environment import count_cores

    torch.set_num_threads(count_cores())
    model = find_model("efficientnet_lite0")
    backbone = build_backbone(model, cache=cache).network
    steps = [
        transforms.Resize((SIZE, SIZE), transforms.InterpolationMode.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize(model.mean, model.std),
    ]
    return backbone, transforms.Compose(steps)


def train_plain_epoch(backbone: Any, head: Any, optimizer: Any, loaders: Any) -> int:  # noqa: ANN401
    """Train one epoch with the whole network; return the number of correct validation images."""
    import torch
    from torch import nn

    for images, labels in loaders["train"]:
        with torch.no_grad():
            features = backbone(images)
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    correct = 0
    with torch.no_grad():
        for images, labels in loaders["val"]:
            correct += int((head(backbone(images)).argmax(1) == labels).sum())
    return correct


def run_plain_loop(data: Path, cache: Path, epochs: int) -> dict[str, float]:
    """Return the seconds of the plain loop, and its best validation accuracy."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    backbone, transform = build_plain_backbone(cache)
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
                correct = train_plain_epoch(backbone, head, optimizer, loaders)
                best = max(best, correct / len(sets["val"]))
    return {"whole": time.perf_counter() - started, "accuracy": best}


def measure_plain_epoch(data: Path, cache: Path, some: int) -> float:
    """Return the seconds per image of a plain epoch, on `some` images, a fifth for validation."""
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder

    backbone, transform = build_plain_backbone(cache)
    images = ImageFolder(data / "train", transform)
    selected = range(0, len(images), max(1, len(images) // some))[:some]
    parts = {"val": selected[::5], "train": [i for n, i in enumerate(selected) if n % 5]}
    loaders = {n: DataLoader(Subset(images, rows), 2 * BATCH) for n, rows in parts.items()}
    head = torch.nn.Linear(WIDTH, len(images.classes))
    optimizer = torch.optim.Adam(head.parameters())
    with torch.no_grad():
        backbone(torch.stack([images[i][0] for i in selected[: 2 * BATCH]]))  # warm
    started = time.perf_counter()
    train_plain_epoch(backbone, head, optimizer, loaders)
    return (time.perf_counter() - started) / len(selected)


def main() -> None:
    """Run both; print seconds and ratio."""
    from veduta.runtime.process import prepare_process

    prepare_process()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel/train"))
    parser.add_argument("--images", type=int, default=80, help="per class")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy_images(options.folder, folder / "data", options.images)
        search = run_search(folder / "data", folder, options.epochs)
        plain = run_plain_loop(folder / "data", folder / "cache", options.epochs)
    trials = len(GRID["lr"]) * len(GRID["weight_decay"])
    print(
        f"{trials} trials x {options.epochs} epochs, {options.images} images per class at {SIZE} px"
    )
    print("search      " + json.dumps({name: round(value, 3) for name, value in search.items()}))
    print("plain loop  " + json.dumps({name: round(value, 3) for name, value in plain.items()}))
    print(
        f"ratio       {plain['whole'] / search['whole']:.1f} (seconds of the plain loop / search)"
    )


if __name__ == "__main__":
    main()
