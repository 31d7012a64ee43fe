"""The parts of a page that are about judged images: what is confused, calibration, mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from veduta.evaluation.mistakes import describe_confused_pairs, find_confused_pairs, group_by_cell
from veduta.experiment.shown import A_CELL
from veduta.report.facts import Facts, records
from veduta.report.plots import render_svg
from veduta.report.run_plots import reliability_diagram, risk_curve

WIDEST = 40  # classes whose matrix a page can show
MOST_PAIRS = 12


def judged_sections(facts: Facts) -> dict[str, Any]:
    """What the template needs of them."""
    rows = {row["path"]: row for row in records(facts.images)}
    return {
        "judged_on": facts.judged_on,
        "confused": _confused(facts),
        "matrix": _matrix(facts) if len(facts.classes) <= WIDEST else None,
        "cells": _cells(facts),
        "per_class": [_class_row(row) for row in records(facts.per_class)],
        "calibration": _calibration(facts),
        "gallery": _gallery(facts, rows),
        "looked_at": facts.pictures.looked_at,
    }


def _confused(facts: Facts) -> dict[str, Any]:
    pairs = find_confused_pairs(facts.confusion)
    told, ending = describe_confused_pairs(pairs)
    number = {name: place for place, name in enumerate(facts.classes)}
    table = [
        {**row, "cells": (number[row["first"]], number[row["second"]])}
        for row in records(pairs.head(MOST_PAIRS))
    ]
    return {"pairs": told, "ending": ending, "table": table, "more": len(pairs) - len(table)}


def _matrix(facts: Facts) -> list[dict[str, Any]]:
    """A row a true class; a cell has its count, and its share of the row."""
    counts = facts.confusion.to_numpy()
    return [
        {
            "name": name,
            "images": int(row.sum()),
            "cells": [
                {"count": int(count), "share": float(count / max(1, row.sum()))} for count in row
            ],
        }
        for name, row in zip(facts.classes, counts, strict=True)
    ]


def _cells(facts: Facts) -> list[dict[str, Any]]:
    """The cells that have images, in the order of the matrix, with those that can be shown."""
    number = {name: place for place, name in enumerate(facts.classes)}
    found, counts = [], facts.confusion.to_numpy()
    for (truth, label), table in group_by_cell(facts.images, limit=A_CELL).items():
        place = number[truth], number[label]
        pictures = [
            {**row, "address": address}
            for row in records(table)
            if (address := facts.pictures.thumbnail(row["path"]))
        ]
        found.append(
            {
                "place": place,
                "truth": truth,
                "label": label,
                "count": int(counts[place]),
                "pictures": pictures,
            }
        )
    return sorted(found, key=lambda cell: cell["place"])


def _class_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A class with its figures as text; what was not measured stays empty."""
    told: dict[str, Any] = {
        "name": row["class"],
        "images": int(row["images"]),
        "predicted": int(row["predicted"]),
    }
    for name in ("recall", "precision", "f1"):
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        told[name] = None if pd.isna(value) else (f"{value:.1%}", f"{low:.1%} to {high:.1%}", value)
    return told


def _calibration(facts: Facts) -> dict[str, Any]:
    found, drawn = facts.calibration, []
    for which, bins in facts.reliability.items():
        error = found[which]["calibration_error"] if found[which] else None
        at = 1.0 if which == "before" else found["temperature"]
        missed = f": off by {100 * error['value']:.1f} points" if error else ""
        title = f"temperature {at:.3g}{missed}"
        told = f"Reliability diagram at {title}; accuracy of each bin of confidence, with intervals"
        figure = reliability_diagram(bins, title)
        drawn.append(render_svg(figure, name=f"reliability-{which}", title=told))
    told = "The error left among the images accepted, by the share of images accepted"
    drawn.append(
        render_svg(risk_curve(facts.risk_coverage, facts.abstain), name="risk-coverage", title=told)
    )
    return {"figures": drawn, "told": found, "abstain": facts.abstain}


def _gallery(facts: Facts, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Wrong ones and right ones, with the pictures that were made of them."""
    found: dict[str, list[Any]] = {"errors": [], "hits": []}
    for entry in facts.pictures.gallery:
        row = rows.get(entry["path"])
        if row is None:
            continue
        right = row["truth"] == row["label"]
        found["hits" if right else "errors"].append({**row, **_pictures_of(facts, entry)})
    return found


def _pictures_of(facts: Facts, entry: Mapping[str, Any]) -> dict[str, Any]:
    pictures, heat = facts.pictures, entry["heat"]
    nearest: Sequence[Any] = [
        {"path": path, "label": label, "cosine": cosine, "address": pictures.thumbnail(path)}
        for path, label, cosine in entry["nearest"]
    ]
    return {
        "address": pictures.address(entry["picture"]),
        "overlay": pictures.overlay(entry["picture"], heat) if heat else None,
        "nearest": nearest,
    }
