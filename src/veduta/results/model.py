"""The model of a finished run, as Python meets it: it predicts, and is judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import pandas as pd
from markupsafe import Markup

from veduta.data.folder import read_folder, read_images
from veduta.evaluation.abstention import MAX_ERROR
from veduta.inference.classifier import Classifier
from veduta.results import predict as prediction
from veduta.results.evaluate import Evaluation, evaluate
from veduta.runtime.environment import usable_cache
from veduta.tracking.console import Console
from veduta.tracking.html import facts, named


@final
class Model:
    """A trained classifier, ready to predict. `veduta.load` makes one.

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
        """The `top_k` most probable labels of images: path, label, probability, label_2, ...

        Args:
            paths: files or folders. What cannot be read has no row; `attrs["rejected"]` lists it.
            top_k: how many labels an image.
            max_error: leave images to a person as far as an error as low as this asks for; the
                columns `confidence` and `abstained` say which.
        """
        given = read_images([paths] if isinstance(paths, (str, Path)) else paths)
        quiet = Console(quiet=True)
        found = prediction.predict(
            self._classifier, given, top_k=top_k, max_error=max_error, console=quiet
        )
        table = found.table.copy()
        table.attrs["rejected"] = [(r.name, r.problem, r.detail) for r in found.rejected]
        return table

    def evaluate(self, data: str | Path) -> Evaluation:
        """How the classifier does on labelled images that it has not seen."""
        return judged(self._classifier, data, Console(quiet=True))

    def _repr_html_(self) -> str:
        """The model as a notebook shows it: what it is, and its classes."""
        manifest = self._classifier.manifest
        size = manifest.preprocessing.image_size
        told = {
            "network": manifest.model,
            "classes": Markup(", ").join(map(named, self.classes)),
            "image size": f"{size} x {size} pixels",
            "engine": f"{manifest.engine}, {manifest.precision}",
            "temperature": f"{manifest.temperature:.3g}",
        }
        return facts("Image classifier", told)

    def __repr__(self) -> str:
        return f"Model({str(self._classifier.source)!r}, classes {', '.join(self.classes)})"


def judged(
    classifier: Classifier, data: str | Path, console: Console, *, max_error: float = MAX_ERROR
) -> Evaluation:
    """How a classifier does on the labelled images of a folder or a CSV file."""
    folder = read_folder(data, classes=classifier.classes)
    with usable_cache(console.warn) as cache:
        return evaluate(classifier, folder, cache=cache, console=console, max_error=max_error)
