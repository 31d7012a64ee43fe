"""Going on with a run: what it was, and what a user adds to its grid.

A grid that is given adds its values to those that the run has, setting by setting; a setting that
the run did not vary keeps its value as one of them. Cells are never taken away, so the rows of
earlier trials stay as they are, and the merged grid describes the whole run.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from veduta.config.parsing import Grid, parse_grid, parse_settings, read_file
from veduta.config.settings import OF_A_TRIAL, Settings, as_text
from veduta.errors import InputError
from veduta.experiment.plan import Plan, make_plan, trials_of
from veduta.experiment.recovery.previous_run import Earlier, read_earlier
from veduta.features.engines import choose_engine
from veduta.runs.directory import Place

FREE = frozenset({"memory", "checkpoint_seconds", "hang_seconds", "max_failures", "strict"})
"""Settings that no result depends on: a run that was killed for its memory goes on with less."""


def plan_of(
    command: str,
    data: str | Path | None,
    values: Mapping[str, Any],
    *,
    grid: Mapping[str, Any],
    place: Place,
    resume: str | Path | None,
) -> Plan:
    """The plan of a new run at `place`, or of the one in the directory `resume` that goes on.

    Raises:
        InputError: as `make_plan` and `resumed_plan`, or no data were given.
    """
    if resume is not None:
        if not place.numbered:
            raise InputError(
                f"a resumed run stays where it is; got --out {place.path}: leave it out"
            )
        return resumed_plan(Path(resume), data, values, grid=grid, command=command)
    if data is None:
        raise InputError(
            f"{command} needs a folder of images or a CSV file, as in veduta {command} photos; "
            "got none"
        )
    return make_plan(data, values, grid=grid, place=place, command=command)


def resumed_plan(
    path: Path,
    data: str | Path | None,
    values: Mapping[str, Any],
    *,
    grid: Mapping[str, Any],
    command: str,
) -> Plan:
    """The plan of a run that goes on.

    Args:
        path: its directory.
        data: where its images are now; None: where they were.
        values: settings as the user gave them, by name; they must be those of the run, `FREE`
            ones apart.
        grid: values that are added to those of the run, by name.
        command: what was called.

    Raises:
        InputError: the directory holds no run that can go on, or what was given would change what
            it has done; every fault is listed. Or another version of Veduta began it.
    """
    earlier = read_earlier(path, compare=data is not None)
    common, merged = _merged(earlier, values, grid)
    if command == "train" and merged:
        raise InputError(f"train goes on with one trial; {path} is a search: call search")
    start = earlier.start
    engine = choose_engine(start["engine"], start["precision"])  # as it was decided then
    plan = make_plan(
        data or start["given"],
        common,
        grid=merged,
        place=Place(path, resumed=True),
        command="search" if merged else "train",
    )
    ages: dict[str, int] = {}
    for age, settings in enumerate(earlier.settings):
        for trial in trials_of(*_parsed(settings), settings.keys() - {"grid"}):
            ages.setdefault(trial.id, age)
    _expect_same_names(earlier, ages)
    ages = {trial.id: ages.get(trial.id, len(earlier.settings)) for trial in plan.trials}
    return replace(plan, engine=engine, earlier=replace(earlier, ages=ages))


def _expect_same_names(earlier: Earlier, names: Collection[str]) -> None:
    """The trials of the run must have the names that this version gives them.

    A name stands for all hyper-parameters; a version that knows others would run every trial again.

    Raises:
        InputError: some have not.
    """
    planned = [name for e in earlier.events if e["event"] == "plan" for name in e["trials"]]
    others = [name for name in dict.fromkeys(planned) if name not in names]
    if others:
        was = earlier.start["versions"].get("veduta", "unknown")
        raise InputError(
            "a run goes on with the version of Veduta that began it, or one with the same "
            f"hyper-parameters; {earlier.directory.path} was begun by version {was}, and this one "
            f"has other names for its trials, such as {others[0]}: resume it with that version, or "
            "start a new run"
        )


def _parsed(recorded: Mapping[str, Any]) -> tuple[Settings, Grid]:
    """Settings and grid as a run recorded them."""
    common = {name: value for name, value in recorded.items() if name != "grid"}
    return parse_settings(common)[0], parse_grid(recorded.get("grid", {}))[0]


def _merged(
    earlier: Earlier, values: Mapping[str, Any], grid: Mapping[str, Any]
) -> tuple[dict[str, Any], Grid]:
    """Settings outside the grid, and the grid of the run together with what was given.

    Raises:
        InputError: something given is wrong, or another than the run has.
    """
    recorded = earlier.settings[-1]
    settings, merged = _parsed(recorded)
    given, faults = parse_settings(values)
    added, more = parse_grid(grid)
    faults += more
    comparable = [] if faults else [name for name in values if name in Settings.model_fields]
    for name in comparable:
        had, came = merged.get(name, (getattr(settings, name),)), getattr(given, name)
        longer = name == "epochs" and not merged and came > had[0]
        if name not in {*recorded, *merged}:
            faults.append(_decided(name, came))
        elif name in FREE or longer:
            settings = settings.model_copy(update={name: came})
        elif came not in had:
            faults.append(_other(name, had, came))
    faults += _edited(earlier) + _moved(earlier) + _halved(settings, added)
    if faults:
        raise InputError(*faults)
    for name, new in added.items():
        union = tuple(dict.fromkeys([*merged.get(name, (getattr(settings, name),)), *new]))
        if name in merged or len(union) > 1:
            merged[name] = union
    kept = {n: v for n, v in settings.model_dump().items() if n in recorded}
    return {n: v for n, v in kept.items() if n not in merged}, merged


def _decided(name: str, came: object) -> str:
    """The fault of a setting that the models or heads of the run's grid decide."""
    return (
        f"a resumed run keeps its settings; {name} was as each model or head has it, now it is "
        f"{as_text(came)}: leave it out, or start a new run"
    )


