"""Tables of what is available: the models that can be trained, and the contents of the cache."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from veduta.config.parsing import format_value
from veduta.data.cache import list_entries, remove_entries
from veduta.networks.catalogue.registry import list_models

SPEC_KEYS = ("model", "size", "fit", "engine", "precision")  # keys of a spec that a table names


def tabulate_models() -> pd.DataFrame:
    """Return one row per model that can be trained; values that are not known are missing."""
    return pd.DataFrame(list_models()).convert_dtypes()  # keeps whole numbers beside missing ones


def tabulate_cache(cache: Path) -> pd.DataFrame:
    """Return one row per spec in a cache: kind, what, images, megabytes and last used."""
    entries = list_entries(cache)
    times = [time.localtime(entry.used) for entry in entries]
    return pd.DataFrame(
        {
            "kind": [entry.kind for entry in entries],
            "what": [_describe(entry.spec) for entry in entries],
            "images": [entry.rows for entry in entries],
            "megabytes": [round(entry.size / 1e6, 1) for entry in entries],
            "last used": [time.strftime("%Y-%m-%d %H:%M", used) for used in times],
        }
    )


def empty_cache(cache: Path) -> pd.DataFrame:
    """Remove the contents of a cache; return the table of what it held.

    Entries that a run is writing are not removed.
    """
    table = tabulate_cache(cache)
    remove_entries(cache)
    return table


def _describe(spec: Mapping[str, Any]) -> str:
    """Return a spec in words: model, image size, engine, precision and view."""
    inner = spec.get("spec", {})
    words = [str(inner[key]) for key in SPEC_KEYS if key in inner]
    view = inner.get("view", "plain")
    if isinstance(view, dict):
        view = f"view {view['number']} by {format_value(view['augment'])}"
    return ", ".join(words if view == "plain" else [*words, view])
