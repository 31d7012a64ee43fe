"""Sections of a page: the selection of the winner, and the evaluation of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from veduta.evaluation.mistakes import describe_confused_pairs, find_confused_pairs, group_by_cell
from veduta.reporting.figures.plots import render_svg
from veduta.reporting.figures.run_plots import (
    curves,
    main_effects,
    parallel_coordinates,
    reliability_diagram,
    risk_curve,
)
from veduta.reporting.pages.facts import Facts, reading, records
from veduta.reporting.pictures.media import A_CELL
from veduta.results.run import Run

BOARD = 12  # trials on the leaderboard
OTHERS = 40  # trials whose curves stand behind the winner's


def chosen_sections(run: Run) -> dict[str, Any]:
    """What the template needs of them."""
    board = run.leaderboard(OTHERS)
    return {
        "board": _board(run) if len(board) > 1 else None,
        "curves": _curves(run, list(board["trial"])),
        "grid": _grid(run),
    }


def _board(run: Run) -> dict[str, Any]:
    table = run.leaderboard(BOARD)
    winner = run.summary["winner"]["trial"]
    names = [name for name in table.columns if name not in {"trial", "tied"}]
    rows = [
        {
            "trial": row["trial"],
            "winner": row["trial"] == winner,
            "tied": row["tied"] == "yes",
            "cells": [row[name] for name in names],
        }
        for row in records(table)
    ]
    told = {"95 % interval": "95% interval"}
    columns = [told.get(name, name.replace("_", " ")) for name in names]
    return {"columns": columns, "rows": rows, "more": len(run.trials) - len(rows)}


def _curves(run: Run, others: list[str]) -> dict[str, Any]:
    winner, best = run.summary["winner"]["trial"], run.summary["winner"]["best_epoch"]
    own = run.epochs[run.epochs["trial"] == winner]
    figures = curves(run.epochs, winner, best, others)
    titles = (
        f"Loss by epoch, training and validation; a dashed line marks epoch {best}",
        f"Accuracy by epoch, training and validation; a dashed line marks epoch {best}",
    )
    drawn = [
        render_svg(figure, name=f"curves-{place}", title=title)
        for place, (figure, title) in enumerate(zip(figures, titles, strict=True))
    ]
    planned = run.summary["winner"]["hyper_parameters"]["epochs"]
    return {
        "figures": drawn,
        "reading": reading(own, best),
        "best": best,
        "stopped": len(own) if len(own) < planned else None,
        "planned": planned,
        "others": len(set(others) - {winner}),
    }


def _grid(run: Run) -> dict[str, Any] | None:
    """Figures of what varied; None where nothing did."""
    ended = run.trials[run.trials["val_accuracy"].notna()]
    varied = list(run.summary["winner"]["varied"])
    if len(ended) < 2 or not varied:
        return None
    lines = None
    if len(varied) > 1:  # of one setting its effect says it all
        figure = parallel_coordinates(ended, varied, run.summary["winner"]["trial"])
        told = f"Each of {len(ended)} trials as a line through {', '.join(varied)} to its accuracy"
        lines = render_svg(figure, name="parallel", title=told)
    effects = [
        render_svg(figure, name=f"effect-{place}", title=title)
        for place, (title, figure) in enumerate(main_effects(ended, varied).items())
    ]
    return {"lines": lines, "effects": effects}


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
