"""The model of a finished run, as Python meets it: it predicts, and is judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import pandas as pd

from veduta.data.folder import read_folder, read_images
from veduta.experiment import prediction
from veduta.experiment.prediction import Evaluation
from veduta.inference.classifier import Classifier
from veduta.runtime.environment import cache_folder
from veduta.tracking.console import Console


@final
class Model:
    """A trained classifier, ready to predict. `veduta.load` makes one.

    Attributes:
        classes: names of the classes; column i of the probabilities is `classes[i]`.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.classes = classifier.classes

    def predict(self, paths: Sequence[str | Path] | str | Path, *, top_k: int = 1) -> pd.DataFrame:
        """The `top_k` most probable labels of images: path, label, probability, label_2, ...

        Args:
            paths: files or folders. What cannot be read has no row; `attrs["rejected"]` lists it.
            top_k: how many labels an image.
        """
        given = [paths] if isinstance(paths, (str, Path)) else paths
        found = prediction.predict(
            self._classifier, read_images(given), top_k=top_k, console=Console(quiet=True)
        )
        table = found.table.copy()
        table.attrs["rejected"] = [(r.name, r.problem, r.detail) for r in found.rejected]
        return table

    def evaluate(self, data: str | Path) -> Evaluation:
        """How the classifier does on labelled images that it has not seen."""
        return judged(self._classifier, data, Console(quiet=True))

    def __repr__(self) -> str:
        return f"Model({str(self._classifier.source)!r}, classes {', '.join(self.classes)})"


def judged(classifier: Classifier, data: str | Path, console: Console) -> Evaluation:
    """How a classifier does on the labelled images of a folder or a CSV file."""
    folder = read_folder(data, classes=classifier.classes)
    return prediction.evaluate(classifier, folder, cache=cache_folder(), console=console)
