"""Compare fine-tuning with a frozen backbone: is it more accurate, and is it never worse?

    python -m benchmarks.finetune [FOLDER] [--weather FOLDER] [--seeds 3] [--processes 2]
        [--keep DIR]

intel     three seeds, each with its own folds and initial weights. Two folds: each training image
          is predicted by a model that was trained on the other half. The refit winner is evaluated
          once on the test images. So every image is predicted once per seed, by a model that was
          not trained on it.
weather   five folds, one seed.

The difference is that of the means over seeds; its 95 % interval is a bootstrap over images (an
image is drawn with its predictions of all seeds). Both methods use the same augmented views. The
frozen backbone has the best of three learning rates on validation; the fine-tuned network has the
same settings for both data sets (`FINE_TUNED`): first only its head is trained, then also the last
stages, the first of them with a lower learning rate, with feature maps mixed in front of them
(MixUp, CutMix).
Runs are executed in parallel, one core each; runs that exist in DIR already are not repeated.
"""

import argparse
import json
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.command import pin_to_core, run_search
from veduta.runs.scores import load_test_scores, load_validation_scores
from veduta.runs.summary import Summary
from veduta.types import BoolArray

SHARED: dict[str, object] = {
    "model": "efficientnet_lite0", "image_size": 150, "views": 8, "label_smoothing": 0.1,
    "optimizer": "adamw", "schedule": "cosine", "batch_size": 32,
}  # fmt: skip
FROZEN = {
    **SHARED, "augment": "crop+flip", "lr": [3e-4, 1e-3, 3e-3], "weight_decay": 1e-4, "epochs": 20,
}  # fmt: skip
FINE_TUNED = {
    **SHARED, "augment": "crop+flip+mixup+cutmix", "freeze": 4, "freeze_epochs": 2,
    "backbone_lr_scale": 0.3, "lr": [1e-3], "warmup": 0.5, "ema": 0.99, "weight_decay": 0.02,
    "epochs": 12,
}  # fmt: skip
METHODS = {"frozen": FROZEN, "tuned": FINE_TUNED}
DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Result:
    """A finished search, its total seconds, and the folder of its scores."""

    summary: Summary
    seconds: float
    scores: Path


def run(job: tuple[Path, Path, dict[str, object]]) -> Result:
    """Run a search of a data folder into a folder, or load the result that exists there."""
    data, folder, flags = job
    path = folder / "result.json"
    if not path.is_file() or json.loads(path.read_text())["flags"] != flags:
        shutil.rmtree(folder / "run", ignore_errors=True)  # of other flags, or interrupted
        folder.mkdir(parents=True, exist_ok=True)
        summary, seconds = run_search(data, folder, flags)
        content = {"summary": summary.model_dump(mode="json"), "seconds": seconds, "flags": flags}
        path.write_text(json.dumps(content))
    stored = json.loads(path.read_text())
    summary = Summary.model_validate_json(json.dumps(stored["summary"]))
    return Result(summary, stored["seconds"], folder / "run" / "scores")


def load_test_correctness(result: Result) -> BoolArray:
    """Return (images,) whether the winner predicts a test image correctly, sorted by name."""
    scores = load_test_scores(result.scores / "test.npz")
    correct: BoolArray = scores.correct[np.argsort(scores.paths)]
    return correct


def load_fold_correctness(result: Result) -> BoolArray:
    """Return (images,) whether the winner predicts a validation image correctly."""
    path = result.scores / f"{result.summary.winner.trial}.npz"
    return load_validation_scores(path).correct_at_best


def estimate_difference(before: BoolArray, after: BoolArray) -> tuple[float, float, float]:
    """Return the mean of after - before over (seeds, images), and its 95 % interval."""
    gain = after.astype(float).mean(0) - before.astype(float).mean(0)
    generator = np.random.default_rng(0)
    means = [gain[generator.integers(0, len(gain), len(gain))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(gain.mean()), float(low), float(high)


def print_results(data: str, results: list[dict[str, Result]]) -> None:
    """Print the accuracies of each run, and the gains on validation, on test, and on both."""
    for number, by_method in enumerate(results):
        for method, result in by_method.items():
            summary = result.summary
            print(
                f"{data} {number} {method:7} validation {summary.validation_accuracy.value:.1%}  "
                f"test {summary.test.accuracy.value:.1%}  {result.seconds:.0f} s"
            )
    correct = {
        method: (
            np.array([load_fold_correctness(by_method[method]) for by_method in results]),
            np.array([load_test_correctness(by_method[method]) for by_method in results]),
        )
        for method in METHODS
    }
    for name, splits in {"validation": [0], "test": [1], "both": [0, 1]}.items():
        frozen, tuned = (
            np.concatenate([correct[method][split] for split in splits], axis=1)
            for method in METHODS
        )
        mean, low, high = estimate_difference(frozen, tuned)
        print(f"{data} gain, {name:10} {mean:+.1%} ({low:+.1%} to {high:+.1%})", flush=True)


def main() -> None:
    """Run both methods on both data sets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--weather", type=Path, default=Path("../shared/data/weather"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder in which the runs are kept")
    options = parser.parse_args()
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        keep = options.keep or Path(scratch)
        plans = {
            "intel": (options.folder, {"folds": 2}, range(options.seeds)),
            "weather": (options.weather, {"folds": 5}, range(1)),
        }
        jobs = [
            (folder, keep / f"{data}-{seed}-{method}", {**flags, **folds, "seed": seed})
            for data, (folder, folds, seeds) in plans.items()
            for seed in seeds
            for method, flags in METHODS.items()
        ]
        counter = context.Value("i", 0)
        with ProcessPoolExecutor(
            options.processes, mp_context=context, initializer=pin_to_core, initargs=(counter,)
        ) as pool:
            results = pool.map(run, jobs)
            for data, (_, _, seeds) in plans.items():
                print_results(data, [{name: next(results) for name in METHODS} for _ in seeds])


if __name__ == "__main__":
    main()
