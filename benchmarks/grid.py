"""Compare a grid of 64 trials with one trial, and with 64 loops of plain PyTorch, in one run.

    python -m benchmarks.grid [FOLDER] [--epochs N] [--loops N] [--views N] [--only abcd]

(a) Complete runs from images with empty caches, EfficientNet-Lite0 at 150 px, linear heads:
    seconds of the grid / seconds of one trial, which runs before and after it; the faster one
    counts. A run on a few images warms up. With `--views`, all runs include augmentation.
(b) Training of heads alone, features in memory, one thread, as many images as in (a), or 3,360 +
    840: seconds of 64 separate loops / seconds of the fused search. A loop is typical PyTorch code:
    a module, torch.optim, a permutation per epoch, indexing; it evaluates both splits after each
    epoch, as Veduta does. `--loops` of the 64 are timed, spread over the grid, and scaled to 64.
    The features are random numbers, on which the duration does not depend. Limits with 256 hidden
    units: an epoch of a trial takes 4.5 Gflop in steps and 2.8 in evaluation, and adam moves at
    least 9.2 MB per step: weights and moments read and written, gradients read. At 190 Gflop/s and
    14 GB/s of a core these take 38 ms and 35 ms, less if the data fit the cache. The loop has the
    same limits: a product of one trial, 256 rows high, is as fast as a wider one. Fusing saves the
    overhead of a loop: passes of adam, small calls, gathering of batches.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.best import run_best_settings
from benchmarks.search_naive import measure_plain_epoch

if TYPE_CHECKING:
    from veduta.config.settings import Settings
    from veduta.results.run import Run
    from veduta.training.examples import Examples

GRID: dict[str, list[Any]] = {
    "lr": [3e-4, 1e-3, 3e-3, 1e-2],
    "weight_decay": [0.0, 1e-5, 1e-4, 1e-3],
    "betas": [(0.9, 0.999), (0.8, 0.99)],
    "dropout": [0.0, 0.3],
}
TRIALS, WIDTH, CLASSES, BATCH = 64, 1280, 6, 64
IMAGES = {"train": 3360, "validation": 840}


def run_search(
    data: Path, scratch: Path, grid: dict[str, list[Any]], epochs: int, views: int | None = None
) -> tuple["Run", float]:
    """Run a search with an empty cache; return the finished run and its seconds."""
    import veduta
    from veduta.tracking.console import Console

    folder = Path(tempfile.mkdtemp(dir=scratch))
    os.environ["VEDUTA_CACHE"] = str(folder / "cache")
    start = time.perf_counter()
    finished = veduta.search(
        data, grid=grid, out=folder / "run", image_size=150, batch_size=BATCH, epochs=epochs,
        views=views, console=Console(quiet=True),
    )  # fmt: skip
    return finished, time.perf_counter() - start


def compare_with_one_trial(data: Path, scratch: Path, epochs: int, views: int | None) -> "Run":
    """Run part (a); return the run of the grid."""
    few = scratch / "few"
    for label in sorted(path for path in (data / "train").iterdir() if path.is_dir()):
        (few / label.name).mkdir(parents=True)
        for path in sorted(label.iterdir())[:10]:
            shutil.copy(path, few / label.name / path.name)
    run_search(few, scratch, {"lr": [1e-3, 1e-2]}, 2, views)
    cell = {name: values[:1] for name, values in GRID.items()}
    runs = [run_search(data, scratch, grid, epochs, views) for grid in (cell, GRID, cell)]
    for finished, seconds in runs:
        print(f"(a) {len(finished.trials):2} trials {seconds:6.1f} s: {finished.summary.seconds}")
    one = min(runs[0][1], runs[2][1])
    print(f"(a) ratio     {runs[1][1] / one:.2f}, target <= 1.3")
    assert len(runs[1][0].trials) == TRIALS
    return runs[1][0]


def compare_with_plain_loop(
    data: Path, scratch: Path, epochs: int, some: int, finished: "Run"
) -> None:
    """Run part (c), for a finished run of the grid."""
    sizes, stages = finished.summary.data.split_sizes, finished.summary.seconds
    epoch = measure_plain_epoch(data, scratch / "plain", some) * (sizes.train + sizes.validation)
    plain = epoch * epochs * TRIALS
    fused = stages.pixels + stages.features + stages.training
    print(
        f"(c) plain loop {epoch:.1f} s per epoch and trial (from {some} images), x {epochs} x "
        f"{TRIALS} = {plain:,.0f} s, extrapolated"
    )
    print(f"(c) Veduta     {fused:.1f} s, pixels, features and training of: {stages}")
    print(f"(c) ratio      {plain / fused:,.0f}, target >= 1000")


def train_plain_head(train: "Examples", validation: "Examples", settings: "Settings") -> None:
    """Train one trial with typical PyTorch code."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    features = train.features
    assert isinstance(features, torch.Tensor)
    width, rate = features.shape[1], settings.dropout
    if settings.hidden:
        (hidden,) = settings.hidden
        layers = [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        width = hidden
    network = nn.Sequential(*layers, nn.Dropout(rate), nn.Linear(width, CLASSES))
    optimizer = torch.optim.Adam(
        network.parameters(), settings.lr, settings.betas, weight_decay=settings.weight_decay
    )
    for _ in range(settings.epochs):
        network.train()
        for rows in torch.split(torch.randperm(len(train)), settings.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(network(features[rows]), train.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            for split in (train, validation):
                logits = network(split.features)
                cross_entropy(logits, split.labels).item()
                (logits.argmax(1) == split.labels).double().mean().item()


def compare_heads(images: dict[str, int], epochs: int, loops: int, hidden: tuple[int, ...]) -> None:
    """Run part (b) for one kind of head."""
    import numpy as np
    import torch

    from veduta.config.settings import Settings
    from veduta.networks.heads import describe_head
    from veduta.training.examples import Examples
    from veduta.training.folds import create_single_fold
    from veduta.tuning.executors.fused.executor import run_fused
    from veduta.tuning.trials.space import build_trials, expand_grid, group_trials, plan_tiles

    torch.set_num_threads(1)
    splits = []
    for seed, count in enumerate((images["train"], images["validation"])):
        generator = torch.Generator().manual_seed(seed)
        features = torch.rand(count, WIDTH, generator=generator)
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        keys = np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)
        splits.append(Examples(features, labels, keys))
    train, validation = splits
    base = Settings(hidden=hidden, batch_norm=bool(hidden), epochs=epochs, batch_size=BATCH)
    trials = build_trials(expand_grid(base, {name: tuple(values) for name, values in GRID.items()}))
    tiles = plan_tiles(group_trials(trials)[0], describe_head(base, WIDTH, CLASSES).parameters)

    warm = base.model_copy(update={"epochs": 1})
    train_plain_head(train, validation, warm)
    fused = 0.0
    plain = 0.0
    timed = trials[:: len(trials) // loops][:loops]
    share = -(-len(tiles) // loops)  # alternate, so that other load affects both equally
    for number, trial in enumerate(timed):
        start = time.perf_counter()
        train_plain_head(train, validation, trial.settings)
        plain += time.perf_counter() - start
        for tile in tiles[number * share : (number + 1) * share]:
            start = time.perf_counter()
            list(run_fused(tile, create_single_fold(train, validation), classes=CLASSES))
            fused += time.perf_counter() - start
    plain *= TRIALS / len(timed)
    name, goal = (f"hidden {hidden[0]}", 2) if hidden else ("linear", 10)
    print(
        f"(b) {name:10} {TRIALS} loops {plain:6.1f} s (from {len(timed)}), fused {fused:6.1f} s, "
        f"ratio {plain / fused:.1f}, target >= {goal}"
    )


def main() -> None:
    """Run the selected parts; print ratios and seconds."""
    from veduta.runtime.process import prepare_process

    prepare_process()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--loops", type=int, default=4, help="of 64, for (b)")
    parser.add_argument("--some", type=int, default=640, help="images for (c)")
    parser.add_argument("--views", type=int, help="augmented views, for (a)")
    parser.add_argument("--only", default="abcd", help="parts, such as a or bc")
    options = parser.parse_args()
    images, finished = IMAGES, None
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "a" in options.only:
            finished = compare_with_one_trial(
                options.folder, scratch, options.epochs, options.views
            )
            sizes = finished.summary.data.split_sizes
            images = {"train": sizes.train, "validation": sizes.validation}
        if "b" in options.only:
            for hidden in ((), (256,)):
                compare_heads(images, options.epochs, options.loops, hidden)
        if "c" in options.only:
            if finished is None or options.views:
                finished, _ = run_search(options.folder, scratch, GRID, options.epochs)
            compare_with_plain_loop(options.folder, scratch, options.epochs, options.some, finished)
        if "d" in options.only:
            run_best_settings(options.folder, scratch / "best")


if __name__ == "__main__":
    main()
