"""Fine-tuning against the frozen head of the same network: is it better, and is it never worse?

    python -m benchmarks.finetune [FOLDER] [--weather FOLDER] [--seeds 3] [--side-by-side 2]
        [--keep DIR]

intel     three seeds, each with folds and first weights of its own. Two folds: a training image
          is judged by a training on the other half. The winner, trained again on all of them, meets
          the test images once. So every image is judged once a seed, by a network that has not
          seen it.
weather   five folds, one seed.

The difference is that of the mean over seeds, its 95 % interval from draws of images (an image is
drawn with its answers of all seeds). Both see the same augmented views. The frozen head is the best
of three learning rates out of fold; the fine-tuned network has one recipe for both data sets
(`TUNED`): its head alone first, then the last stages with it, the earliest of them at a lower rate,
and maps mixed in front of them (MixUp, CutMix).
Runs go side by side, one processor each; those that are in DIR already are not made again.
"""

import argparse
import json
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import hold, search

SHARED: dict[str, object] = {
    "model": "efficientnet_lite0", "image_size": 150, "views": 8, "label_smoothing": 0.1,
    "optimizer": "adamw", "schedule": "cosine", "batch_size": 32,
}  # fmt: skip
FROZEN = {
    **SHARED, "augment": "crop+flip", "lr": [3e-4, 1e-3, 3e-3], "weight_decay": 1e-4, "epochs": 20,
}  # fmt: skip
TUNED = {
    **SHARED, "augment": "crop+flip+mixup+cutmix", "freeze": 4, "freeze_epochs": 2,
    "backbone_lr_scale": 0.3, "lr": [1e-3], "warmup": 0.5, "ema": 0.99, "weight_decay": 0.02,
    "epochs": 12,
}  # fmt: skip
KINDS = {"frozen": FROZEN, "tuned": TUNED}
DRAWS = 10_000
Hits = NDArray[np.bool_]


def run(job: tuple[Path, Path, dict[str, object]]) -> dict[str, Any]:
    """One search of a folder into a place, or what it left there: its summary and seconds."""
    folder, place, flags = job
    kept = place / "figures.json"
    if not kept.is_file() or json.loads(kept.read_text())["flags"] != flags:
        shutil.rmtree(place / "run", ignore_errors=True)  # of other flags, or broken off
        place.mkdir(parents=True, exist_ok=True)
        summary, seconds = search(folder, place, flags)
        kept.write_text(json.dumps({**summary, "whole": seconds, "flags": flags}))
    found: dict[str, Any] = json.loads(kept.read_text())
    return {**found, "scores": place / "run" / "scores"}


def test_hits(found: dict[str, Any]) -> Hits:
    """(images,) whether the winner got a test image right, in order of their names."""
    with np.load(found["scores"] / "test.npz") as kept:
        hits: Hits = (kept["logits"].argmax(1) == kept["truth"])[np.argsort(kept["paths"])]
    return hits


def fold_hits(found: dict[str, Any]) -> Hits:
    """(images,) whether the winner got an image right, out of fold, in canonical order."""
    with np.load(found["scores"] / f"{found['winner']['trial']}.npz") as kept:
        hits = np.unpackbits(kept["hits"], axis=1, count=int(kept["images"])).astype(bool)
        best: Hits = hits[int(kept["best_epoch"]) - 1]
    return best


def difference(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float, float]:
    """Mean of after - before over (seeds, images), and its interval from draws of images."""
    gained = after.astype(float).mean(0) - before.astype(float).mean(0)
    generator = np.random.default_rng(0)
    means = [gained[generator.integers(0, len(gained), len(gained))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(gained.mean()), float(low), float(high)


def tell(data: str, pairs: list[dict[str, dict[str, Any]]]) -> None:
    """What each run came to, and what was gained: out of fold, on the test, on both together."""
    for number, pair in enumerate(pairs):
        for kind, found in pair.items():
            print(
                f"{data} {number} {kind:7} out of fold {found['validation']['accuracy']:.1%}  "
                f"test {found['test']['accuracy']:.1%}  {found['whole']:.0f} s"
            )
    hits = {
        kind: (
            np.array([fold_hits(pair[kind]) for pair in pairs]),
            np.array([test_hits(pair[kind]) for pair in pairs]),
        )
        for kind in KINDS
    }
    for name, parts in {"out of fold": [0], "test": [1], "both": [0, 1]}.items():
        both = (np.concatenate([hits[kind][part] for part in parts], axis=1) for kind in KINDS)
        mean, low, high = difference(*both)
        print(f"{data} gained, {name:11} {mean:+.1%} ({low:+.1%} to {high:+.1%})", flush=True)


def main() -> None:
    """Run both on both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--weather", type=Path, default=Path("../shared/data/weather"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side-by-side", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where the runs shall stay")
    given = parser.parse_args()
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        keep = given.keep or Path(scratch)
        plans = {
            "intel": (given.folder, {"folds": 2}, range(given.seeds)),
            "weather": (given.weather, {"folds": 5}, range(1)),
        }
        jobs = [
            (folder, keep / f"{data}-{seed}-{kind}", {**flags, **folds, "seed": seed})
            for data, (folder, folds, seeds) in plans.items()
            for seed in seeds
            for kind, flags in KINDS.items()
        ]
        turn = context.Value("i", 0)
        with ProcessPoolExecutor(
            given.side_by_side, mp_context=context, initializer=hold, initargs=(turn,)
        ) as pool:
            found = pool.map(run, jobs)
            for data, (_, _, seeds) in plans.items():
                tell(data, [{kind: next(found) for kind in KINDS} for _ in seeds])


if __name__ == "__main__":
    main()
