"""Run a learning-rate range test on the training images of a folder.

The images are split as in a run. Validation and test images are not used, so that the suggested
rates depend on nothing that a run is selected or evaluated with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pandas as pd

from veduta.config.presets import merge_settings
from veduta.experiment.checked_data import check_data
from veduta.experiment.examples import build_examples
from veduta.experiment.feature_pipeline import PixelLoader, create_feature_pipeline
from veduta.experiment.plan import Plan, make_plan
from veduta.experiment.run_files import build_provenance, write_start
from veduta.reporting.figures.run_plots import write_range_test_figure
from veduta.runs.directory import RUNS_FOLDER, choose_output_path, create_run_directory
from veduta.runs.summary import RangeTestSummary, SuggestedRates, write_summary
from veduta.runs.tables import write_table
from veduta.runtime.disk import explain_write_errors
from veduta.runtime.environment import count_cores, open_cache
from veduta.runtime.process import use_torch_threads
from veduta.tracking.console import Console
from veduta.training.range_test import (
    STEPS,
    RangeStep,
    run_range_test,
    suggest_learning_rates,
)
from veduta.tuning.executors.serial import TrainingContext, build_network


@final
@dataclass(frozen=True, slots=True)
class RangeTest:
    """The result of a learning-rate range test, and where it was written.

    Attributes:
        rates: step, lr, loss (of the batch before the step) and smoothed_loss, a DataFrame.
        suggestion: learning rates to try; None where the loss did not fall noticeably.
        images: number of training images.
        directory: holds `config.yaml`, `lr_find.csv`, `summary.json`, the figure, and the lists of
            images.
    """

    rates: pd.DataFrame
    suggestion: SuggestedRates | None
    images: int
    directory: Path

    @property
    def summary(self) -> RangeTestSummary:
        """The content of summary.json."""
        steps = len(self.rates)
        return RangeTestSummary(suggestion=self.suggestion, steps=steps, images=self.images)


def find_learning_rates(
    data: str | Path,
    settings: Mapping[str, object],
    *,
    config: str | Path | None,
    preset: str | None,
    out: str | Path | None,
    console: Console,
) -> RangeTest:
    """Run a learning-rate range test, and write its table and figure to a new directory.

    Args:
        data: a folder of images, or a CSV file.
        settings: settings by name.
        config: a YAML file of settings; `settings` take precedence.
        preset: name of a preset; `settings` and `config` take precedence.
        out: the new directory; default `runs/lr-find-N`.
        console: shows progress.

    Raises:
        InputError: the images or the weights cannot be used; nothing was written.
    """
    values, _ = merge_settings(settings, {}, config=config, preset=preset)
    output = choose_output_path(out, RUNS_FOLDER, "lr-find")
    plan = make_plan(data, values, grid={}, output=output, command="lr-find")
    with open_cache(console.warn) as cache:
        return _run_range_test(plan, cache, console)


def _run_range_test(plan: Plan, cache: Path, console: Console) -> RangeTest:
    """Run the range test of a plan of one trial."""
    (trial,) = plan.trials
    settings, classes = trial.settings, plan.folder.classes
    pixels = PixelLoader(cache, console)
    data = check_data(plan, pixels)
    images = data.splits["train"]
    features = create_feature_pipeline(plan.engine, [settings], images, pixels)
    (train,) = build_examples(features, [images], settings, classes=classes)
    context = TrainingContext(len(classes), features.backbones.build_tail(settings))
    network = build_network(settings, train, context)
    steps: list[RangeStep] = []
    threads = count_cores() if settings.trains_backbone else 1
    with use_torch_threads(threads), console.stage("learning rates", "steps") as advance:
        for step in run_range_test(network, train, settings):
            steps.append(step)
            advance(step.step, STEPS)
    directory = create_run_directory(plan.output)
    suggestion = suggest_learning_rates(steps)
    result = RangeTest(_tabulate(steps), suggestion, len(train), directory.path)
    with explain_write_errors(directory.path):
        provenance = build_provenance(plan, data, features)
        write_start(directory, plan, data, provenance)
        write_table(directory.path / "lr_find.csv", result.rates)
        write_range_test_figure(directory.path, result.rates, suggestion)
        write_summary(directory.summary, result.summary)
    return result


def _tabulate(steps: Sequence[RangeStep]) -> pd.DataFrame:
    """Return the steps of a range test, one row per step."""
    return pd.DataFrame(
        {
            "step": [step.step for step in steps],
            "lr": [step.lr for step in steps],
            "loss": [step.loss for step in steps],
            "smoothed_loss": [step.smoothed for step in steps],
        }
    )
