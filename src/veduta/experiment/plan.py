"""The plan of a run: everything a user gave, checked, all faults found before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veduta.augment.registry import AUGMENTATIONS, MIXES, image_names, mix_names
from veduta.config.fields import as_text
from veduta.config.parsing import Grid, parse_grid, parse_settings, unknown
from veduta.config.settings import Settings
from veduta.data.folder import Folder, read_folder
from veduta.errors import InputError
from veduta.experiment.earlier import Earlier
from veduta.features.engines import choose_engine
from veduta.features.openvino_engine import INT8
from veduta.models.backbones import preprocessing_of
from veduta.models.freezing import freeze_faults
from veduta.models.heads import ACTIVATIONS
from veduta.models.registry import MODELS
from veduta.models.weights import check_weights
from veduta.optim.optimizers import OPTIMIZERS, faults_of
from veduta.optim.schedules import SCHEDULES, schedule_faults
from veduta.runs.directory import Place, new_directory_faults
from veduta.search.space import Trial, cells, trials, unused

REGISTRIES: dict[str, tuple[str, Mapping[str, object]]] = {
    "model": ("model", MODELS),
    "optimizer": ("optimiser", OPTIMIZERS),
    "activation": ("activation", ACTIVATIONS),
    "schedule": ("schedule", SCHEDULES),
}


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
    faults += [
        f"{name} stands in the grid and outside it; give it once" for name in values if name in grid
    ]
    candidates = cells(settings, parsed)
    faults += dict.fromkeys(fault for cell in candidates for fault in _faults_of_cell(cell))
    faults += _idle_view_faults(candidates)
    faults += [] if place.resumed else new_directory_faults(place.path)
    faults += _inside_faults(Path(data), place.path)
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
    full = [_with_size(cell) for cell in candidates]
    given = {*parsed, *settings.model_dump(exclude_defaults=True)}
    idle = given.intersection(*(unused(cell) for cell in full))
    idle |= given & {str(sample.split) for sample in folder.samples}  # shares of splits that came
    idle |= given & {"validation"} if settings.folds else set()
    return Plan(
        command=command,
        folder=folder,
        settings=settings if "model" in parsed else _with_size(settings),
        grid=parsed,
        trials=tuple(trials(full)),
        cells=len(full),
        idle=tuple(sorted(idle)),
        engine=engine,
        place=place,
        data=Path(data).absolute(),
    )


def trials_of(settings: Settings, grid: Grid) -> tuple[Trial, ...]:
    """The trials of a grid that was checked before, in canonical order."""
    return tuple(trials([_with_size(cell) for cell in cells(settings, grid)]))


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
    if settings.model in MODELS:
        faults += check_weights(MODELS[settings.model], settings.weights)
        try:
            preprocessing_of(MODELS[settings.model], settings.image_size)
        except InputError as error:
            faults += error.faults
    faults += _view_faults(settings) + freeze_faults(settings)
    return faults + faults_of(settings) + schedule_faults(settings)


def _view_faults(settings: Settings) -> list[str]:
    """Faults of `views` and `augment`."""
    names = settings.augment
    known = {*AUGMENTATIONS, *MIXES}
    faults = [unknown("augmentation", name, known) for name in names if name not in known]
    if settings.freeze != "none" and settings.views and not (image_names(names) or faults):
        faults.append(
            f"views need an augmentation that makes them; got views={settings.views} with "
            f"augment={as_text(names)}: give names such as augment=crop+flip, or leave views out"
        )
    if (mixes := mix_names(names)) and settings.freeze != "none":
        faults.append(
            "two images are mixed before the network sees them, so nothing of it may be frozen; "
            f"got augment={as_text(names)} with freeze={settings.freeze}: give freeze=none, or "
            f"leave out {' and '.join(mixes)}"
        )
    return faults


def _idle_view_faults(candidates: Sequence[Settings]) -> list[str]:
    """The fault of views that no trial comes to; a shorter trial takes the first of them."""
    views = max(settings.views or 0 for settings in candidates)
    epochs = max(settings.epochs for settings in candidates)
    if views <= epochs:
        return []
    rule = "an epoch trains on one view, so there are at most as many views as epochs"
    return [f"{rule}; got views={views} with epochs={epochs}: raise epochs, or lower views"]


def _inside_faults(data: Path, out: Path) -> list[str]:
    """A run inside the data would be taken for images the next time."""
    if data.is_dir() and out.absolute().resolve().is_relative_to(data.resolve()):
        return [f"--out must not lie in the folder of images; {out} lies in {data}: choose another"]
    return []


def _with_size(settings: Settings) -> Settings:
    """Settings whose image size is a number: where none was given, the model's own."""
    size = preprocessing_of(MODELS[settings.model], settings.image_size).image_size
    return settings.model_copy(update={"image_size": size})
