"""A grid of 64 trials against one trial, and against 64 loops of plain PyTorch, in one run.

    python -m benchmarks.grid [FOLDER] [--epochs N] [--loops N] [--views N] [--only abcd]

(a) Whole runs from images with empty caches, EfficientNet-Lite0 at 150 px, linear heads:
    seconds of the grid / seconds of one trial, run before and after it: the faster one counts.
    A run on a few images warms all up. With `--views` augmentation is included, in all of them.
(b) Head training alone, features in memory, one thread, as many images as in (a), or 3,360 + 840:
    seconds of 64 separate loops / seconds of the fused search. A loop is what people write: a
    module, torch.optim, a permutation an epoch, indexing; it measures both parts after an epoch,
    as ours does. `--loops` of the 64 are timed, spread over the grid, and scaled to 64. Features
    are random numbers here: no time depends on what they are.
    What bounds 256 hidden units: an epoch of a trial is 4.5 Gflop in steps and 2.8 in measuring,
    and adam moves 9.2 MB a step at least: weights and moments read and written, gradients read.
    At 190 Gflop/s and 14 GB/s of a core that is 38 ms and 35 ms, less where the cache holds it.
    The loop has the same bound: a product of one trial, 256 rows high, is as fast as a wider one.
    Fusing saves what a loop wastes above it: passes of adam, small calls, gathering of batches.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.best import best_recipe
from benchmarks.search_naive import plain_seconds

GRID: dict[str, list[Any]] = {
    "lr": [3e-4, 1e-3, 3e-3, 1e-2],
    "weight_decay": [0.0, 1e-5, 1e-4, 1e-3],
    "betas": [(0.9, 0.999), (0.8, 0.99)],
    "dropout": [0.0, 0.3],
}
TRIALS, WIDTH, CLASSES, BATCH = 64, 1280, 6, 64
IMAGES = {"train": 3360, "validation": 840}


def run(
    data: Path, scratch: Path, grid: dict[str, list[Any]], epochs: int, views: int | None = None
) -> Any:  # noqa: ANN401
    """One search with an empty cache: the finished run, and its seconds."""
    import veduta
    from veduta.tracking.console import Console

    place = Path(tempfile.mkdtemp(dir=scratch))
    os.environ["VEDUTA_CACHE"] = str(place / "cache")
    started = time.perf_counter()
    found = veduta.search(
        data, grid=grid, out=place / "run", image_size=150, batch_size=BATCH, epochs=epochs,
        views=views, console=Console(quiet=True),
    )  # fmt: skip
    return found, time.perf_counter() - started


def whole_runs(data: Path, scratch: Path, epochs: int, views: int | None) -> Any:  # noqa: ANN401
    """Part (a); returns the run of the grid."""
    few = scratch / "few"
    for label in sorted(path for path in (data / "train").iterdir() if path.is_dir()):
        (few / label.name).mkdir(parents=True)
        for path in sorted(label.iterdir())[:10]:
            shutil.copy(path, few / label.name / path.name)
    run(few, scratch, {"lr": [1e-3, 1e-2]}, 2, views)
    cell = {name: values[:1] for name, values in GRID.items()}
    done = [run(data, scratch, grid, epochs, views) for grid in (cell, GRID, cell)]
    for found, seconds in done:
        print(f"(a) {len(found.trials):2} trials {seconds:6.1f} s: {found.summary['seconds']}")
    one = min(done[0][1], done[2][1])
    print(f"(a) ratio     {done[1][1] / one:.2f}, target <= 1.3")
    assert len(done[1][0].trials) == TRIALS
    return done[1][0]


def against_plain(data: Path, scratch: Path, epochs: int, some: int, found: Any) -> None:  # noqa: ANN401
    """Part (c), for the run of the grid that was found."""
    images, stages = found.summary["images"], found.summary["seconds"]
    part = plain_seconds(data, scratch / "plain", some)
    epoch = part * (images["train"] + images["validation"])
    theirs = epoch * epochs * TRIALS
    ours = sum(stages[stage] for stage in ("pixels", "features", "training"))
    print(
        f"(c) plain loop {epoch:.1f} s an epoch of a trial (from {some} images of one), x {epochs} "
        f"x {TRIALS} = {theirs:,.0f} s, extrapolated"
    )
    print(f"(c) ours       {ours:.1f} s, pixels, features and training of: {stages}")
    print(f"(c) ratio      {theirs / ours:,.0f}, target >= 1000")


def loop(train: Any, validation: Any, settings: Any) -> None:  # noqa: ANN401
    """One trial as people write it."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    width, rate = train.features.shape[1], settings.dropout
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
            loss = cross_entropy(network(train.features[rows]), train.labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            for part in (train, validation):
                logits = network(part.features)
                cross_entropy(logits, part.labels).item()
                (logits.argmax(1) == part.labels).double().mean().item()


def heads(images: dict[str, int], epochs: int, loops: int, hidden: tuple[int, ...]) -> None:
    """Part (b) for one kind of head."""
    import numpy as np
    import torch

    from veduta.config.settings import Settings
    from veduta.networks.heads import head_of
    from veduta.training.folds import undivided
    from veduta.training.state import Examples
    from veduta.tuning.executors.fused.executor import run_tile
    from veduta.tuning.trials.groups import groups, tiles
    from veduta.tuning.trials.space import cells, trials

    torch.set_num_threads(1)
    parts = []
    for seed, count in enumerate((images["train"], images["validation"])):
        generator = torch.Generator().manual_seed(seed)
        features = torch.rand(count, WIDTH, generator=generator)
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        keys = np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)
        parts.append(Examples(features, labels, keys))
    train, validation = parts
    base = Settings(hidden=hidden, batch_norm=bool(hidden), epochs=epochs, batch_size=BATCH)
    found = trials(cells(base, {name: tuple(values) for name, values in GRID.items()}))
    cut = tiles(groups(found)[0], head_of(base, WIDTH, CLASSES).parameters)

    warm = base.model_copy(update={"epochs": 1})
    loop(train, validation, warm)
    ours = 0.0
    theirs = 0.0
    chosen = found[:: len(found) // loops][:loops]
    share = -(-len(cut) // loops)  # ours and theirs by turns: what disturbs one disturbs the other
    for number, trial in enumerate(chosen):
        started = time.perf_counter()
        loop(train, validation, trial.settings)
        theirs += time.perf_counter() - started
        for tile in cut[number * share : (number + 1) * share]:
            started = time.perf_counter()
            list(run_tile(tile, undivided(train, validation), classes=CLASSES))
            ours += time.perf_counter() - started
    theirs *= TRIALS / len(chosen)
    name, goal = (f"hidden {hidden[0]}", 2) if hidden else ("linear", 10)
    print(
        f"(b) {name:10} {TRIALS} loops {theirs:6.1f} s (from {len(chosen)}), fused {ours:6.1f} s, "
        f"ratio {theirs / ours:.1f}, target >= {goal}"
    )


def main() -> None:
    """Run the parts and print ratios and seconds."""
    from veduta.runtime.process import prepare

    prepare()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--loops", type=int, default=4, help="of 64, for (b)")
    parser.add_argument("--some", type=int, default=640, help="images for (c)")
    parser.add_argument("--views", type=int, help="augmented views, for (a)")
    parser.add_argument("--only", default="abcd", help="parts, such as a or bc")
    given = parser.parse_args()
    images, found = IMAGES, None
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if "a" in given.only:
            found = whole_runs(given.folder, scratch, given.epochs, given.views)
            images = found.summary["images"]
        if "b" in given.only:
            for hidden in ((), (256,)):
                heads(images, given.epochs, given.loops, hidden)
        if "c" in given.only:
            if found is None or given.views:
                found, _ = run(given.folder, scratch, GRID, given.epochs)
            against_plain(given.folder, scratch, given.epochs, given.some, found)
        if "d" in given.only:
            best_recipe(given.folder, scratch / "best")


if __name__ == "__main__":
    main()
