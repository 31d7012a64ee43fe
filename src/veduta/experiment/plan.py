"""The plan of a run: everything a user gave, checked, all faults found before anything starts."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veduta.augment.registry import (
    AUGMENTATIONS,
    MIXING_AUGMENTATIONS,
    select_image_augmentations,
    select_mixing_augmentations,
)
from veduta.config.parsing import Grid, parse_grid, parse_settings, unknown
from veduta.config.settings import Settings, as_text
from veduta.data.folder import Folder, read_folder
from veduta.errors import InputError
from veduta.experiment.recovery.previous_run import Earlier
from veduta.features.engines import choose_engine
from veduta.features.openvino_engine import INT8
from veduta.networks.catalogue.registry import find_model
from veduta.networks.freezing import freeze_faults
from veduta.networks.heads import ACTIVATIONS
from veduta.networks.presets import chosen, resolved
from veduta.networks.weights import check_weights
from veduta.optim.optimizers import OPTIMIZERS, find_optimizer_errors
from veduta.optim.schedules import SCHEDULES, find_schedule_errors
from veduta.runs.directory import Place, new_directory_faults
from veduta.tuning.trials.space import Trial, cells, trials, unused

REGISTRIES: dict[str, tuple[str, Mapping[str, object]]] = {
    "optimizer": ("optimiser", OPTIMIZERS),
    "activation": ("activation", ACTIVATIONS),
    "schedule": ("schedule", SCHEDULES),
}

PRESETS = frozenset({"model", "head"})
"""Settings that decide others where these are not given."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can start."""

    command: str
    folder: Folder
    settings: Settings
    grid: Grid
    trials: tuple[Trial, ...]
    cells: int
    idle: tuple[str, ...]  # settings that the user gave and no trial uses
    engine: str
    place: Place
    data: Path  # as it was given, absolute
    preset: frozenset[str] = frozenset()  # settings that presets decide cell by cell
    earlier: Earlier | None = None  # where a run goes on

    @property
    def refit(self) -> bool:
        """Whether the winner is trained again on all images: where folds chose it, always."""
        return self.settings.refit or self.settings.folds is not None


def make_plan(
    data: str | Path,
    values: Mapping[str, Any],
    *,
    grid: Mapping[str, Any],
    place: Place,
    command: str,
) -> Plan:
    """Check everything that can be known before the first image is decoded.

    Args:
        data: folder of images, or CSV file.
        values: settings as the user gave them, by name.
        grid: several values a setting, by name.
        place: where the run directory shall stand.
        command: what was called, for the record.

    Raises:
        InputError: with one line for each fault, of data, settings, grid and place together.
    """
    settings, faults = parse_settings(values)
    parsed, more = parse_grid(grid)
    faults += more
    if command == "search" and not grid:
        faults.append("a search needs a grid, such as --grid lr=3e-4,3e-3; got none")
    if command == "train" and settings.halving:
        faults.append(
            f"halving chooses among trials, and train has one; got halving={settings.halving}: "
            "leave it out, or call search"
        )
    faults += [
        f"{name} stands in the grid and outside it; give it once" for name in values if name in grid
    ]
    given = {*values, *parsed}
    candidates, more = _resolved(cells(settings, parsed), given)
    faults += more
    faults += dict.fromkeys(fault for cell in candidates for fault in _faults_of_cell(cell))
    faults += _idle_view_faults(candidates)
    faults += [] if place.resumed else new_directory_faults(place.path)
    faults += inside_faults(Path(data), place.path)
    engine, folder = "", None
    try:
        engine = choose_engine(settings.engine, settings.precision)
    except InputError as error:
        faults += error.faults
    try:
        folder = read_folder(data)
    except InputError as error:
        faults += error.faults
    if faults or folder is None:
        raise InputError(*faults)
    several = PRESETS & parsed.keys()
    return Plan(
        command=command,
        folder=folder,
        settings=settings if several else resolved(settings, given),
        grid=parsed,
        trials=tuple(trials(candidates)),
        cells=len(candidates),
        idle=_idle(settings, parsed, candidates, folder),
        engine=engine,
        place=place,
        data=Path(data).absolute(),
        preset=_decided(cells(settings, parsed)) - given if several else frozenset(),
    )


