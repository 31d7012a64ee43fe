"""Figures of a run: scores with intervals, learning curves, calibration, effects of settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from veduta.reporting.figures.plots import COLORS, DASHES, INK, PERCENT, open_panel, save_figure
from veduta.runs.summary import Abstention, CorrectedAccuracy, Estimate, SuggestedRates
from veduta.types import IntArray

OTHERS_ALPHA = 0.22
PANEL_MARGINS = (0.76, 0.52, 0.26, 0.32)  # inches, for numbers, labels and a title
REFERENCE_LINE: Any = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 3)), "alpha": 0.6}


def draw_intervals(estimates: Mapping[str, Estimate | CorrectedAccuracy]) -> Figure:
    """Draw accuracies below each other, each with its interval."""
    height = 0.55 + 0.36 * len(estimates)
    with open_panel(4.6, height, margins=(0.95, 0.35, 0.3, 0.08)) as (figure, axes):
        for row, estimate in enumerate(estimates.values()):
            value, *ends = np.array([estimate.value, estimate.low, estimate.high], np.float64)
            axes.plot(
                ends,
                [row, row],
                color=COLORS[row],
                linewidth=5,
                alpha=0.45,
                solid_capstyle="round",
            )
            axes.plot(value, row, "o", color=COLORS[row], markersize=7)
        axes.set_yticks(range(len(estimates)), list(estimates))
        axes.set_ylim(len(estimates) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=INK, alpha=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.xaxis.set_major_formatter(PERCENT)
    return figure


def draw_learning_curves(
    epochs: pd.DataFrame, winner: str, best_epoch: int, other_trials: Sequence[str]
) -> list[Figure]:
    """Draw loss and accuracy by epoch: those of the winner, and pale the validation of others."""
    figures = []
    winner_epochs = epochs[epochs["trial"] == winner]
    for metric in ("loss", "accuracy"):
        with open_panel(4.4, 3.0, margins=PANEL_MARGINS) as (figure, axes):
            others = epochs[epochs["trial"].isin(list(other_trials))]
            for trial, table in others.groupby("trial"):
                if trial != winner:
                    y = table[f"val_{metric}"]
                    axes.plot(table["epoch"], y, color=INK, alpha=OTHERS_ALPHA, linewidth=0.9)
            for number, (split, label) in enumerate((("train", "training"), ("val", "validation"))):
                axes.plot(
                    winner_epochs["epoch"],
                    winner_epochs[f"{split}_{metric}"],
                    color=COLORS[number],
                    linestyle=DASHES[number],
                    marker="o" if len(winner_epochs) == 1 else None,
                    label=label,
                )
            axes.axvline(best_epoch, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            best = winner_epochs[winner_epochs["epoch"] == best_epoch]
            axes.plot(best["epoch"], best[f"val_{metric}"], "o", color=COLORS[1], markersize=6)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
            axes.set(xlabel="epoch", title=metric)
            if metric == "accuracy":
                axes.yaxis.set_major_formatter(PERCENT)
            axes.legend(loc="best")
        figures.append(figure)
    return figures


def draw_reliability_diagram(bins: pd.DataFrame, title: str) -> Figure:
    """Draw the accuracy in bins of the confidence, and the diagonal of perfect calibration."""
    with open_panel(3.6, 3.1, margins=PANEL_MARGINS) as (figure, axes):
        axes.plot([0, 1], [0, 1], **REFERENCE_LINE)
        left, width = bins["bin_low"], bins["bin_high"] - bins["bin_low"]
        axes.bar(left, bins["accuracy"], width, align="edge", color=COLORS[0], alpha=0.25)
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
        limits = {"xlim": (0, 1), "ylim": (0, 1.02)}
        axes.set(**limits, xlabel="confidence", ylabel="accuracy", title=title)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PERCENT)
    return figure


def draw_risk_coverage_curve(curve: pd.DataFrame, abstention: Abstention) -> Figure:
    """Draw the error among accepted images by their fraction, and mark the chosen threshold."""
    with open_panel(3.6, 3.1, margins=PANEL_MARGINS) as (figure, axes):
        axes.plot(curve["coverage"], curve["risk"], color=COLORS[0], drawstyle="steps-post")
        if abstention.test:
            point = abstention.test.coverage.value or 0.0, abstention.test.error.value or 0.0
            axes.plot(*point, "D", color=COLORS[1], markersize=7)
            note = f"confidence ≥ {abstention.threshold:g}"
            axes.annotate(note, point, (-6, 12), textcoords="offset points", ha="right")
        axes.axhline(abstention.max_error, **REFERENCE_LINE)
        axes.set(xlim=(0, 1.02), xlabel="accepted images", ylabel="error among them")
        axes.set_ylim(bottom=0)
        axes.set_title("abstention")
        axes.xaxis.set_major_formatter(PERCENT)
        axes.yaxis.set_major_formatter(PERCENT)
    return figure


MAX_LOSS_RATIO = 1.5  # the loss axis ends at this multiple of the initial loss


def write_range_test_figure(
    folder: Path, rates: pd.DataFrame, suggestion: SuggestedRates | None
) -> None:
    """Write lr_find.svg and lr_find.png: loss by learning rate, and the suggested rates.

    Args:
        folder: where to write.
        rates: lr, loss and smoothed_loss.
        suggestion: learning rates that are marked by lines; None if there is no suggestion.
    """
    with open_panel(6.4, 4.0) as (figure, axes):
        axes.plot(rates["lr"], rates["loss"], color=COLORS[0], alpha=0.35, linewidth=1)
        smoothed = rates["smoothed_loss"]
        axes.plot(rates["lr"], smoothed, color=COLORS[0])
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(0, MAX_LOSS_RATIO * smoothed.iloc[0])
        axes.set_title("Learning-rate range test: loss per batch (pale) and smoothed loss")
        if suggestion:
            marks = {"steepest": suggestion.steepest, "minimum / 10": suggestion.tenth_of_minimum}
            styles = zip(marks.items(), COLORS[1:], ("--", ":"), strict=False)
            for (name, lr), color, dash in styles:
                label = f"{name}: {lr:.2g}"
                axes.axvline(lr, color=color, linestyle=dash, linewidth=1.4, label=label)
            axes.legend(loc="lower left")
        save_figure(figure, folder / "lr_find")


MAX_TICKS = 9
GRID_MARGINS = (0.74, 0.52, 0.2, 0.12)  # inches, for numbers and a label


def draw_parallel_coordinates(trials: pd.DataFrame, varied: Sequence[str], winner: str) -> Figure:
    """Draw every trial as a line through its settings to its validation accuracy.

    Args:
        trials: one row per finished trial.
        varied: names of the settings that vary.
        winner: id of the trial whose line is thick.
    """
    accuracies = trials["val_accuracy"].to_numpy()
    low, high = accuracies.min(), accuracies.max()
    scaled = (accuracies - low) / (high - low) if high > low else np.ones_like(accuracies)
    columns = [_rank_values(trials[name]) for name in varied]
    heights = [ranks / max(1, len(names) - 1) for ranks, names in columns]
    width = max(4.4, 1.25 * (len(varied) + 1))
    with open_panel(width, 3.2, margins=(0.5, 0.35, 0.15, 0.1)) as (figure, axes):
        lines = np.column_stack([*heights, scaled])
        for line, trial in zip(lines, trials["trial"], strict=True):
            alpha = 0.25 + 0.65 * line[-1]
            style: dict[str, Any] = {"color": COLORS[0], "linewidth": 1.3, "alpha": alpha}
            if trial == winner:
                style = {"color": COLORS[1], "linewidth": 3.2}
            axes.plot(range(len(line)), line, **style)
        for x, (_, names) in enumerate(columns):
            axes.axvline(x, color=INK, linewidth=0.8, alpha=0.4)
            for rank in _choose_ticks(len(names)):
                point = (x, rank / max(1, len(names) - 1))
                axes.annotate(names[rank], point, (4, 3), textcoords="offset points", fontsize=8.5)
        end = len(varied)
        axes.axvline(end, color=INK, linewidth=0.8, alpha=0.4)
        for value, y in ((low, 0.0), (high, 1.0)):
            axes.annotate(f"{value:.1%}", (end, y), (5, -3), textcoords="offset points")
        axes.set_xticks(range(end + 1), [*varied, "validation"])
        axes.set_yticks([])
        axes.set(ylim=(-0.06, 1.1), xlim=(-0.1, end + 0.4))
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="x", length=0)
    return figure


def draw_main_effects(trials: pd.DataFrame, varied: Sequence[str]) -> dict[str, Figure]:
    """Draw a panel per setting: each trial at its value, and the mean over the other settings.

    Returns:
        Figures by their text alternative.
    """
    accuracies = trials["val_accuracy"]
    low, high = accuracies.min(), accuracies.max()
    padding = 0.08 * max(high - low, 0.01)
    figures = {}
    for setting in varied:
        ranks, names = _rank_values(trials[setting])
        with open_panel(3.3, 2.6, margins=GRID_MARGINS) as (figure, axes):
            axes.plot(ranks, accuracies, "o", color=INK, alpha=0.35, markersize=4)
            means = [accuracies[ranks == rank].mean() for rank in range(len(names))]
            axes.plot(range(len(names)), means, "o-", color=COLORS[0], markersize=7)
            ticks = _choose_ticks(len(names))
            axes.set_xticks(ticks, [names[rank] for rank in ticks])
            axes.set(xlabel=setting, xlim=(-0.4, len(names) - 0.6))
            axes.set_ylim(low - padding, high + padding)
            axes.yaxis.set_major_formatter(PERCENT)
        described = ", ".join(f"{m:.1%} at {n}" for n, m in zip(names, means, strict=True))
        figures[f"Mean validation accuracy by {setting}: {described}"] = figure
    return figures


def _rank_values(values: pd.Series) -> tuple[IntArray, list[str]]:
    """Return the rank of each value among the different values, and the names of these in order.

    Missing values, those of trials that do not use the setting, have the last rank.
    """
    present = values.dropna()
    try:
        ordered = sorted(set(present))
    except TypeError:
        ordered = sorted(set(present), key=str)
    rank_by_value = {value: rank for rank, value in enumerate(ordered)}
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in ordered]
    if len(present) < len(values):
        names.append("not used")
    return np.array([rank_by_value.get(value, len(ordered)) for value in values]), names


def _choose_ticks(count: int) -> list[int]:
    """Return at most `MAX_TICKS` evenly spread indices from 0 to `count` - 1."""
    return sorted({round(tick) for tick in np.linspace(0, count - 1, min(count, MAX_TICKS))})
