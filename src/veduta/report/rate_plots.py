"""The figure of a learning-rate range test, as files: it is looked at by itself."""

from pathlib import Path

import pandas as pd

from veduta.report.plots import COLORS, open_panel, save_figure
from veduta.training.range_test import Suggestion

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
