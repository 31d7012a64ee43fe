"""The gate on its own: a folder of images looked at before anything is trained on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import pandas as pd

from veduta.data.checks.findings import Finding
from veduta.data.checks.inspection import Inspection, inspect_folder
from veduta.data.folder import read_folder
from veduta.data.sample import Folder, Sample
from veduta.errors import InputError
from veduta.experiment.plan import inside_faults
from veduta.experiment.record import write_rejected
from veduta.runs.directory import Place, RunDirectory, checked
from veduta.runs.files import write_json
from veduta.runtime.environment import processors
from veduta.tracking.console import Console
from veduta.tracking.html import facts, table

FINDINGS, PAGE = "inspection.json", "inspection.html"
COLUMNS = ("finding", "problem", "path", "label", "split", "detail", "action", "distance", "weighs")


@final
@dataclass(frozen=True)
class Inspected:
    """What there is in a folder of images, and where it was written down.

    Attributes:
        inspection: all of it.
        directory: where the files are.
    """

    inspection: Inspection
    directory: Path

    @property
    def summary(self) -> dict[str, Any]:
        """What inspection.json holds."""
        return {"command": "inspect", **self.inspection.as_dict()}

    @cached_property
    def findings(self) -> pd.DataFrame:
        """A row an image of a finding, the findings that weigh first; `finding` numbers them."""
        found = enumerate(self.inspection.findings, 1)
        rows = [row for number, finding in found for row in _rows(number, finding)]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"distance": "Int64"})

    @cached_property
    def problems(self) -> pd.DataFrame:
        """A row a problem: how many images, groups of them or classes have it; what is done."""
        rows = []
        for problem, count in self.inspection.problems.items():
            found = [one for one in self.inspection.findings if one.problem == problem]
            files = {sample.name for one in found for sample in one.samples}
            actions = ", ".join(sorted({one.action for one in found if one.samples}))
            rows.append((problem, count, len(files), found[0].weighs, actions))
        columns = ["problem", "count", "files", "weighs", "action"]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        """The inspection as a notebook shows it: what there is, and a row a problem."""
        told = {
            "data": str(self.inspection.folder.root),
            "files": f"{len(self.inspection.folder.samples):,}",
            "can be read": f"{len(self.inspection.images):,}",
            "page": str(self.directory / PAGE),
        }
        rows = self.problems.to_numpy().tolist()
        return facts("Inspection", told) + table(list(self.problems.columns), rows)

    def __repr__(self) -> str:
        weigh, found = len(self.inspection.weighty), len(self.inspection.findings)
        return f"Inspected({found} findings, {weigh} of them weigh, in {str(self.directory)!r})"


def read_data(data: Path, place: Place) -> Folder:
    """The folder to inspect, where the directory can be made too.

    Raises:
        InputError: every fault of both.
    """
    if faults := inside_faults(data, place.path):
        raise InputError(*faults)
    return checked(place, lambda: read_folder(data))


def inspect(folder: Folder, *, cache: Path, console: Console) -> Inspection:
    """Look at every file of a folder."""
    with console.stage("inspecting", "files") as advance:
        return inspect_folder(folder, cache=cache, progress=advance, threads=processors())


def write_inspection(directory: RunDirectory, inspection: Inspection) -> Inspected:
    """rejected.csv and inspection.json in a new directory."""
    found = Inspected(inspection, directory.path)
    write_rejected(directory, inspection.rejected)
    write_json(directory.path / FINDINGS, found.summary)
    return found


def _rows(number: int, finding: Finding) -> Iterator[tuple[Any, ...]]:
    """One a file that a finding is about; one where it is about none."""
    samples: tuple[Sample | None, ...] = finding.samples or (None,)
    for one in samples:
        where = (one.name, one.label, one.split) if one else (None, None, None)
        told = (finding.detail, finding.action, finding.distance, finding.weighs)
        yield number, finding.problem, *where, *told
