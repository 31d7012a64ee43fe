"""What the cache holds, in a table for people: it knows how earlier runs named what they kept."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from veduta.config.settings import as_text
from veduta.data.cache import listing


def held_in(cache: Path) -> pd.DataFrame:
    """One row for what was made in one way: kind, how, images, megabytes, when it was used last."""
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
