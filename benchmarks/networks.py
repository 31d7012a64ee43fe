"""Each network at the same price: ten minutes of one processor, on two data sets, three seeds.

    python -m benchmarks.networks [--intel FOLDER] [--weather FOLDER] [--seeds 3] [--keep DIR]
        [--side-by-side 2] [--only NETWORK,NETWORK]

A run is `veduta search` over one learning rate, that of the network's own recipe, held to one
processor. Its budget is processor time, which
other runs beside it do not use up: `--side-by-side` of them go at once, one processor each. A
schedule has to know its end, so a network has as many epochs as fit (`EPOCHS`), or as its own
recipe asks for where that is less; what a run really took is in the table, and a run that took
more is marked. Data without a test split give a share of their images, so a seed has its own test
images; those of Intel are the same for all. Every run opens its test once. Runs that are already in
DIR are not made again.
"""

import argparse
import json
import resource
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.command import hold, search
from benchmarks.finetune import SHARED

BUDGET = 600.0  # seconds of one processor
TUNED = {
    **SHARED, "augment": "crop+flip", "freeze": 4, "freeze_epochs": 2, "backbone_lr_scale": 0.3,
    "lr": [5e-4], "warmup": 0.5, "ema": 0.99, "weight_decay": 0.02, "epochs": 8,
}  # fmt: skip
NETWORKS: dict[str, dict[str, object]] = {
    "mlp": {"model": "mlp", "lr": [1e-3]},
    "report_cnn": {"model": "report_cnn", "lr": [3e-4]},
    "cnn": {"model": "cnn", "lr": [0.2]},
    "lite0 fine-tuned": TUNED,
}
EPOCHS = {
    ("report_cnn", "intel"): 3,
    ("report_cnn", "weather"): 14,
    ("cnn", "intel"): 20,
}
"""Where the budget is less than what the recipe asks for."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training, and where it is kept."""

    network: str
    data: str
    folder: Path
    seed: int
    place: Path


def runs(folders: dict[str, Path], networks: list[str], seeds: int, keep: Path) -> Iterator[Run]:
    """Every run; those of one network and data set stand together."""
    for network in networks:
        for data, folder in folders.items():
            for seed in range(seeds):
                name = f"{data}-{network.replace(' ', '-')}-{seed}"
                yield Run(network, data, folder, seed, keep / name)


def measured(run: Run) -> dict[str, Any]:
    """Carry one run out, or read what it came to; its figures."""
    kept = run.place / "figures.json"
    if not kept.is_file():
        run.place.mkdir(parents=True, exist_ok=True)
        flags: dict[str, object] = {**NETWORKS[run.network], "seed": run.seed}
        if epochs := EPOCHS.get((run.network, run.data)):
            flags["epochs"] = epochs
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary, seconds = search(run.folder, run.place, flags)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures = {"summary": summary, "seconds": seconds, "processor": used}
        kept.write_text(json.dumps(figures))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def spread(values: list[float]) -> str:
    """Mean, and the range of all."""
    return f"{statistics.mean(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def row(network: str, data: str, found: list[dict[str, Any]]) -> str:
    """One line of the table."""
    validation = [one["summary"]["validation"]["accuracy"] for one in found]
    test = [one["summary"]["test"]["accuracy"] for one in found]
    longest = max(one["processor"] for one in found)
    over = " (over the budget)" if longest > BUDGET else ""
    deviation = f"{statistics.stdev(test):.1%}" if len(test) > 1 else "-"
    return (
        f"| {network} | {data} | {len(found)} | {spread(validation)} | {spread(test)} | "
        f"{deviation} | {longest:.0f} s{over} |"
    )


def main() -> None:
    """Print the table, a row as soon as its runs have ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--intel", type=Path, default=Path("../shared/data/intel"))
    parser.add_argument("--weather", type=Path, default=Path("../shared/data/weather"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="where the runs shall stay")
    parser.add_argument("--side-by-side", type=int, default=1)
    parser.add_argument("--only", default=",".join(NETWORKS))
    given = parser.parse_args()
    print("| network | data | seeds | validation | test | deviation | processor, at most |")
    print("|---|---|---|---|---|---|---|", flush=True)
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        keep = given.keep or Path(scratch)
        folders = {"intel": given.intel, "weather": given.weather}
        wanted = list(runs(folders, given.only.split(","), given.seeds, keep))
        turn = context.Value("i", 0)
        with ProcessPoolExecutor(
            given.side_by_side, mp_context=context, initializer=hold, initargs=(turn,)
        ) as pool:
            found = pool.map(measured, wanted)
            for first in wanted[:: given.seeds]:
                same = [next(found) for _ in range(given.seeds)]
                print(row(first.network, first.data, same), flush=True)


if __name__ == "__main__":
    main()
