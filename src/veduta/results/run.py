"""A finished run and its trained model; files are read when they are first needed."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import final

import pandas as pd
from markupsafe import Markup

from veduta.data.folder import read_images
from veduta.errors import InputError
from veduta.evaluation.winner_assessment import WinnerAssessment, assess_winner
from veduta.inference.classifier import Classifier, load_classifier
from veduta.results.evaluate import Evaluation, evaluate
from veduta.results.predict import predict
from veduta.runs.directory import RunDirectory
from veduta.runs.summary import Summary, read_run_summary
from veduta.runs.tables import read_table
from veduta.tracking.console import Console
from veduta.tracking.tables import build_leaderboard
from veduta.tracking.text import build_html_facts, build_html_table, format_estimate, format_name


@final
class Run:
    """A finished run of `search` or `train`.

    Attributes:
        directory: the run directory; it has an attribute for the path of each file.
        summary: content of summary.json: winner, scores, tied trials, counts, seconds.
        trials: a DataFrame with one row per trial.
        epochs: a DataFrame with one row per epoch of a trial.
        strict: whether errors in the data make the command exit with code 3.
    """

    def __init__(self, path: Path, *, strict: bool | None = None) -> None:
        """Find a run directory.

        Args:
            path: the run directory.
            strict: overrides `strict` of summary.json; a resumed run that had nothing left to do
                does not write its summary again.

        Raises:
            InputError: there is no finished run.
        """
        self.directory = RunDirectory(path)
        self._strict = strict
        if not self.directory.summary.is_file():
            raise InputError(
                f"a finished run has a summary.json; {path} has none: give the directory that "
                "`veduta search` or `veduta train` printed at its end"
            )

    @cached_property
    def summary(self) -> Summary:
        """The content of summary.json."""
        return read_run_summary(self.directory.summary)

    @property
    def strict(self) -> bool:
        """Whether errors in the data make the command exit with code 3."""
        return self.summary.strict if self._strict is None else self._strict

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, in canonical order."""
        return read_table(self.directory.trials)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch of a trial."""
        return read_table(self.directory.epochs)

    @cached_property
    def assessment(self) -> WinnerAssessment:
        """Predictions of the winner on validation and test images, its temperature and bounds."""
        summary = self.summary
        return assess_winner(
            self.directory, winner=summary.winner.trial, classes=summary.data.classes
        )

    @cached_property
    def classifier(self) -> Classifier:
        """The model of the winner."""
        return load_classifier(self.directory.path)

    def leaderboard(self, rows: int = 10) -> pd.DataFrame:
        """Return the best trials, the winner first: varied settings, accuracy with its interval."""
        return build_leaderboard(self.trials, self.summary.winner, rows=rows)

    def __repr__(self) -> str:
        return f"Run({str(self.directory.path)!r})"

    def _repr_html_(self) -> str:
        """Return the run as a notebook shows it: its scores and the leaderboard."""
        test, validation = self.summary.test.accuracy, self.summary.validation_accuracy
        rows = {
            "test": format_estimate(test) if test.images else "no test image could be decoded",
            "validation": format_estimate(validation),
            "directory": str(self.directory.path),
        }
        board = self.leaderboard()
        return build_html_facts(f"{len(self.trials)} trial(s)", rows) + build_html_table(
            list(board.columns), board.to_numpy().tolist(), caption="by validation accuracy"
        )


@final
class Model:
    """A trained classifier; `veduta.load` returns one.

    Attributes:
        classes: names of the classes; column i of the probabilities is `classes[i]`.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.classes = classifier.classes

    def predict(
        self,
        paths: Sequence[str | Path] | str | Path,
        *,
        top_k: int = 1,
        max_error: float | None = None,
    ) -> pd.DataFrame:
        """Return the `top_k` most probable labels of images.

        Args:
            paths: files or folders. A file that cannot be decoded has no row; it is listed in
                `attrs["rejected"]` of the table as (path, problem, detail).
            top_k: number of labels per image.
            max_error: abstain from the images whose confidence is too low for an error of at most
                `max_error` among the others.

        Returns:
            path, label, probability, label_2, probability_2, ..., one row per image; with
            `max_error` also confidence and abstained.
        """
        samples = read_images([paths] if isinstance(paths, (str, Path)) else paths)
        predictions = predict(
            self._classifier,
            samples,
            top_k=top_k,
            max_error=max_error,
            console=Console(quiet=True),
        )
        table = predictions.table.copy()
        table.attrs["rejected"] = [(r.name, r.problem, r.detail) for r in predictions.rejected]
        return table

    def evaluate(self, data: str | Path) -> Evaluation:
        """Evaluate the model on labeled images that it has not seen."""
        return evaluate(self._classifier, data, console=Console(quiet=True))

    def _repr_html_(self) -> str:
        """Return the model as a notebook shows it: its network, classes and preprocessing."""
        manifest = self._classifier.manifest
        size = manifest.preprocessing.image_size
        return build_html_facts(
            "Image classifier",
            {
                "network": manifest.model,
                "classes": Markup(", ").join(map(format_name, self.classes)),
                "image size": f"{size} x {size} pixels",
                "engine": f"{manifest.engine}, {manifest.precision}",
                "temperature": f"{manifest.temperature:.3g}",
            },
        )

    def __repr__(self) -> str:
        return f"Model({str(self._classifier.source)!r}, classes {', '.join(self.classes)})"
