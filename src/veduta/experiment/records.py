"""What a run writes when it starts: what it stands on, configuration, splits."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from veduta.config.fields import as_plain, plain
from veduta.data.pixels import Pixels, Rejection
from veduta.data.splits import shared
from veduta.experiment.derived import LISTS, config_text, lists_of, stood_on
from veduta.experiment.folding import write_splits
from veduta.experiment.parts import Parts
from veduta.experiment.plan import Plan
from veduta.experiment.sealed import fingerprint
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_atomically
from veduta.runs.journal import Journal
from veduta.runs.lines import FORMAT
from veduta.tracking.tables import rows_to_csv

LIBRARIES = (
    "veduta",
    "nncf",
    "numpy",
    "openvino",
    "pandas",
    "pillow",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)


def versions() -> dict[str, str]:
    """What the numbers may depend on: Veduta, Python, the machine type, the libraries."""
    found = {"machine": f"{platform.system()} {platform.machine()}"}
    found["python"] = platform.python_version()
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except ModuleNotFoundError:
            found[library] = "not installed"
    return found


def start_of(plan: Plan, gate: Pixels, parts: Parts) -> dict[str, Any]:
    """What a run stands on, settings and grid apart."""
    images = [image for part in parts.values() for image in part]
    copies = shared(images, [name for name, part in parts.items() for _ in part])
    return {
        "command": plan.command,
        "data": str(plan.folder.root),
        "layout": plan.folder.layout,
        "classes": list(plan.folder.classes),
        "images": {name: len(part) for name, part in parts.items()},
        "rejected": len(gate.rejected),
        "in_two_splits": sum(group.leak for group in copies),
        "in_two_classes": sum(group.conflict for group in copies),
        "data_fingerprint": fingerprint(gate.images),
        "engine": plan.engine,
        "precision": plan.settings.precision,
        "versions": versions(),
    }


def begin(journal: Journal, plan: Plan, start: Mapping[str, Any]) -> dict[str, Any]:
    """Journal that a run starts, or goes on; what it stood on when it started."""
    now = {"pid": os.getpid(), "settings": settings_of(plan)}
    if plan.earlier is None:
        journal.append("start", format=FORMAT, **start, given=str(plan.data), **now)
        return dict(start)
    if now["settings"] == plan.earlier.settings[-1]:
        del now["settings"]
    now["backbones"] = start["backbones"]
    journal.append("resumed", format=FORMAT, versions=start["versions"], **now)
    return stood_on(journal.events[0])


def settings_of(plan: Plan) -> dict[str, Any]:
    """The resolved settings, and the grid: what `--config` takes to run this again.

    Where models or heads stand in the grid, what they decide cell by cell is not in it: presets
    decide it again.
    """
    apart = {*plan.grid, *plan.preset}
    common = {k: v for k, v in plan.settings.model_dump().items() if k not in apart}
    grid = {name: [as_plain(value) for value in values] for name, values in plan.grid.items()}
    return {**plain(common), **({"grid": grid} if grid else {})}


def write_start(
    directory: RunDirectory, plan: Plan, gate: Pixels, *, start: Mapping[str, Any], parts: Parts
) -> None:
    """config.yaml, splits.csv and rejected.csv."""
    write_atomically(directory.config, config_text(settings_of(plan), start))
    write_splits(directory, gate.images, parts, settings=plan.settings)
    write_rejected(directory, gate.rejected)


def keep_lists(directory: RunDirectory, journal: Journal) -> None:
    """Journal the lists of images as they were written, so that they are there without the images.

    Those of an earlier attempt that are the same are not told again.
    """
    found = {
        name: (directory.path / name).read_bytes().decode("utf-8", "surrogateescape")
        for name in LISTS
    }
    if found != lists_of(journal.events):
        journal.append("lists", files=found)


def write_rejected(directory: RunDirectory, rejected: Sequence[Rejection]) -> None:
    """rejected.csv: the files left out, each once, with the reason."""
    rows = [(r.name, r.problem, r.detail, r.action) for r in rejected]
    rows_to_csv(directory.rejected, ("path", "problem", "detail", "action"), rows)
