"""`veduta models`: what can be trained."""

from typing import TYPE_CHECKING

from veduta.cli.options import Json

if TYPE_CHECKING:
    import pandas as pd

OURS = {
    "model": "model",
    "parameters": "parameters",
    "megabytes": "MB",
    "image_size": "px",
    "features": "features",
    "stages": "stages",
    "top1_percent": "top-1",
    "top5_percent": "top-5",
    "licence": "licence",
}
REPORTS = {
    "model": "model",
    "report_megabytes": "MB",
    "report_parameters": "parameters",
    "parameters": "ours",
    "report_depth": "depth",
    "report_top1_percent": "top-1",
    "report_top5_percent": "top-5",
}


def models(*, as_json: Json = False) -> None:
    """The models that can be trained: parameters, size, accuracy, what the report says of them."""
    from veduta import api
    from veduta.cli.printing import print_json
    from veduta.tracking.console import Console

    table = api.models()
    if as_json:
        known = table.astype(object).where(table.notna(), None)
        print_json({"models": known.to_dict("records")})
        return
    console = Console()
    console.table(_shown(table[table["parameters"].notna()], OURS), "")
    console.table(_shown(table[table["report_name"].notna()], REPORTS), "the report's table")
    console.say("the report's parameters are those of Keras; against ours they count")
    for reason, rows in table[table["parameters"].notna()].groupby("report_counts", sort=False):
        console.say(f"  {reason}: {', '.join(rows['model'])}")
    for _, row in table[table["note"].notna()].iterrows():
        console.say(f"{row['model']}: {row['note']}")
    console.say("any other network of timm: --model timm:NAME")


def _shown(table: "pd.DataFrame", names: dict[str, str]) -> "pd.DataFrame":
    """Some columns under other names, numbers of parameters with a comma at every thousand."""
    shown = table[list(names)].copy()
    for name in {"parameters", "report_parameters"} & names.keys():
        shown[name] = shown[name].map("{:,}".format, na_action="ignore")
    return shown.rename(columns=names)
