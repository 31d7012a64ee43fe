"""`veduta models`: list the models that can be trained."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

MODEL_COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "megabytes": "MB",
    "image_size": "px",
    "features": "features",
    "stages": "stages",
    "top1_percent": "top-1",
    "top5_percent": "top-5",
    "license": "license",
}
REPORT_COLUMNS = {
    "model": "model",
    "report_megabytes": "MB",
    "report_parameters": "parameters",
    "parameters": "parameters in Veduta",
    "report_depth": "depth",
    "report_top1_percent": "top-1",
    "report_top5_percent": "top-5",
}


def models(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print only JSON on standard output.")
    ] = False,
) -> None:
    """List the models: parameters, size, accuracy, and the values printed in the report."""
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    table = api.models()
    if as_json:
        rows = table.astype(object).where(table.notna(), None)
        print_json({"models": rows.to_dict("records")})
        return
    console = Console()
    console.table(_select_columns(table[table["parameters"].notna()], MODEL_COLUMNS), "")
    in_report = table[table["report_name"].notna()]
    console.table(_select_columns(in_report, REPORT_COLUMNS), "models in the report")
    console.say(
        "parameter counts in the report are those of Keras; difference from the counts in Veduta:"
    )
    for reason, rows in table[table["parameters"].notna()].groupby("report_counts", sort=False):
        console.say(f"  {reason}: {', '.join(rows['model'])}")
    for _, row in table[table["note"].notna()].iterrows():
        console.say(f"{row['model']}: {row['note']}")
    console.say("any other model of timm: --model timm:NAME")


def _select_columns(table: "pd.DataFrame", names: dict[str, str]) -> "pd.DataFrame":
    """Return the columns in `names` under their new names, with commas in parameter counts."""
    selected = table[list(names)].copy()
    for name in {"parameters", "report_parameters"} & names.keys():
        selected[name] = selected[name].map("{:,}".format, na_action="ignore")
    return selected.rename(columns=names)
