"""Resume a run: its recorded configuration, and the grid values that the user adds.

Values of a given grid are added to those of the run, setting by setting; a setting that the run did
not vary keeps its value as one of them. Cells are never removed, so the rows of earlier trials stay
as they are, and the merged grid describes the whole run.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from veduta.config.parsing import Grid, format_value, parse_grid, parse_settings, read_file
from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.errors import InputError
from veduta.experiment.plan import Command, Plan, build_grid_trials, make_plan
from veduta.experiment.recovery.previous_run import PreviousRun, read_previous_run
from veduta.features.engines import choose_engine
from veduta.runs.directory import OutputPath
from veduta.runs.events import SearchPlanned, events_of_type
from veduta.runs.provenance import Configuration

CHANGEABLE = frozenset({"memory", "checkpoint_seconds", "hang_seconds", "max_failures", "strict"})
"""Settings that no result depends on, so that a resumed run may have others."""


def plan_run(
    command: Command,
    data: str | Path | None,
    values: Mapping[str, object],
    *,
    grid: Mapping[str, object],
    output: OutputPath,
    resume: str | Path | None,
) -> tuple[Plan, PreviousRun | None]:
    """Return the plan of a new run, or that of the run in the directory `resume` and this run.

    Raises:
        InputError: as `make_plan` and `plan_resumed_run`, or no data were given.
    """
    if resume is not None:
        if not output.numbered:
            raise InputError(
                f"a resumed run keeps its directory; got --out {output.path}: leave it out"
            )
        return plan_resumed_run(Path(resume), data, values, grid=grid, command=command)
    if data is None:
        raise InputError(
            f"{command} needs a folder of images or a CSV file, as in veduta {command} photos; "
            "got none"
        )
    return make_plan(data, values, grid=grid, output=output, command=command), None


def plan_resumed_run(
    path: Path,
    data: str | Path | None,
    values: Mapping[str, object],
    *,
    grid: Mapping[str, object],
    command: Command,
) -> tuple[Plan, PreviousRun]:
    """Return the plan of a run that is resumed, and the run.

    Args:
        path: directory of the run.
        data: folder or CSV file of its images now; None if it is the same as before.
        values: settings as the user gave them, by name; they must be those of the run, except those
            that are `CHANGEABLE`.
        grid: values that are added to those of the run, by name.
        command: command that was called.

    Raises:
        InputError: the directory has no run that can be resumed, or what was given would change
            results that it has; every error is listed. Or trials have other ids in this version.
    """
    previous = read_previous_run(path, compare_images=data is not None)
    settings, merged_grid = _merge(previous, values, grid)
    if command == "train" and merged_grid:
        raise InputError(
            f"train resumes a run of one trial; {path} is a search: call search instead"
        )
    start = previous.start
    recorded_engine = start.provenance.engine
    engine = choose_engine(recorded_engine.name, recorded_engine.precision)
    plan = make_plan(
        data or start.data_path,
        settings,
        grid=merged_grid,
        output=OutputPath(path, resumed=True),
        command="search" if merged_grid else "train",
    )
    ages: dict[str, int] = {}
    for age, configuration in enumerate(previous.configurations):
        for trial in build_grid_trials(*_parse(configuration), configuration.settings.keys()):
            ages.setdefault(trial.id, age)
    _expect_same_trial_ids(previous, ages)
    newest = len(previous.configurations)
    ages = {trial.id: ages.get(trial.id, newest) for trial in plan.trials}
    return replace(plan, engine=engine), replace(previous, ages=ages)


def _expect_same_trial_ids(previous: PreviousRun, trial_ids: Collection[str]) -> None:
    """Raise an error if this version gives the trials of a run other ids.

    An id is a hash of the hyperparameters; a version with others would run every trial again.

    Raises:
        InputError: some trials have other ids.
    """
    planned = [
        trial for event in events_of_type(previous.events, SearchPlanned) for trial in event.trials
    ]
    others = [trial for trial in dict.fromkeys(planned) if trial not in trial_ids]
    if others:
        version = previous.start.provenance.versions.get("veduta", "unknown")
        raise InputError(
            "a run must be resumed by the version of Veduta that started it, or by one with the "
            f"same hyperparameters; {previous.directory.path} was started by version {version}, "
            f"and trials have other ids in this one, such as {others[0]}: resume it with that "
            "version, or start a new run"
        )


def _parse(configuration: Configuration) -> tuple[Settings, Grid]:
    """Return settings and grid as a run recorded them."""
    return parse_settings(configuration.settings)[0], parse_grid(configuration.grid)[0]


def _merge(
    previous: PreviousRun, values: Mapping[str, object], grid: Mapping[str, object]
) -> tuple[dict[str, object], Grid]:
    """Return the settings outside the grid, and the grid of the run with the added values.

    Raises:
        InputError: a given value is wrong, or differs from that of the run.
    """
    recorded = previous.configurations[-1]
    settings, merged_grid = _parse(recorded)
    given, errors = parse_settings(values)
    added_grid, grid_errors = parse_grid(grid)
    errors += grid_errors
    comparable = [] if errors else [name for name in values if name in Settings.model_fields]
    for name in comparable:
        new = getattr(given, name)
        values_of_run = merged_grid.get(name, (getattr(settings, name),))
        trains_longer = name == "epochs" and not merged_grid and new > values_of_run[0]
        if name not in {*recorded.settings, *merged_grid}:
            errors.append(_describe_preset_setting(name, new))
        elif name in CHANGEABLE or trains_longer:
            settings = settings.model_copy(update={name: new})
        elif new not in values_of_run:
            errors.append(_describe_difference(name, values_of_run, new))
    errors += _find_edit_errors(previous) + _find_missing_data_errors(previous)
    errors += _find_halving_errors(settings, added_grid)
    if errors:
        raise InputError(*errors)
    for name, new_values in added_grid.items():
        values_of_run = merged_grid.get(name, (getattr(settings, name),))
        union = tuple(dict.fromkeys([*values_of_run, *new_values]))
        if name in merged_grid or len(union) > 1:
            merged_grid[name] = union
    outside_grid = {
        name: value
        for name, value in settings.model_dump().items()
        if name in recorded.settings and name not in merged_grid
    }
    return outside_grid, merged_grid


def _describe_preset_setting(name: str, value: object) -> str:
    """Return the error of a setting that models or heads in the grid of the run determine."""
    return (
        f"a resumed run keeps its settings; {name} was as each model or head has it, now it is "
        f"{format_value(value)}: leave it out, or start a new run"
    )


def _describe_difference(name: str, values_of_run: Collection[object], value: object) -> str:
    """Return the error of a setting whose value the run did not have."""
    text = format_value(value)
    cure = f", or add it with --grid {name}={text}" if name in TRIAL_SETTINGS else ""
    return (
        f"a resumed run keeps its settings; {name} was "
        f"{' and '.join(map(format_value, values_of_run))}, now it is {text}: leave it out, start "
        f"a new run{cure}"
    )


def _find_missing_data_errors(previous: PreviousRun) -> list[str]:
    """Return an error if the images are not at their recorded path and no other path was given."""
    data_path = Path(previous.start.data_path)
    if previous.compare_images or data_path.exists():
        return []
    command = previous.start.provenance.command
    example = f"veduta {command} FOLDER --resume {previous.directory.path}"
    rule = "a resumed run needs the images with which it was started"
    return [f"{rule}; {data_path} cannot be found: give their new path, as in {example}"]


def _find_halving_errors(settings: Settings, added_grid: Grid) -> list[str]:
    """Return an error if trials are added to a search that has promoted trials by halving."""
    if not settings.uses_halving or not added_grid:
        return []
    rule = "no trials can be added to a search with halving, which has selected among its trials"
    return [f"{rule}; got --grid for {', '.join(added_grid)}: start a new run"]


def _find_edit_errors(previous: PreviousRun) -> list[str]:
    """Return an error if config.yaml was edited, since that does not change a run."""
    config = previous.directory.config
    if not config.is_file():
        return []
    content = dict(read_file(config))
    file_grid = parse_grid(content.pop("grid", {}))[0]
    file_settings = parse_settings(content)[0]
    recorded = [_parse(configuration) for configuration in previous.configurations]
    if (file_settings, file_grid) in recorded:
        return []
    settings, grid = recorded[-1]
    names = [n for n in Settings.model_fields if getattr(file_settings, n) != getattr(settings, n)]
    names += [name for name in {**grid, **file_grid} if file_grid.get(name) != grid.get(name)]
    edited = ", ".join(dict.fromkeys(names))
    rule = "a run does not change when its config.yaml is edited; add values with --grid"
    cure = f"let `veduta rebuild {previous.directory.path}` restore it"
    return [f"{rule}; {edited} was edited in {config}: {cure}"]
