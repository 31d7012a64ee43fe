"""The table of models: what can be trained, and beside it what the report says of it."""

from typing import Any

from veduta.models.model import Model
from veduta.models.registry import MODELS
from veduta.models.reported import NOT_HERE, REPORTED, Reported


def listed() -> list[dict[str, Any]]:
    """One row a model; those of the report's table that cannot be built come last."""
    rows = [_row(model) for model in MODELS.values()]
    return rows + [
        {"model": name, **_beside(REPORTED[name]), "note": why} for name, why in NOT_HERE.items()
    ]


def _row(model: Model) -> dict[str, Any]:
    row = {
        "model": model.name,
        "parameters": model.parameters,
        "megabytes": round(model.parameters * 4 / 2**20),
        "features": model.features,
        "stages": len(model.stages),
        "image_size": model.image_size,
        "top1_percent": model.top1,
        "top5_percent": model.top5,
        "licence": model.licence,
        "weights": model.source,
    }
    return row | _beside(REPORTED[model.name]) if model.name in REPORTED else row


def _beside(row: Reported) -> dict[str, Any]:
    """What the report's table says."""
    return {
        "report_name": row.title,
        "report_megabytes": row.megabytes,
        "report_parameters": row.parameters,
        "report_counts": row.beside,
        "report_depth": row.depth,
        "report_top1_percent": row.top1,
        "report_top5_percent": row.top5,
    }
