"""Fine-tuning against the frozen head of the same network: is it better, and is it never worse?

    python -m benchmarks.finetune [FOLDER] [--weather FOLDER] [--seeds 3] [--keep DIR]

intel     three seeds, each with a split and first weights of its own; both meet the same test
          images, once each. The difference is that of the mean over seeds, its 95 % interval from
          draws of images (an image is drawn with its answers of all seeds).
weather   five folds: every image but the test's is judged once, by a training without it.

Both see the same augmented views. The frozen head is the best of three learning rates on
validation; the fine-tuned network has one recipe for both data sets (`TUNED`): its head alone
first, then the last stages with it, the earliest of them at a third of the head's rate.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.command import search

SHARED: dict[str, object] = {
    "model": "efficientnet_lite0", "image_size": 150, "views": 8, "augment": "crop+flip",
    "label_smoothing": 0.1, "optimizer": "adamw", "schedule": "cosine", "batch_size": 32,
}  # fmt: skip
FROZEN = {**SHARED, "lr": [3e-4, 1e-3, 3e-3], "weight_decay": 1e-4, "epochs": 20}
TUNED = {
    **SHARED, "freeze": 4, "freeze_epochs": 2, "backbone_lr_scale": 0.3, "lr": [5e-4],
    "warmup": 0.5, "ema": 0.99, "weight_decay": 0.02, "epochs": 8,
}  # fmt: skip
DRAWS = 10_000
Hits = NDArray[np.bool_]


def run(folder: Path, place: Path, flags: dict[str, object]) -> dict[str, Any]:
    """One search; what it printed, and what it said of each image."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "cache").symlink_to(
        (place.parent.parent / "cache").absolute(), target_is_directory=True
    )
    summary, seconds = search(folder, place, flags)
    return {**summary, "whole": seconds, "place": place / "run"}


def test_hits(found: dict[str, Any]) -> dict[str, bool]:
    """By name, whether the winner got a test image right."""
    with np.load(found["place"] / "scores" / "test.npz") as kept:
        right = kept["logits"].argmax(1) == kept["truth"]
        return dict(zip(map(str, kept["paths"]), right.tolist(), strict=True))


def fold_hits(found: dict[str, Any]) -> Hits:
    """(images,) whether the winner got an image right, out of fold, in canonical order."""
    trial = found["winner"]["trial"]
    with np.load(found["place"] / "scores" / f"{trial}.npz") as kept:
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


def tell(name: str, frozen: dict[str, Any], tuned: dict[str, Any]) -> None:
    """One pair of runs."""
    for kind, found in (("frozen", frozen), ("tuned", tuned)):
        print(
            f"{name:10} {kind:7} validation {found['validation']['accuracy']:.1%}  "
            f"test {found['test']['accuracy']:.1%}  {found['whole']:.0f} s",
            flush=True,
        )


def main() -> None:
    """Run both on both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--weather", type=Path, default=Path("../shared/data/weather"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="where the runs shall stay")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = given.keep or Path(scratch)
        (place / "cache").mkdir(parents=True, exist_ok=True)
        before, after = [], []
        for seed in range(given.seeds):
            pair = [
                run(given.folder, place / f"intel-{seed}" / kind, {**flags, "seed": seed})
                for kind, flags in (("frozen", FROZEN), ("tuned", TUNED))
            ]
            tell(f"intel {seed}", *pair)
            frozen, tuned = map(test_hits, pair)
            before.append([frozen[name] for name in sorted(frozen)])
            after.append([tuned[name] for name in sorted(frozen)])
        mean, low, high = difference(np.array(before), np.array(after))
        print(f"intel      gained {mean:+.1%} ({low:+.1%} to {high:+.1%})", flush=True)
        pair = [
            run(given.weather, place / "weather" / kind, {**flags, "folds": 5})
            for kind, flags in (("frozen", FROZEN), ("tuned", TUNED))
        ]
        tell("weather", *pair)
        mean, low, high = difference(*(fold_hits(found)[None] for found in pair))
        print(f"weather    gained {mean:+.1%} ({low:+.1%} to {high:+.1%}), five folds")


if __name__ == "__main__":
    main()
