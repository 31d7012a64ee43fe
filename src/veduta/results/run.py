"""A finished run, as Python sees it: the files of its directory, read when asked for."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from veduta.config.settings import OF_A_TRIAL, Settings
from veduta.errors import InputError
from veduta.experiment.judgement import Judgement, judge
from veduta.inference.classifier import Classifier, load_classifier
from veduta.runs.directory import RunDirectory
from veduta.tracking.html import facts, ranged, table

TEXT = (
    "trial",
    "status",
    "channels",
    "pooling",
    "hidden",
    "betas",
    "patience",
    "views",
    "augment",
    "model",
    "weights",
    "optimizer",
)


class Run:
    """A finished run.

    Attributes:
        directory: where its files are, by name.
        summary: what summary.json holds: winner, validation, test, ties, counts, seconds.
        trials: one row a trial, a DataFrame.
        epochs: one row an epoch of a trial, a DataFrame.
        strict: whether findings in the data that weigh are a failure: what was asked for last, or
            else what summary.json holds.
    """

    def __init__(self, path: Path, *, strict: bool | None = None) -> None:
        self.directory = RunDirectory(path)
        self._strict = strict
        if not self.directory.summary.is_file():
            raise InputError(
                f"a finished run has a summary.json; {path} has none: give the directory that "
                "`veduta search` or `veduta train` named at its end"
            )

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run in numbers."""
        content: dict[str, Any] = json.loads(self.directory.summary.read_text(encoding="utf-8"))
        return content

    @property
    def strict(self) -> bool:
        """A run with nothing left to do is not written again, whatever is asked of it now."""
        return bool(self.summary.get("strict")) if self._strict is None else self._strict

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial, in canonical order."""
        return _read(self.directory.trials)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row an epoch of a trial."""
        return _read(self.directory.epochs)

    @cached_property
    def judgement(self) -> Judgement:
        """Scores of the winner with their truth, its temperature and bounds, read anew."""
        winner, classes = self.summary["winner"]["trial"], tuple(self.summary["classes"])
        return judge(self.directory, winner=winner, classes=classes)

    @cached_property
    def classifier(self) -> Classifier:
        """The winner, ready to predict."""
        return load_classifier(self.directory.path)

    def leaderboard(self, rows: int = 10) -> pd.DataFrame:
        """The best trials, the winner first: accuracy with its interval, and what varied."""
        winner = self.summary["winner"]
        table = self.trials.assign(first=self.trials["trial"] == winner["trial"])
        table = table.sort_values(["val_accuracy", "first"], ascending=False, kind="stable")
        halved = ["epochs_trained"] if (table["status"] == "stopped").any() else []
        shown = table[["trial", *winner["varied"], *halved, "best_epoch"]].copy()
        shown["validation"] = table["val_accuracy"].map("{:.1%}".format)
        ends = zip(table["val_low"], table["val_high"], strict=True)
        shown["95 % interval"] = [f"{low:.1%} to {high:.1%}" for low, high in ends]
        shown["tied"] = table["tied"].map({True: "yes", False: "no"})
        return shown[table["status"].isin(["finished", "stopped"])].head(rows)

    def __repr__(self) -> str:
        return f"Run({str(self.directory.path)!r})"

    def _repr_html_(self) -> str:
        """The run as a notebook shows it: its number, and the leaderboard."""
        test, validation = self.summary["test"], self.summary["validation"]
        told = {"test": ranged(test) if test["images"] else "no test image could be read"}
        told |= {"validation": ranged(validation), "directory": str(self.directory.path)}
        best = self.leaderboard()
        board = table(list(best.columns), best.to_numpy().tolist(), caption="by validation")
        return facts(f"{len(self.trials)} trial(s)", told) + board


def _read(path: Path) -> pd.DataFrame:
    """A table of the run; text stays text: a class or a file may be called 007, nan or true."""
    text = {name for name in OF_A_TRIAL if Settings.model_fields[name].annotation is str}
    kinds = dict.fromkeys(text.union(TEXT), str)
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=[""])
