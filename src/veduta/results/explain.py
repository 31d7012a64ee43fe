"""What the model of a run looks at, written down: a table, pictures, and what could not be read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from veduta.data.folder import read_images
from veduta.data.pixels import Rejection
from veduta.experiment.record import write_rejected
from veduta.inference.classifier import load_classifier
from veduta.inference.explainer import Explained, Explainer, Question
from veduta.runs.directory import Place, checked, create
from veduta.runs.files import expect_room, write_json
from veduta.tracking.console import Console
from veduta.tracking.tables import rows_to_csv

COLUMNS = ("path", "label", "probability", "target", "overlay")

Draw = Callable[[Path, Explainer, Iterator[Explained]], None]
"""Draws each answer as it comes, and what belongs to all of them, into a directory."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a model looks at in images, and where the pictures of it are.

    Attributes:
        run: whose model it is.
        question: what was asked.
        layer: the module whose maps were looked at, or None.
        table: path, label, probability, target and overlay, a DataFrame; a row an image.
        rejected: the files that could not be read.
        directory: of `explain.png`, `explanations.csv` and the overlays.
    """

    run: Path
    question: Question
    layer: str | None
    table: pd.DataFrame
    rejected: tuple[Rejection, ...]
    directory: Path

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json holds."""
        return {
            "command": "explain",
            "run": str(self.run),
            "method": self.question.method,
            "target": self.question.target,
            "layer": self.layer,
            "images": len(self.table),
            "rejected": len(self.rejected),
        }


def explain(
    path: str | Path,
    images: Sequence[str | Path],
    question: Question,
    place: Place,
    *,
    draw: Draw,
    console: Console,
) -> Explanation:
    """Ask the model of a run about every image; write down what it says in a new directory.

    Args:
        path: the run directory.
        images: files, or folders of images; what is given twice is answered twice.
        question: what is asked.
        place: where the new directory shall stand.
        draw: what makes pictures of the answers.
        console: shows progress.

    Raises:
        ArtefactError: no model there, or it is damaged.
        InputError: the question does not fit the model, there are no such images, or the directory
            cannot be made.
        VedutaError: it has no room.
    """
    explainer = checked(
        place, lambda: Explainer(load_classifier(Path(path), warn=console.warn), question)
    )
    samples = read_images(images)
    directory = create(place)
    rows: list[tuple[object, ...]] = []
    rejected: list[Rejection] = []

    def answers() -> Iterator[Explained]:
        for done, one in enumerate(explainer.answers(samples), start=1):
            if isinstance(one, Rejection):
                rejected.append(one)
            else:
                rows.append((one.sample.name, one.label, one.probability, one.target, one.overlay))
                yield one
            advance(done, len(samples))

    with expect_room(directory.path):
        with console.stage("explaining", "images") as advance:
            draw(directory.path, explainer, answers())
        rows_to_csv(directory.explanations, COLUMNS, rows)
        write_rejected(directory, rejected)
        found = Explanation(
            explainer.classifier.source,
            explainer.question,
            explainer.layer.name if explainer.layer else None,
            pd.DataFrame(rows, columns=list(COLUMNS)),
            rejected=tuple(rejected),
            directory=directory.path,
        )
        write_json(directory.summary, found.summary)
    return found
