"""`veduta inspect`: check a folder of images before training."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veduta.cli.options import DATA_HELP, Out

if TYPE_CHECKING:
    from veduta.data.checks.findings import Finding
    from veduta.diagnostics.inspection import InspectionResult

MAX_FINDINGS = 3  # printed per problem
MAX_FILES = 3  # named per finding


def inspect(
    data: Annotated[Path, typer.Argument(metavar="DATA", help=f"{DATA_HELP}.")],
    *,
    strict: Annotated[
        bool,
        typer.Option("--strict", metavar="", help="Exit with code 3 if there is an error."),
    ] = False,
    out: Out = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", metavar="", help="Print only inspection.json on standard output."),
    ] = False,
) -> None:
    """Check the data for unreadable files, duplicates, leaks, label conflicts and unusual images.

    No file is changed. Example: veduta inspect photos --strict
    """
    from veduta import api
    from veduta.cli.printing import PARTLY_DONE, print_json, warn_of_data_errors
    from veduta.tracking.console import Console

    console = Console(stderr=as_json)
    result = api.inspect(data, out=out, console=console)
    summary = result.summary
    if len(result.problems):
        console.table(result.problems, "problems, errors first")
    for line in list_findings(result):
        console.say(line)
    console.say(
        f"images      {summary.decoded_files:,} of {summary.files:,} files can be decoded, in "
        f"{len(summary.classes):,} classes"
    )
    warnings = len(summary.findings) - summary.errors
    console.say(f"findings    {summary.errors:,} errors, {warnings:,} warnings")
    console.say(f"inspection  {result.directory}\npage        {result.page}")
    if as_json:
        print_json(summary)
    if not summary.decoded_files:
        raise typer.Exit(1)
    if strict and summary.errors:
        warn_of_data_errors(summary.errors, console)
        raise typer.Exit(PARTLY_DONE)


def list_findings(result: "InspectionResult") -> Iterator[str]:
    """Yield lines with the count and the first findings of each problem."""
    for problem, count in result.inspection.problems.items():
        findings = [f for f in result.inspection.findings if f.problem == problem]
        yield f"{problem}: {count:,}"
        for finding in findings[:MAX_FINDINGS]:
            yield f"  {_describe_finding(finding)}"
        if len(findings) > MAX_FINDINGS:
            yield f"  and {len(findings) - MAX_FINDINGS:,} more, in inspection.json"


def _describe_finding(finding: "Finding") -> str:
    """Format a finding as one line: the names of its first files, and its detail."""
    names = ", ".join(sample.name for sample in finding.samples[:MAX_FILES])
    rest = len(finding.samples) - MAX_FILES
    more = f" and {rest:,} more" if rest > 0 else ""
    return f"{names}{more}: {finding.detail}" if names else finding.detail
