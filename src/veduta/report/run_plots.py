"""Figures of a run: its scores with their intervals, curves, calibration, what abstaining costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from veduta.report.plots import COLORS, DASHES, INK, PERCENT, open_panel

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
