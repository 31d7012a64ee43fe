"""Compare networks at the same cost: ten minutes of one core, on two data sets, three seeds.

    python -m benchmarks.networks [--intel FOLDER] [--weather FOLDER] [--seeds 3] [--keep DIR]
        [--processes 2] [--only NETWORK,NETWORK]

A run is `veduta search` with one learning rate, the default of the network, on one core. Its budget
is CPU time, which parallel runs do not consume: `--processes` of them run at the same time, one
core each. Schedules require the number of epochs in advance, so a network has as many epochs as fit
into the budget (`EPOCHS`), or its default number if that is less; the table contains the CPU time
of the runs and marks runs over the budget. Without a test split, some of the images are held out,
so each seed has its own test images; those of Intel are the same for all seeds. Every run evaluates
the test set once. Runs that exist in DIR already are not repeated.
"""

import argparse
import json
import resource
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.command import pin_to_core, run_search
from benchmarks.finetune import SHARED
from veduta.runs.summary import Summary

BUDGET = 600.0  # seconds of one core
FINE_TUNED = {
    **SHARED, "augment": "crop+flip", "freeze": 4, "freeze_epochs": 2, "backbone_lr_scale": 0.3,
    "lr": [5e-4], "warmup": 0.5, "ema": 0.99, "weight_decay": 0.02, "epochs": 8,
}  # fmt: skip
NETWORKS: dict[str, dict[str, object]] = {
    "mlp": {"model": "mlp", "lr": [1e-3]},
    "report_cnn": {"model": "report_cnn", "lr": [3e-4]},
    "cnn": {"model": "cnn", "lr": [0.2]},
    "lite0 fine-tuned": FINE_TUNED,
}
EPOCHS = {
    ("report_cnn", "intel"): 3,
    ("report_cnn", "weather"): 14,
    ("cnn", "intel"): 20,
}
"""Number of epochs where the budget is less than the default number takes."""


@dataclass(frozen=True, slots=True)
class Run:
    """A training, and the folder in which it is kept."""

    network: str
    data: str
    folder: Path
    seed: int
    output: Path


def plan_runs(
    folders: dict[str, Path], networks: list[str], seeds: int, keep: Path
) -> Iterator[Run]:
    """Yield every run, grouped by network and data set."""
    for network in networks:
        for data, folder in folders.items():
            for seed in range(seeds):
                name = f"{data}-{network.replace(' ', '-')}-{seed}"
                yield Run(network, data, folder, seed, keep / name)


@dataclass(frozen=True, slots=True)
class Result:
    """Validation accuracy, test accuracy and CPU seconds of a run."""

    validation: float
    test: float
    cpu_seconds: float


def execute(run: Run) -> Result:
    """Execute a run, or load the result that exists in its folder."""
    path = run.output / "result.json"
    if not path.is_file():
        run.output.mkdir(parents=True, exist_ok=True)
        flags: dict[str, object] = {**NETWORKS[run.network], "seed": run.seed}
        if epochs := EPOCHS.get((run.network, run.data)):
            flags["epochs"] = epochs
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary, _ = run_search(run.folder, run.output, flags)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        path.write_text(json.dumps(asdict(collect_result(summary, seconds))))
    return Result(**json.loads(path.read_text()))


def collect_result(summary: Summary, cpu_seconds: float) -> Result:
    """Return the result of a run with test images."""
    validation, test = summary.validation_accuracy.value, summary.test.accuracy.value
    assert validation is not None
    assert test is not None
    return Result(validation, test, cpu_seconds)


def format_spread(values: list[float]) -> str:
    """Return the mean and the range of values in percent."""
    return f"{statistics.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def format_row(network: str, data: str, results: list[Result]) -> str:
    """Return one line of the table."""
    test = [result.test for result in results]
    longest = max(result.cpu_seconds for result in results)
    over = " (over the budget)" if longest > BUDGET else ""
    deviation = f"{statistics.stdev(test):.1%}" if len(test) > 1 else "-"
    validation = format_spread([result.validation for result in results])
    return (
        f"| {network} | {data} | {len(results)} | {validation} | {format_spread(test)} | "
        f"{deviation} | {longest:.0f} s{over} |"
    )


def main() -> None:
    """Print the table, each row as soon as its runs have finished."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--intel", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--weather", type=Path, default=Path("../shared/data/weather"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder in which the runs are kept")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", default=",".join(NETWORKS))
    options = parser.parse_args()
    print("| network | data | seeds | validation | test | deviation | CPU time, maximum |")
    print("|---|---|---|---|---|---|---|", flush=True)
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        keep = options.keep or Path(scratch)
        folders = {"intel": options.intel, "weather": options.weather}
        planned = list(plan_runs(folders, options.only.split(","), options.seeds, keep))
        counter = context.Value("i", 0)
        with ProcessPoolExecutor(
            options.processes, mp_context=context, initializer=pin_to_core, initargs=(counter,)
        ) as pool:
            results = pool.map(execute, planned)
            for first in planned[:: options.seeds]:
                same = [next(results) for _ in range(options.seeds)]
                print(format_row(first.network, first.data, same), flush=True)


if __name__ == "__main__":
    main()
