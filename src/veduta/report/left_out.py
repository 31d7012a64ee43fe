"""What the gate left out, as a page shows it."""

from typing import Any

from veduta.report.facts import read_table, records
from veduta.runs.directory import RunDirectory

MOST = 50


def rejected_of(directory: RunDirectory) -> dict[str, Any]:
    """The first files that were left out, each with the reason, and how many there are."""
    table = read_table(directory.rejected).fillna("")
    return {"rejected": records(table.head(MOST)), "all_rejected": len(table)}
