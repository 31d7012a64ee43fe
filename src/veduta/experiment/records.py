"""What a run writes when it starts: what it stands on, configuration, splits."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import yaml

from veduta.config.fields import as_plain, plain
from veduta.config.parsing import PROVENANCE
from veduta.data.inspect.findings import CONFLICT, LEAK, counted
from veduta.data.pixels import Rejection
from veduta.experiment.folding import write_splits
from veduta.experiment.parts import Gate
from veduta.experiment.plan import Plan
from veduta.experiment.sealed import fingerprint
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_atomically
from veduta.runs.journal import Journal
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


def start_of(plan: Plan, gate: Gate) -> dict[str, Any]:
    """What a run stands on, settings and grid apart."""
    found = counted(gate.findings)
    return {
        "command": plan.command,
        "data": str(plan.folder.root),
        "layout": plan.folder.layout,
        "classes": list(plan.folder.classes),
        "images": {name: len(part) for name, part in gate.parts.items()},
        "rejected": len(gate.unreadable),
        "dropped": len(gate.dropped),
        "in_two_splits": found.get(LEAK, 0),
        "in_two_classes": found.get(CONFLICT, 0),
        "findings": found,
        "weigh": sum(finding.weighs for finding in gate.findings),
        "data_fingerprint": fingerprint(gate.images),
        "engine": plan.engine,
        "precision": plan.settings.precision,
        "versions": versions(),
    }


def begin(journal: Journal, plan: Plan, start: Mapping[str, Any]) -> dict[str, Any]:
    """Journal that a run starts, or goes on; what it stood on when it started."""
    now = {"pid": os.getpid(), "settings": settings_of(plan)}
    if plan.earlier is None:
        journal.append("start", **start, given=str(plan.data), **now)
        return dict(start)
    if now["settings"] == plan.earlier.settings[-1]:
        del now["settings"]
    now["backbones"] = start["backbones"]
    journal.append("resumed", versions=start["versions"], **now)
    apart = ("event", "given", "pid", "settings")
    return {name: value for name, value in journal.events[0].items() if name not in apart}


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
    directory: RunDirectory, plan: Plan, gate: Gate, *, start: Mapping[str, Any]
) -> None:
    """config.yaml, splits.csv and rejected.csv."""
    content = {**settings_of(plan), PROVENANCE: dict(start)}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(directory.config, text)
    write_splits(directory, gate.images, gate.parts, settings=plan.settings)
    write_rejected(directory, [*gate.unreadable, *gate.dropped])


def write_rejected(directory: RunDirectory, rejected: Sequence[Rejection]) -> None:
    """rejected.csv: the files left out, each once, with the reason."""
    rows = [(r.name, r.problem, r.detail, r.action) for r in rejected]
    rows_to_csv(directory.rejected, ("path", "problem", "detail", "action"), rows)