def _idle(
    settings: Settings, grid: Grid, candidates: Sequence[Settings], folder: Folder
) -> tuple[str, ...]:
    """Settings that were given and that no trial uses, sorted."""
    changed = {*grid, *settings.model_dump(exclude_defaults=True)} - {"head"}
    idle = changed.intersection(*(unused(cell) for cell in candidates))
    idle |= changed & {str(sample.split) for sample in folder.samples}  # shares of splits that came
    idle |= changed & {"validation"} if settings.folds else set()
    return tuple(sorted(idle))


def trials_of(settings: Settings, grid: Grid, given: Collection[str]) -> tuple[Trial, ...]:
    """The trials of a grid that was checked before, in canonical order.

    Args:
        settings: outside the grid.
        grid: several values a setting.
        given: names of what was given outside the grid; presets decide the rest.
    """
    return tuple(trials([resolved(cell, {*given, *grid}) for cell in cells(settings, grid)]))


def _resolved(
    found: Sequence[Settings], given: Collection[str]
) -> tuple[list[Settings], list[str]]:
    """Every cell as it is trained, or as it came where that cannot be, and the faults of these."""
    full, faults = list[Settings](), list[str]()
    for cell in found:
        try:
            full.append(resolved(cell, given))
        except InputError as error:
            full.append(cell)
            faults += error.faults
    return full, list(dict.fromkeys(faults))


def _decided(found: Sequence[Settings]) -> frozenset[str]:
    """The settings that presets decide in some cell."""
    return frozenset(name for cell in found for name in chosen(cell))


def _faults_of_cell(settings: Settings) -> list[str]:
    """Faults of one cell that need the registries."""
    faults = [
        unknown(kind, getattr(settings, name), known)
        for name, (kind, known) in REGISTRIES.items()
        if getattr(settings, name) not in known
    ]
    if settings.precision == INT8 and settings.freeze != "all":
        faults.append(
            "precision=int8 needs a backbone that does not learn, freeze=all; got "
            f"freeze={settings.freeze}: choose one of the two"
        )
    with suppress(InputError):  # an unknown model was reported when presets were applied
        model = find_model(settings.model)
        faults += check_weights(model, settings.weights) + freeze_faults(settings, model)
    return (
        faults
        + _view_faults(settings)
        + find_optimizer_errors(settings)
        + find_schedule_errors(settings)
    )


def _view_faults(settings: Settings) -> list[str]:
    """Faults of `views` and `augment`."""
    names = settings.augment
    known = {*AUGMENTATIONS, *MIXING_AUGMENTATIONS}
    faults = [unknown("augmentation", name, known) for name in names if name not in known]
    if faults:
        return faults
    if settings.freeze != "none" and settings.views and not select_image_augmentations(names):
        faults.append(
            f"views need an augmentation that makes them; got views={settings.views} with "
            f"augment={as_text(names)}: give names such as augment=crop+flip, or leave views out"
        )
    if (mixes := select_mixing_augmentations(names)) and settings.freeze == "all":
        faults.append(
            "two images are mixed before stages that train, and here the head trains alone; got "
            f"augment={as_text(names)} with freeze=all: give freeze=none or fewer stages, or "
            f"leave out {' and '.join(mixes)}"
        )
    elif (
        mixes
        and settings.freeze != "none"
        and not settings.views
        and (idle := select_image_augmentations(names))
    ):
        faults.append(
            "frozen stages see the plain image unless there are views of it; got "
            f"augment={as_text(names)} with freeze={settings.freeze}: give views, or leave out "
            f"{' and '.join(idle)}"
        )
    return faults


def _idle_view_faults(candidates: Sequence[Settings]) -> list[str]:
    """The fault of views that no trial comes to; a shorter trial takes the first of them."""
    views = max((s.views or 0) if s.freeze != "none" else 0 for s in candidates)
    epochs = max(settings.epochs for settings in candidates)
    if views <= epochs:
        return []
    rule = "an epoch trains on one view, so there are at most as many views as epochs"
    return [f"{rule}; got views={views} with epochs={epochs}: raise epochs, or lower views"]


def inside_faults(data: Path, out: Path) -> list[str]:
    """A run inside the data would be taken for images the next time."""
    if data.is_dir() and out.absolute().resolve().is_relative_to(data.resolve()):
        return [f"--out must not lie in the folder of images; {out} lies in {data}: choose another"]
    return []