def _other(name: str, had: tuple[Any, ...], came: object) -> str:
    """The fault of a setting that the run did not have."""
    added = f", or add it with --grid {name}={as_text(came)}" if name in OF_A_TRIAL else ""
    return (
        f"a resumed run keeps its settings; {name} was {' and '.join(map(as_text, had))}, now it "
        f"is {as_text(came)}: leave it out, start a new run{added}"
    )


def _moved(earlier: Earlier) -> list[str]:
    """The fault of images that are not where they were, where nobody said where they are."""
    given = Path(earlier.start["given"])
    if earlier.compare or given.exists():
        return []
    where = f"veduta {earlier.start['command']} FOLDER --resume {earlier.directory.path}"
    rule = "a resumed run needs the images that it began with"
    return [f"{rule}; {given} is not there any more: say where they are now, as in {where}"]


def _halved(settings: Settings, added: Grid) -> list[str]:
    """The fault of more trials in a search that has chosen already which of them go on."""
    if settings.halving is None or not added:
        return []
    rule = "a search by halving takes no more trials, for it has chosen among those it had"
    return [f"{rule}; got --grid for {', '.join(added)}: start a new run"]


def _edited(earlier: Earlier) -> list[str]:
    """A fault for each setting in config.yaml that the run never had: editing changes nothing."""
    config = earlier.directory.config
    if not config.is_file():
        return []
    filed = _parsed(read_file(config))
    known = [_parsed(recorded) for recorded in earlier.settings]
    if filed in known:
        return []
    settings, grid = known[-1]
    names = [n for n in Settings.model_fields if getattr(filed[0], n) != getattr(settings, n)]
    names += [name for name in {**grid, **filed[1]} if filed[1].get(name) != grid.get(name)]
    edited = ", ".join(dict.fromkeys(names))
    rule = "editing a run's config.yaml does not change it; add values with --grid"
    cure = f"let `veduta rebuild {earlier.directory.path}` restore it"
    return [f"{rule}; {edited} was edited in {config}: {cure}"]
