"""The plan of a run: everything that the user gave, checked before the first image is decoded."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from veduta.augment.registry import (
    AUGMENTATIONS,
    MIXING_AUGMENTATIONS,
    select_image_augmentations,
    select_mixing_augmentations,
)
from veduta.config.parsing import Grid, format_value, parse_grid, parse_settings
from veduta.config.settings import Settings
from veduta.data.folder import read_folder
from veduta.data.sample import Folder
from veduta.errors import InputError, describe_unknown_name
from veduta.features.engines import choose_engine
from veduta.networks.catalogue.builtin import ACTIVATIONS
from veduta.networks.catalogue.registry import find_model
from veduta.networks.freezing import find_freeze_errors
from veduta.networks.presets import collect_preset_values, resolve_presets
from veduta.networks.weights import find_weights_errors
from veduta.optim.optimizers import OPTIMIZERS, find_optimizer_errors
from veduta.optim.schedules import SCHEDULES, find_schedule_errors
from veduta.runs.directory import OutputPath, find_output_errors
from veduta.tuning.trials.space import Trial, build_trials, expand_grid, find_unused_settings

Command = Literal["search", "train", "lr-find"]

REGISTRIES: dict[str, tuple[str, Mapping[str, object]]] = {
    "optimizer": ("optimizer", OPTIMIZERS),
    "activation": ("activation", ACTIVATIONS),
    "schedule": ("schedule", SCHEDULES),
}
"""Settings whose values are names in a registry: their kind, for messages, and the registry."""

PRESETS = frozenset({"model", "head"})
"""Settings that determine the defaults of others."""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can start.

    Attributes:
        command: command that was called.
        folder: samples and layout of the data set.
        settings: settings that all trials share.
        grid: values of the settings that vary, by name.
        trials: distinct trials in canonical order.
        cell_count: number of grid cells; more than trials if some differ only in unused settings.
        unused_settings: settings that the user gave and that have no effect on any trial.
        engine: engine that computes features, or `fastest`.
        output: path of the run directory.
        data_path: folder of images or CSV file that the user gave, absolute.
        preset_settings: settings that presets determine cell by cell, because the
            grid varies the model or the head.
    """

    command: Command
    folder: Folder
    settings: Settings
    grid: Grid
    trials: tuple[Trial, ...]
    cell_count: int
    unused_settings: tuple[str, ...]
    engine: str
    output: OutputPath
    data_path: Path
    preset_settings: frozenset[str] = frozenset()


def make_plan(
    data: str | Path,
    values: Mapping[str, object],
    *,
    grid: Mapping[str, object],
    output: OutputPath,
    command: Command,
) -> Plan:
    """Return the plan of a run, after all checks that need no decoded image.

    Args:
        data: folder of images, or CSV file.
        values: settings as the user gave them, by name.
        grid: several values per setting, by name.
        output: path of the run directory.
        command: command that was called.

    Raises:
        InputError: data, settings, grid or output path are invalid; lists all errors, one per line.
    """
    settings, errors = parse_settings(values)
    parsed_grid, grid_errors = parse_grid(grid)
    errors += grid_errors
    if command == "search" and not grid:
        errors.append("a search needs a grid, such as --grid lr=3e-4,3e-3; got none")
    if command == "train" and settings.uses_halving:
        errors.append(
            f"halving selects among trials, and train has one; got halving={settings.halving}: "
            "leave it out, or call search"
        )
    errors += [
        f"a setting must be given once; {name} is in the grid and outside it: remove one"
        for name in values
        if name in grid
    ]
    given = {*values, *parsed_grid}
    cells, preset_errors = _apply_presets(expand_grid(settings, parsed_grid), given)
    errors += preset_errors
    errors += dict.fromkeys(error for cell in cells for error in _find_cell_errors(cell))
    errors += _find_unused_view_errors(cells)
    errors += [] if output.resumed else find_output_errors(output.path)
    errors += find_nested_output_errors(Path(data), output.path)
    engine, folder = "", None
    try:
        engine = choose_engine(settings.engine, settings.precision)
    except InputError as error:
        errors += error.faults
    try:
        folder = read_folder(data)
    except InputError as error:
        errors += error.faults
    if errors or folder is None:
        raise InputError(*errors)
    varies_presets = PRESETS & parsed_grid.keys()
    return Plan(
        command=command,
        folder=folder,
        settings=settings if varies_presets else resolve_presets(settings, given),
        grid=parsed_grid,
        trials=tuple(build_trials(cells)),
        cell_count=len(cells),
        unused_settings=_list_unused_settings(settings, parsed_grid, cells, folder),
        engine=engine,
        output=output,
        data_path=Path(data).absolute(),
        preset_settings=(
            _list_preset_settings(expand_grid(settings, parsed_grid)) - given
            if varies_presets
            else frozenset()
        ),
    )


