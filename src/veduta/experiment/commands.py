"""Carry out the commands `search`, `train` and `demo`: merge settings, plan the run, and run it."""

from collections.abc import Mapping
from pathlib import Path

from veduta.config.presets import merge_settings
from veduta.data.digits import write_digits
from veduta.errors import InputError
from veduta.experiment.plan import Plan, make_plan
from veduta.experiment.recovery.previous_run import PreviousRun
from veduta.experiment.resume import plan_run
from veduta.experiment.run import run
from veduta.results.run import Run
from veduta.runs.directory import RUNS_FOLDER, choose_output_path
from veduta.tracking.console import Console

DEMO_FOLDER = Path("demo")
DEMO_GRID = {"lr": [1e-3, 3e-3, 1e-2], "batch_size": [32, 64], "weight_decay": [0.0, 1e-4]}
DEMO_SETTINGS = {"image_size": 64, "epochs": 15}


def run_search(  # noqa: PLR0913 - one parameter per option of the command
    data: str | Path | None,
    settings: Mapping[str, object],
    *,
    grid: Mapping[str, object],
    config: str | Path | None,
    preset: str | None,
    out: str | Path | None,
    resume: str | Path | None,
    console: Console,
) -> Run:
    """Train and compare every cell of a grid.

    Args:
        data: a folder of images or a CSV file; None for a resumed run with its own data.
        settings: settings that all trials share, by name.
        grid: several values per setting, by name.
        config: a YAML file of settings and grid; `settings` and `grid` take precedence.
        preset: name of a preset; everything else takes precedence.
        out: the new run directory; default `runs/search-N`.
        resume: directory of a run that is resumed, and extended by `grid`.
        console: shows progress.

    Raises:
        InputError: with one line per error; nothing was written.
    """
    values, merged_grid = merge_settings(settings, grid, config=config, preset=preset)
    output = choose_output_path(out, RUNS_FOLDER, "search")
    plan, previous = plan_run(
        "search", data, values, grid=merged_grid, output=output, resume=resume
    )
    return _run(plan, previous, console)


def run_training(
    data: str | Path | None,
    settings: Mapping[str, object],
    *,
    config: str | Path | None,
    preset: str | None,
    out: str | Path | None,
    resume: str | Path | None,
    console: Console,
) -> Run:
    """Train one model: a search of one trial. Arguments and errors as for `run_search`."""
    values, grid = merge_settings(settings, {}, config=config, preset=preset)
    if grid:
        source = config or f"the preset {preset}"
        raise InputError(f"train takes one value per setting; {source} has a grid: call search")
    output = choose_output_path(out, RUNS_FOLDER, "train")
    plan, previous = plan_run("train", data, values, grid={}, output=output, resume=resume)
    return _run(plan, previous, console)


def run_demo(*, out: str | Path | None, console: Console) -> Run:
    """Search on scikit-learn's handwritten digits, which are written as class folders first."""
    folder = DEMO_FOLDER / "digits"
    console.say(
        f"{write_digits(folder):,} handwritten digits are in {folder}, one folder per class"
    )
    output = choose_output_path(out, DEMO_FOLDER, "run")
    plan = make_plan(folder, DEMO_SETTINGS, grid=DEMO_GRID, output=output, command="search")
    return _run(plan, None, console)


def _run(plan: Plan, previous: PreviousRun | None, console: Console) -> Run:
    """Run a plan and return the finished run."""
    directory = run(plan, previous, console=console)
    return Run(directory.path, strict=plan.settings.strict)
