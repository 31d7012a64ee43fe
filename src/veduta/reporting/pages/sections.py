"""Sections of a report: selection of the winner, and evaluation of its predictions."""

from collections.abc import Mapping

import pandas as pd

from veduta.evaluation.mistakes import describe_confused_pairs, find_confused_pairs, group_by_cell
from veduta.reporting.figures.plots import render_svg
from veduta.reporting.figures.run_plots import (
    draw_learning_curves,
    draw_main_effects,
    draw_parallel_coordinates,
    draw_reliability_diagram,
    draw_risk_coverage_curve,
)
from veduta.reporting.pages.facts import (
    EvaluationFacts,
    TableRow,
    describe_learning_curves,
    list_rows,
)
from veduta.reporting.pictures.media import MAX_CELL_IMAGES, GalleryEntry
from veduta.runs.directory import RunDirectory
from veduta.runs.summary import Summary
from veduta.runs.tables import read_table
from veduta.tracking.tables import build_leaderboard

Content = dict[str, object]
"""Variables of a template."""

MAX_TRIALS = 12  # on the leaderboard
MAX_CURVES = 40  # trials whose learning curves are drawn behind those of the winner


def build_selection_sections(directory: RunDirectory, summary: Summary) -> Content:
    """Return the content of the sections on trials: leaderboard, learning curves, settings."""
    trials, epochs = read_table(directory.trials), read_table(directory.epochs)
    best_trials = list(build_leaderboard(trials, summary.winner, rows=MAX_CURVES)["trial"])
    return {
        "leaderboard": _build_leaderboard(trials, summary) if len(best_trials) > 1 else None,
        "curves": _build_learning_curves(epochs, summary, best_trials),
        "settings": _build_settings(trials, summary),
    }


def _build_leaderboard(trials: pd.DataFrame, summary: Summary) -> Content:
    table = build_leaderboard(trials, summary.winner, rows=MAX_TRIALS)
    names = [name for name in table.columns if name not in {"trial", "tied"}]
    rows = [
        {
            "trial": row["trial"],
            "is_winner": row["trial"] == summary.winner.trial,
            "is_tied": row["tied"] == "yes",
            "cells": [row[name] for name in names],
        }
        for row in list_rows(table)
    ]
    columns = [name.replace("_", " ") for name in names]
    return {"columns": columns, "rows": rows, "omitted": len(trials) - len(rows)}


def _build_learning_curves(
    epochs: pd.DataFrame, summary: Summary, best_trials: list[str]
) -> Content:
    winner, best_epoch = summary.winner.trial, summary.winner.best_epoch
    winner_epochs = epochs[epochs["trial"] == winner]
    titles = (
        f"Loss by epoch, training and validation; a dashed line marks epoch {best_epoch}",
        f"Accuracy by epoch, training and validation; a dashed line marks epoch {best_epoch}",
    )
    figures = [
        render_svg(figure, name=f"curves-{number}", title=title)
        for number, (figure, title) in enumerate(
            zip(draw_learning_curves(epochs, winner, best_epoch, best_trials), titles, strict=True)
        )
    ]
    planned = summary.winner.hyperparameters["epochs"]
    trained = len(winner_epochs)
    return {
        "figures": figures,
        "sentences": describe_learning_curves(winner_epochs, best_epoch),
        "best_epoch": best_epoch,
        "epochs_trained": trained,
        "epochs_planned": planned,
        "other_trials": len(set(best_trials) - {winner}),
    }


def _build_settings(trials: pd.DataFrame, summary: Summary) -> Content | None:
    """Return figures that show the effect of the varied settings.

    Return None if no setting was varied, or fewer than two trials have a validation accuracy.
    """
    finished = trials[trials["val_accuracy"].notna()]
    varied = list(summary.winner.varied)
    if len(finished) < 2 or not varied:
        return None
    parallel_coordinates = None
    if len(varied) > 1:  # the effect of a single setting is drawn below anyway
        figure = draw_parallel_coordinates(finished, varied, summary.winner.trial)
        title = f"{len(finished)} trials as lines through {', '.join(varied)} to their accuracy"
        parallel_coordinates = render_svg(figure, name="parallel", title=title)
    effects = [
        render_svg(figure, name=f"effect-{number}", title=title)
        for number, (title, figure) in enumerate(draw_main_effects(finished, varied).items())
    ]
    return {"parallel_coordinates": parallel_coordinates, "effects": effects}


MAX_MATRIX_CLASSES = 40
MAX_PAIRS = 12


