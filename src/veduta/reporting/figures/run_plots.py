"""Figures of a run: scores with intervals, learning curves, calibration, effects of settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from veduta.reporting.figures.plots import COLORS, DASHES, INK, PERCENT, open_panel, save_figure
from veduta.training.range_test import Suggestion

FAINT = 0.22
AROUND = (0.76, 0.52, 0.26, 0.32)  # room for numbers, names and a title
DIAGONAL: Any = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 3)), "alpha": 0.6}


def intervals(scores: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Scores one below the other, each with its interval."""
    with open_panel(4.6, 0.55 + 0.36 * len(scores), margins=(0.95, 0.35, 0.3, 0.08)) as (
        figure,
        axes,
    ):
        for place, score in enumerate(scores.values()):
            axes.plot(
                [score["low"], score["high"]],
                [place, place],
                color=COLORS[place],
                linewidth=5,
                alpha=0.45,
                solid_capstyle="round",
            )
            axes.plot(score["accuracy"], place, "o", color=COLORS[place], markersize=7)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=INK, alpha=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.xaxis.set_major_formatter(PERCENT)
    return figure


def curves(epochs: pd.DataFrame, winner: str, best_epoch: int, others: Sequence[str]) -> list[Any]:
    """Loss and accuracy by epoch: the winner's, and faintly what validation says of others."""
    drawn = []
    own = epochs[epochs["trial"] == winner]
    for name, title in (("loss", "loss"), ("accuracy", "accuracy")):
        with open_panel(4.4, 3.0, margins=AROUND) as (figure, axes):
            for trial, found in epochs[epochs["trial"].isin(list(others))].groupby("trial"):
                if trial != winner:
                    y = found[f"val_{name}"]
                    axes.plot(found["epoch"], y, color=INK, alpha=FAINT, linewidth=0.9)
            for place, (part, label) in enumerate((("train", "training"), ("val", "validation"))):
                axes.plot(
                    own["epoch"],
                    own[f"{part}_{name}"],
                    color=COLORS[place],
                    linestyle=DASHES[place],
                    marker="o" if len(own) == 1 else None,
                    label=label,
                )
            axes.axvline(best_epoch, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            best = own[own["epoch"] == best_epoch]
            axes.plot(best["epoch"], best[f"val_{name}"], "o", color=COLORS[1], markersize=6)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
            axes.set(xlabel="epoch", title=title)
            if name == "accuracy":
                axes.yaxis.set_major_formatter(PERCENT)
            axes.legend(loc="best")
        drawn.append(figure)
    return drawn


def reliability_diagram(bins: pd.DataFrame, title: str) -> Figure:
    """How often images of each confidence are right, beside what they should be."""
    with open_panel(3.6, 3.1, margins=AROUND) as (figure, axes):
        axes.plot([0, 1], [0, 1], **DIAGONAL)
        width = bins["to"] - bins["above"]
        axes.bar(bins["above"], bins["accuracy"], width, align="edge", color=COLORS[0], alpha=0.25)
        below = bins["accuracy"] - bins["accuracy_low"]
        above = bins["accuracy_high"] - bins["accuracy"]
        axes.errorbar(
            bins["confidence"],
            bins["accuracy"],
            yerr=[below.clip(lower=0), above.clip(lower=0)],
            fmt="o",
            color=COLORS[0],
            markersize=4,
            linewidth=1.2,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="right", title=title)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PERCENT)
    return figure


def risk_curve(curve: pd.DataFrame, abstain: Mapping[str, Any]) -> Figure:
    """The error that is left at every share of images accepted, and the threshold's place."""
    with open_panel(3.6, 3.1, margins=AROUND) as (figure, axes):
        axes.plot(curve["coverage"], curve["risk"], color=COLORS[0], drawstyle="steps-post")
        if shown := abstain["judged"]:
            at = shown["coverage"]["value"], shown["error"]["value"] or 0.0
            axes.plot(*at, "D", color=COLORS[1], markersize=7)
            note = f"confidence ≥ {abstain['threshold']:g}"
            axes.annotate(note, at, (-6, 12), textcoords="offset points", ha="right")
        axes.axhline(abstain["max_error"], **DIAGONAL)
        axes.set(xlim=(0, 1.02), xlabel="images accepted", ylabel="of these, wrong")
        axes.set_ylim(bottom=0)
        axes.set_title("what abstaining buys")
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
    return figure


HEADROOM = 1.5  # times the loss at the start: what diverges is cut off above it


def write_rates(folder: Path, rates: pd.DataFrame, suggestion: Suggestion | None) -> None:
    """lr_find.svg and lr_find.png: loss against learning rate, and where the suggestions lie.

    Args:
        folder: where to.
        rates: lr, loss and smoothed_loss.
        suggestion: marked by lines, where there is one.
    """
    with open_panel(6.4, 4.0) as (figure, axes):
        axes.plot(rates["lr"], rates["loss"], color=COLORS[0], alpha=0.35, linewidth=1)
        smoothed = rates["smoothed_loss"]
        axes.plot(rates["lr"], smoothed, color=COLORS[0])
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(0, HEADROOM * smoothed.iloc[0])
        axes.set_title("Learning-rate range test: loss of a batch (pale), smoothed")
        if suggestion:
            marks = {"steepest": suggestion.steepest, "minimum / 10": suggestion.tenth}
            styles = zip(marks.items(), COLORS[1:], ("--", ":"), strict=False)
            for (name, lr), colour, dash in styles:
                told = f"{name}: {lr:.2g}"
                axes.axvline(lr, color=colour, linestyle=dash, linewidth=1.4, label=told)
            axes.legend(loc="lower left")
        save_figure(figure, folder / "lr_find")


MOST_TICKS = 9
GRID_MARGINS = (0.74, 0.52, 0.2, 0.12)  # room for numbers and a name


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
        with open_panel(3.3, 2.6, margins=GRID_MARGINS) as (figure, axes):
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
