"""The parts of a page that are about the choice: leaderboard, curves, and what the grid shows."""

from typing import Any

from veduta.experiment.result import Run
from veduta.report.facts import records
from veduta.report.grid_plots import main_effects, parallel_coordinates
from veduta.report.plots import render_svg
from veduta.report.reading import reading
from veduta.report.run_plots import curves

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
