"""What there is, as tables for people: models that can be trained, and what the cache holds."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from veduta.config.fields import as_text
from veduta.data.upkeep import listing
from veduta.models.registry import MODELS


def registered() -> pd.DataFrame:
    """A row a model: parameters, size, licence, where its weights come from."""
    return pd.DataFrame(
        {
            "model": model.name,
            "parameters": model.parameters,
            "megabytes": round(model.parameters * 4 / 2**20),
            "features": model.features,
            "stages": len(model.stages),
            "image_size": model.image_size,
            "top1_percent": model.top1,
            "licence": model.licence,
            "weights": model.source,
        }
        for model in MODELS.values()
    )


def holdings(cache: Path) -> pd.DataFrame:
    """A row an entry: kind, what it was made with, images, megabytes, when it was last used."""
    held = listing(cache)
    return pd.DataFrame(
        {
            "kind": [entry.kind for entry in held],
            "what": [_told(entry.spec) for entry in held],
            "images": [entry.rows for entry in held],
            "megabytes": [round(entry.size / 1e6, 1) for entry in held],
            "last used": [time.strftime("%Y-%m-%d %H:%M", time.localtime(e.used)) for e in held],
        }
    )


def _told(spec: Mapping[str, Any]) -> str:
    inner = spec.get("spec", {})
    names = ("model", "size", "fit", "engine", "precision")
    told = [str(inner[name]) for name in names if name in inner]
    view = inner.get("view", "plain")
    if isinstance(view, dict):
        view = f"view {view['number']} by {as_text(view['augment'])}"
    return ", ".join(told if view == "plain" else [*told, view])