def build_evaluation_sections(facts: EvaluationFacts) -> Content:
    """Return the content of the sections on predictions, such as the confusion matrix."""
    return {
        "split": facts.split,
        "confused": _build_confused_pairs(facts),
        "matrix": _build_matrix(facts) if len(facts.classes) <= MAX_MATRIX_CLASSES else None,
        "cells": _build_cells(facts),
        "per_class": [_format_class_metrics(row) for row in list_rows(facts.per_class)],
        "calibration": _build_calibration(facts),
        "gallery": _build_gallery(facts),
        "heat_map_description": facts.media.index.description,
    }


def _build_confused_pairs(facts: EvaluationFacts) -> Content:
    pairs = find_confused_pairs(facts.confusion)
    named_pairs, ending = describe_confused_pairs(pairs)
    class_index = {name: index for index, name in enumerate(facts.classes)}
    rows = [
        {**row, "cell": (class_index[row["first"]], class_index[row["second"]])}
        for row in list_rows(pairs.head(MAX_PAIRS))
    ]
    return {"pairs": named_pairs, "ending": ending, "rows": rows, "omitted": len(pairs) - len(rows)}


def _build_matrix(facts: EvaluationFacts) -> list[Content]:
    """Return one row per true class: counts by predicted class, and as fractions of the row sum."""
    return [
        {
            "name": name,
            "cells": [
                {"count": int(count), "fraction": float(count / max(1, row.sum()))} for count in row
            ],
        }
        for name, row in zip(facts.classes, facts.confusion.to_numpy(), strict=True)
    ]


def _build_cells(facts: EvaluationFacts) -> list[TableRow]:
    """Return the nonempty cells of the confusion matrix, in row order, with thumbnails."""
    class_index = {name: index for index, name in enumerate(facts.classes)}
    counts = facts.confusion.to_numpy()
    cells: list[TableRow] = []
    for (y_true, y_pred), table in group_by_cell(facts.images, limit=MAX_CELL_IMAGES).items():
        position = class_index[y_true], class_index[y_pred]
        images = [
            {**row, "thumbnail": thumbnail}
            for row in list_rows(table)
            if (thumbnail := facts.media.find_thumbnail(row["path"]))
        ]
        cells.append(
            {
                "position": position,
                "y_true": y_true,
                "y_pred": y_pred,
                "count": int(counts[position]),
                "images": images,
            }
        )
    return sorted(cells, key=lambda cell: cell["position"])


def _format_class_metrics(row: TableRow) -> Content:
    """Return the metrics of a class, with intervals as text; an undefined metric is None."""
    metrics: Content = {"name": row["class"], "images": int(row["images"])}
    for name in ("recall", "precision", "f1"):
        value, low, high = (row[f"{name}{suffix}"] for suffix in ("", "_low", "_high"))
        metrics[name] = (
            None if pd.isna(value) else {"value": value, "interval": f"{low:.1%} to {high:.1%}"}
        )
    return metrics


def _build_calibration(facts: EvaluationFacts) -> Content:
    calibration, figures = facts.calibration, []
    for name, bins in facts.reliability.items():
        metrics = calibration.before if name == "before" else calibration.after
        temperature = 1.0 if name == "before" else calibration.temperature
        error = metrics["calibration_error"].value if metrics else None
        title = f"temperature {temperature:.3g}"
        if error is not None:
            title += f": calibration error {error:.1%}"
        figures.append(
            render_svg(
                draw_reliability_diagram(bins, title),
                name=f"reliability-{name}",
                title=f"Reliability diagram at {title}; accuracy by confidence, with intervals",
            )
        )
    figures.append(
        render_svg(
            draw_risk_coverage_curve(facts.risk_coverage, facts.abstention),
            name="risk-coverage",
            title="Error among the accepted images by the fraction of images accepted",
        )
    )
    return {"figures": figures, "metrics": calibration, "abstention": facts.abstention}


def _build_gallery(facts: EvaluationFacts) -> dict[str, list[TableRow]]:
    """Return the large pictures of incorrect and of correct predictions."""
    row_by_path: Mapping[str, TableRow] = {row["path"]: row for row in list_rows(facts.images)}
    gallery: dict[str, list[TableRow]] = {"errors": [], "correct": []}
    for entry in facts.media.index.gallery:
        if (row := row_by_path.get(entry.path)) is not None:
            group = "correct" if row["y_true"] == row["y_pred"] else "errors"
            gallery[group].append({**row, **_embed_pictures(facts, entry)})
    return gallery


def _embed_pictures(facts: EvaluationFacts, entry: GalleryEntry) -> Content:
    media = facts.media
    similar_images = [
        {**image._asdict(), "thumbnail": media.find_thumbnail(image.path)}
        for image in entry.nearest
    ]
    return {
        "picture": media.embed(entry.picture),
        "overlay": media.embed_overlay(entry.picture, entry.heat) if entry.heat else None,
        "similar_images": similar_images,
    }
