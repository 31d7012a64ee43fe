"""Inspect a folder of images before anything is trained on it: run the data checks alone."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, final

import pandas as pd

from veduta.data.checks.findings import Finding, Severity
from veduta.data.checks.inspection import Inspection, inspect_folder
from veduta.data.folder import read_folder
from veduta.data.sample import Folder
from veduta.errors import InputError
from veduta.experiment.plan import find_nested_output_errors
from veduta.reporting.pages.inspection_page import PAGE, write_inspection_page
from veduta.runs.directory import (
    RUNS_FOLDER,
    OutputPath,
    RunDirectory,
    choose_output_path,
    create_run_directory,
    read_and_check_output,
)
from veduta.runs.provenance import Record
from veduta.runs.summary import write_summary
from veduta.runs.tables import REJECTED, write_rows
from veduta.runtime.disk import explain_write_errors
from veduta.runtime.environment import count_cores, get_cache_folder
from veduta.tracking.console import Console
from veduta.tracking.text import build_html_facts, build_html_table

SUMMARY = "inspection.json"


class RecordedImage(Record):
    """An image of a finding."""

    path: str
    label: str | None
    split: str | None


class RecordedFinding(Record):
    """A finding of the data checks; `distance` is that of a pair of similar images, in bits."""

    problem: str
    detail: str
    action: str
    distance: int | None
    severity: Severity
    images: tuple[RecordedImage, ...]


class InspectionSummary(Record):
    """`inspection.json` of `veduta inspect`.

    Attributes:
        data: folder of the images, or the CSV file.
        layout: how splits and labels were found, in words.
        classes: names of the classes.
        files: number of files.
        decoded_files: number of files that can be decoded.
        rejected_files: number of files that cannot be decoded.
        ignored_files: number of files and folders that are no images.
        counts: number of decoded images by split ("all" without splits) and class.
        problems: number of findings of each kind, errors first.
        errors: number of findings of severity error.
        findings: all findings, errors first.
    """

    format: Literal[1] = 1
    command: Literal["inspect"] = "inspect"
    data: str
    layout: str
    classes: tuple[str, ...]
    files: int
    decoded_files: int
    rejected_files: int
    ignored_files: int
    counts: dict[str, dict[str, int]]
    problems: dict[str, int]
    errors: int
    findings: tuple[RecordedFinding, ...]


@final
@dataclass(frozen=True)
class InspectionResult:
    """An inspection, and where it was written.

    Attributes:
        inspection: the images of the folder and the findings.
        directory: holds `rejected.csv`, `inspection.json` and `inspection.html`.
    """

    inspection: Inspection
    directory: Path

    @cached_property
    def summary(self) -> InspectionSummary:
        """The content of inspection.json."""
        inspection = self.inspection
        return InspectionSummary(
            data=str(inspection.folder.root),
            layout=inspection.folder.layout,
            classes=inspection.folder.classes,
            files=len(inspection.folder.samples),
            decoded_files=len(inspection.images),
            rejected_files=len(inspection.rejected),
            ignored_files=inspection.folder.ignored,
            counts=inspection.counts,
            problems=inspection.problems,
            errors=len(inspection.errors),
            findings=tuple(map(_record_finding, inspection.findings)),
        )

    @cached_property
    def findings(self) -> pd.DataFrame:
        """One row per image of a finding, errors first; `finding` numbers the findings."""
        findings = enumerate(self.inspection.findings, start=1)
        rows = [row for number, finding in findings for row in _list_rows(number, finding)]
        columns = ["finding", "problem", "path", "label", "split"]
        columns += ["detail", "action", "distance", "severity"]
        return pd.DataFrame(rows, columns=columns).astype({"distance": "Int64"})

    @cached_property
    def problems(self) -> pd.DataFrame:
        """One row per problem: number of findings and of files, severity, actions taken."""
        rows = []
        for problem, count in self.inspection.problems.items():
            findings = [f for f in self.inspection.findings if f.problem == problem]
            files = {sample.name for finding in findings for sample in finding.samples}
            actions = sorted({finding.action for finding in findings if finding.samples})
            severity = findings[0].severity
            rows.append((problem, count, len(files), severity, ", ".join(actions)))
        return pd.DataFrame(rows, columns=["problem", "count", "files", "severity", "action"])

    @property
    def page(self) -> Path:
        """The path of the page."""
        return self.directory / PAGE

    def _repr_html_(self) -> str:
        """Return the inspection as a notebook shows it: counts, and a row per problem."""
        summary = self.summary
        facts = {
            "data": summary.data,
            "files": f"{summary.files:,}",
            "decoded files": f"{summary.decoded_files:,}",
            "page": str(self.page),
        }
        rows = self.problems.to_numpy().tolist()
        table = build_html_table(list(self.problems.columns), rows)
        return build_html_facts("Inspection", facts) + table

    def __repr__(self) -> str:
        findings, errors = len(self.inspection.findings), len(self.inspection.errors)
        return f"InspectionResult({findings} findings, {errors} errors, in {str(self.directory)!r})"


def run_inspection(
    data: str | Path, *, out: str | Path | None, console: Console
) -> InspectionResult:
    """Inspect a folder of images, and write the findings and their page to a new directory.

    Args:
        data: a folder of images, or a CSV file.
        out: the new directory; default `runs/inspect-N`.
        console: shows progress.

    Raises:
        InputError: the layout is not supported, or the directory cannot be made.
    """
    output = choose_output_path(out, RUNS_FOLDER, "inspect")
    folder = _read_folder(Path(data), output)
    with console.stage("inspecting", "files") as advance:
        inspection = inspect_folder(
            folder, cache=get_cache_folder(), progress=advance, threads=count_cores()
        )
    directory = create_run_directory(output)
    result = InspectionResult(inspection, directory.path)
    with explain_write_errors(directory.path):
        _write_findings(directory, result)
        write_inspection_page(directory, inspection, console)
    return result


def _read_folder(data: Path, output: OutputPath) -> Folder:
    """Return the folder to inspect, if the output directory can be made too.

    Raises:
        InputError: every error of both.
    """
    if errors := find_nested_output_errors(data, output.path):
        raise InputError(*errors)
    return read_and_check_output(output, lambda: read_folder(data))


def _write_findings(directory: RunDirectory, result: InspectionResult) -> None:
    """Write rejected.csv and inspection.json."""
    write_rows(directory.rejected, REJECTED, map(astuple, result.inspection.rejected))
    write_summary(directory.path / SUMMARY, result.summary)


def _record_finding(finding: Finding) -> RecordedFinding:
    """Return a finding as inspection.json holds it."""
    images = (
        RecordedImage(path=sample.name, label=sample.label, split=sample.split)
        for sample in finding.samples
    )
    return RecordedFinding(
        problem=finding.problem,
        detail=finding.detail,
        action=finding.action,
        distance=finding.distance,
        severity=finding.severity,
        images=tuple(images),
    )


def _list_rows(number: int, finding: Finding) -> Iterator[tuple[object, ...]]:
    """Yield one row per file of a finding; one row for a finding without files."""
    for sample in finding.samples or (None,):
        image = (sample.name, sample.label, sample.split) if sample else (None, None, None)
        details = (finding.detail, finding.action, finding.distance, finding.severity)
        yield number, finding.problem, *image, *details