def build_grid_trials(settings: Settings, grid: Grid, given: Collection[str]) -> tuple[Trial, ...]:
    """Return the trials of a grid that has already been checked, in canonical order.

    Args:
        settings: settings outside the grid.
        grid: several values per setting, by name.
        given: names of the settings that were given outside the grid; presets determine the rest.
    """
    names = {*given, *grid}
    return tuple(
        build_trials([resolve_presets(cell, names) for cell in expand_grid(settings, grid)])
    )


def find_nested_output_errors(data: Path, out: Path) -> list[str]:
    """Return an error if the output is inside the data folder, where it would be read as data."""
    if data.is_dir() and out.absolute().resolve().is_relative_to(data.resolve()):
        return [
            f"--out must not be inside the folder of images; {out} is inside {data}: give another"
        ]
    return []


def _list_unused_settings(
    settings: Settings, grid: Grid, cells: Sequence[Settings], folder: Folder
) -> tuple[str, ...]:
    """Return the sorted names of settings that were given and that no trial uses."""
    changed = {*grid, *settings.model_dump(exclude_defaults=True)} - {"head"}
    unused = changed.intersection(*(find_unused_settings(cell) for cell in cells))
    unused |= changed & {str(sample.split) for sample in folder.samples}  # fixed by the data set
    unused |= changed & {"validation"} if settings.uses_folds else set()
    return tuple(sorted(unused))


def _list_preset_settings(cells: Sequence[Settings]) -> frozenset[str]:
    """Return the names of the settings that presets determine in some cell."""
    return frozenset(name for cell in cells for name in collect_preset_values(cell))


def _apply_presets(
    cells: Sequence[Settings], given: Collection[str]
) -> tuple[list[Settings], list[str]]:
    """Apply presets to every cell, and return the distinct errors; invalid cells stay unchanged."""
    applied, errors = list[Settings](), list[str]()
    for cell in cells:
        try:
            applied.append(resolve_presets(cell, given))
        except InputError as error:
            applied.append(cell)
            errors += error.faults
    return applied, list(dict.fromkeys(errors))


def _find_cell_errors(settings: Settings) -> list[str]:
    """Return the errors of one cell: unknown names, and settings that cannot be combined."""
    errors = [
        describe_unknown_name(kind, getattr(settings, name), known)
        for name, (kind, known) in REGISTRIES.items()
        if getattr(settings, name) not in known
    ]
    if settings.quantizes and settings.trains_backbone:
        errors.append(
            "precision=int8 needs a backbone that is not trained, freeze=all; got "
            f"freeze={settings.freeze}: choose one of the two"
        )
    with suppress(InputError):  # an unknown model was reported when presets were applied
        model = find_model(settings.model)
        errors += find_weights_errors(model, settings.weights) + find_freeze_errors(settings, model)
    return (
        errors
        + _find_view_errors(settings)
        + find_optimizer_errors(settings)
        + find_schedule_errors(settings)
    )


def _find_view_errors(settings: Settings) -> list[str]:
    """Return errors of `views` and `augment`."""
    names = settings.augment
    known = {*AUGMENTATIONS, *MIXING_AUGMENTATIONS}
    errors = [
        describe_unknown_name("augmentation", name, known) for name in names if name not in known
    ]
    if errors:
        return errors
    image_augmentations = select_image_augmentations(names)
    if settings.cached_views and not image_augmentations:
        errors.append(
            "views need an augmentation of single images; got "
            f"views={settings.views} with augment={format_value(names)}: give names such as "
            "augment=crop+flip, or leave views out"
        )
    mixing_augmentations = select_mixing_augmentations(names)
    if mixing_augmentations and not settings.trains_backbone:
        errors.append(
            "images are mixed before stages that are trained, and here only the head is trained; "
            f"got augment={format_value(names)} with freeze=all: give freeze=none or fewer stages, "
            f"or leave out {' and '.join(mixing_augmentations)}"
        )
    elif (
        mixing_augmentations
        and image_augmentations
        and not settings.trains_whole_backbone
        and not settings.views
    ):
        errors.append(
            "frozen stages compute features of the plain image unless there are views; got "
            f"augment={format_value(names)} with freeze={settings.freeze}: give views, or leave "
            f"out {' and '.join(image_augmentations)}"
        )
    return errors


def _find_unused_view_errors(cells: Sequence[Settings]) -> list[str]:
    """Return an error if there are more views than epochs of the longest trial."""
    views = max(cell.cached_views for cell in cells)
    epochs = max(cell.epochs for cell in cells)
    if views <= epochs:
        return []
    rule = "there may be at most as many views as epochs, since an epoch trains on one view"
    return [f"{rule}; got views={views} with epochs={epochs}: raise epochs, or lower views"]
