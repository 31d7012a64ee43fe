"""Figures of a grid: every trial as a line through what varied, what each setting does alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from veduta.report.plots import COLORS, INK, PERCENT, open_panel

MOST_TICKS = 9
AROUND = (0.74, 0.52, 0.2, 0.12)  # room for numbers and a name


def parallel_coordinates(trials: pd.DataFrame, varied: Sequence[str], winner: str) -> Figure:
    """Every trial as a line from setting to setting to its validation accuracy.

    Args:
        trials: a row a trial that ended.
        varied: names of the settings that vary.
        winner: the trial whose line is thick.
    """
    scores = trials["val_accuracy"].to_numpy()
    least, most = scores.min(), scores.max()
    scaled = (scores - least) / (most - least) if most > least else np.ones_like(scores)
    columns = [_places(trials[name]) for name in varied]
    heights = [place / max(1, len(names) - 1) for place, names in columns]
    wide = max(4.4, 1.25 * (len(varied) + 1))
    with open_panel(wide, 3.2, margins=(0.5, 0.35, 0.15, 0.1)) as (figure, axes):
        paths = np.column_stack([*heights, scaled])
        for path, trial in zip(paths, trials["trial"], strict=True):
            own = trial == winner
            look: dict[str, Any] = {"color": COLORS[0], "linewidth": 1.3}
            look["alpha"] = 0.25 + 0.65 * path[-1]
            if own:
                look = {"color": COLORS[1], "linewidth": 3.2}
            axes.plot(range(len(path)), path, **look)
        for place, (_, names) in enumerate(columns):
            axes.axvline(place, color=INK, linewidth=0.8, alpha=0.4)
            for at in _shown(len(names)):
                spot = (place, at / max(1, len(names) - 1))
                axes.annotate(names[at], spot, (4, 3), textcoords="offset points", fontsize=8.5)
        end = len(varied)
        axes.axvline(end, color=INK, linewidth=0.8, alpha=0.4)
        for value, high in ((least, 0.0), (most, 1.0)):
            axes.annotate(f"{value:.1%}", (end, high), (5, -3), textcoords="offset points")
        axes.set_xticks(range(end + 1), [*varied, "validation"])
        axes.set_yticks([])
        axes.set(ylim=(-0.06, 1.1), xlim=(-0.1, end + 0.4))
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="x", length=0)
    return figure


def main_effects(trials: pd.DataFrame, varied: Sequence[str]) -> dict[str, Figure]:
    """A panel a setting: each trial at its value, and the mean over the other settings."""
    low, high = trials["val_accuracy"].min(), trials["val_accuracy"].max()
    room = 0.08 * max(high - low, 0.01)
    figures = {}
    for name in varied:
        place, names = _places(trials[name])
        with open_panel(3.3, 2.6, margins=AROUND) as (figure, axes):
            axes.plot(place, trials["val_accuracy"], "o", color=INK, alpha=0.35, markersize=4)
            means = [trials["val_accuracy"][place == at].mean() for at in range(len(names))]
            axes.plot(range(len(names)), means, "o-", color=COLORS[0], markersize=7)
            ticks = _shown(len(names))
            axes.set_xticks(ticks, [names[at] for at in ticks])
            axes.set(xlabel=name, ylim=(low - room, high + room), xlim=(-0.4, len(names) - 0.6))
            axes.yaxis.set_major_formatter(PERCENT)
        means_told = ", ".join(f"{m:.1%} at {n}" for n, m in zip(names, means, strict=True))
        figures[f"Mean validation accuracy by {name}: {means_told}"] = figure
    return figures


def _places(values: pd.Series) -> tuple[Any, list[str]]:
    """The place of each value among those that occur, in order, and their names."""
    there = values.dropna()
    try:
        order = sorted(set(there))
    except TypeError:
        order = sorted(set(there), key=str)
    number = {value: place for place, value in enumerate(order)}
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in order]
    if len(there) < len(values):
        names.append("not used")
    return np.array([number.get(value, len(order)) for value in values]), names


def _shown(many: int) -> list[int]:
    """Which of so many ticks are named."""
    return sorted({round(at) for at in np.linspace(0, many - 1, min(many, MOST_TICKS))})
