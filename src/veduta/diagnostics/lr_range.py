"""Which learning rate to start with: the range test on the training images of a folder.

Validation and test images are set apart as in a run, and left alone: what is suggested has seen
nothing that a run chooses by or is judged on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from veduta.experiment.examples import examples
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.gate import gate_of
from veduta.experiment.plan import Plan
from veduta.experiment.record import start_of, write_start
from veduta.runs.directory import RunDirectory, create
from veduta.runs.files import expect_room, write_json
from veduta.runtime.environment import processors
from veduta.runtime.process import threads_of
from veduta.tracking.console import Console
from veduta.tracking.tables import write_csv
from veduta.training.range_test import STEPS, Rate, Suggestion, range_test, suggestion
from veduta.tuning.executors.serial import Way, fresh_network


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What a learning-rate range test came to, and where it was written.

    Attributes:
        rates: step, lr, loss (of the batch before the step) and smoothed_loss, a DataFrame.
        suggestion: rates to try; None where the loss did not fall noticeably.
        images: how many there are to train on.
        directory: of config.yaml, lr_find.csv, summary.json and the files that say which image
            would serve for what.
    """

    rates: pd.DataFrame
    suggestion: Suggestion | None
    images: int
    directory: Path

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        found = asdict(self.suggestion) if self.suggestion else None
        return {
            "command": "lr-find",
            "suggestion": found,
            "steps": len(self.rates),
            "images": self.images,
        }


def find_rates(plan: Plan, *, cache: Path, console: Console) -> RangeTest:
    """Carry out the range test that a plan of one trial asks for; write its table.

    Raises:
        InputError: the images or the weights do not do; nothing was written.
    """
    (trial,) = plan.trials
    settings, classes = trial.settings, plan.folder.classes
    materials = Materials(plan.engine, settings.seed, cache, console, precision=settings.precision)
    gate = gate_of(plan, materials)
    materials.training = gate.parts["train"]
    materials.expect_backbones([settings])
    materials.settle_engine(settings)
    (train,) = examples(materials, [gate.parts["train"]], settings, classes=classes)
    network = fresh_network(settings, train, Way(len(classes), materials.networks.tail(settings)))
    rates: list[Rate] = []
    threads = 1 if settings.freeze == "all" else processors()
    with threads_of(threads), console.stage("learning rates", "steps") as advance:
        for rate in range_test(network, train, settings):
            rates.append(rate)
            advance(rate.step, STEPS)
    directory = create(plan.place)
    found = RangeTest(_table(rates), suggestion(rates), len(train), directory.path)
    with expect_room(directory.path):
        write_start(directory, plan, gate, start=start_of(plan, gate))
        _write(directory, found)
    return found


def _table(rates: Sequence[Rate]) -> pd.DataFrame:
    columns = {"step": "step", "lr": "lr", "loss": "loss", "smoothed": "smoothed_loss"}
    return pd.DataFrame(map(asdict, rates), columns=list(columns)).rename(columns=columns)


def _write(directory: RunDirectory, found: RangeTest) -> None:
    write_csv(directory.path / "lr_find.csv", found.rates)
    write_json(directory.summary, found.summary)
