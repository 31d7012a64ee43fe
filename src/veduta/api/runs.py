"""Functions that check data and train: inspect, preview, lr_find, train, search, demo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from veduta.config.presets import together
from veduta.data.digits import write_digits
from veduta.diagnostics import inspection as inspecting
from veduta.diagnostics.inspection import Inspected
from veduta.diagnostics.lr_range import RangeTest, find_rates
from veduta.diagnostics.preview import sheets_of
from veduta.errors import InputError
from veduta.experiment.messages import way_on
from veduta.experiment.plan import Plan, make_plan
from veduta.experiment.resume import plan_of
from veduta.experiment.run import run
from veduta.results.run import Run
from veduta.runs.directory import RUNS, create, place_for
from veduta.runs.files import expect_room
from veduta.runs.journal import read_journal
from veduta.runtime.environment import cache_folder, usable_cache
from veduta.runtime.interruption import goes_on_with
from veduta.tracking.console import Console


def inspect(
    data: str | Path, *, out: str | Path | None = None, console: Console | None = None
) -> Inspected:
    """Look at every file of a folder of images, and say all that is wrong with it.

    What cannot be read, identical images and images that look alike (in training and test, with
    several labels), classes that are tiny or missing from a split, images that are dark, blurred,
    blank or odd. The files are never changed; `rejected.csv`, `inspection.json` and
    `inspection.html` go into a new directory.

    Args:
        data: a folder of images (class folders, or train/ test/ of class folders), or a CSV file.
        out: the new directory; default `runs/inspect-N`.
        console: what shows progress; default prints to standard output.

    Raises:
        InputError: the layout is none that a training could use, or `out` exists.
    """
    from veduta.reporting.pages.inspection_page import write_page

    console, place = console or Console(), place_for(out, RUNS, "inspect")
    folder = inspecting.read_data(Path(data), place)
    found = inspecting.inspect(folder, cache=cache_folder(), console=console)
    directory = create(place)
    with expect_room(directory.path):
        written = inspecting.write_inspection(directory, found)
        write_page(directory, found, console)
    return written


DEMO = Path("demo")
DEMO_GRID = {"lr": [1e-3, 3e-3, 1e-2], "batch_size": [32, 64], "weight_decay": [0.0, 1e-4]}
DEMO_SETTINGS: dict[str, Any] = {"image_size": 64, "epochs": 15}


def search(
    data: str | Path | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    recipe: str | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> Run:
    """Train every cell of a grid, choose by validation, open the test once for the winner.

    Args:
        data: a folder of images (class folders, or train/ test/ of class folders), or a CSV file.
        grid: several values a setting, by name: `{"lr": [3e-4, 3e-3], "batch_size": [32, 64]}`.
        out: where the run directory shall stand; default `runs/search-N`.
        config: a YAML file of settings, `grid` among them; what is given here comes first.
        recipe: settings under a name, such as `report`; what is given, or in `config`, comes first.
        resume: the directory of a run that goes on, with its own data and settings: killed or
            interrupted, it ends as if it had not been; what `grid` gives is added to its grid, and
            the new cells are run. What would change earlier results is refused.
        console: what shows progress; default prints to standard output.
        settings: what all trials share, by name, such as `epochs=20`.

    Raises:
        InputError: something given is wrong; every fault is listed, nothing was written.
    """
    values, merged = together(settings, grid or {}, config=config, recipe=recipe)
    place = place_for(out, RUNS, "search")
    plan = plan_of("search", data, values, grid=merged, place=place, resume=resume)
    return _carried_out(plan, console or Console())


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    recipe: str | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> Run:
    """Train one model: a search of one trial. Arguments as for `search`."""
    values, grid = together(settings, {}, config=config, recipe=recipe)
    if grid:
        source = config or f"the recipe {recipe}"
        raise InputError(f"train takes one value a setting; {source} has a grid: call search")
    place = place_for(out, RUNS, "train")
    plan = plan_of("train", data, values, grid={}, place=place, resume=resume)
    return _carried_out(plan, console or Console())


def preview(
    data: str | Path,
    *,
    grid: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    recipe: str | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> tuple[Path, ...]:
    """Draw what a run with these settings would train on: images, and what each epoch shows.

    Arguments as for `search`; the new directory is `runs/preview-N` by default.

    Returns:
        The PNG files that it holds: `preview.png`, or one for each `augment` of a grid.

    Raises:
        InputError: as for `search`, or nothing changes the images.
    """
    from veduta.reporting.pictures.sheets import write_sheets

    values, merged = together(settings, grid or {}, config=config, recipe=recipe)
    place = place_for(out, RUNS, "preview")
    plan = make_plan(data, values, grid=merged, place=place, command="preview")
    console = console or Console()
    with usable_cache(console.warn) as cache:
        sheets = sheets_of(plan, cache=cache, console=console)
    return write_sheets(create(place).path, sheets)


def lr_find(
    data: str | Path,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    recipe: str | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> RangeTest:
    """Learning rates to start with: a range test on the training images. Arguments as `search`."""
    from veduta.reporting.figures.run_plots import write_rates

    values, _ = together(settings, {}, config=config, recipe=recipe)
    place = place_for(out, RUNS, "lr-find")
    plan = make_plan(data, values, grid={}, place=place, command="lr-find")
    console = console or Console()
    with usable_cache(console.warn) as cache:
        found = find_rates(plan, cache=cache, console=console)
    write_rates(found.directory, found.rates, found.suggestion)
    return found


def demo(*, out: str | Path | None = None, console: Console | None = None) -> Run:
    """Search on scikit-learn's handwritten digits, written out as class folders first."""
    console, digits = console or Console(), DEMO / "digits"
    console.say(f"{write_digits(digits):,} handwritten digits stand in {digits}, a folder a class")
    place = place_for(out, DEMO, "run")
    plan = make_plan(digits, DEMO_SETTINGS, grid=DEMO_GRID, place=place, command="search")
    return _carried_out(plan, console)


def _carried_out(plan: Plan, console: Console) -> Run:
    """Run a plan, and draw the page of what came of it; where nothing came, it may stand."""
    from veduta.reporting.report import write_report

    with usable_cache(console.warn) as cache:
        directory = run(plan, cache=cache, console=console)
    known = plan.earlier is not None and len(plan.earlier.events)
    if not directory.report.is_file() or known != len(read_journal(directory.journal)):
        with goes_on_with(way_on(plan.command, directory.path)):
            write_report(directory.path)
    return Run(directory.path, strict=plan.settings.strict)
