"""Explain the predictions of the model of a run: heat maps, and a table of their targets."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import final

import pandas as pd

from veduta.data.folder import read_images
from veduta.data.pixels import Rejection
from veduta.inference.classifier import load_classifier
from veduta.inference.explainer import Explainer, ExplanationOptions, ImageExplanation
from veduta.reporting.pictures.heat_maps import write_explanation_pictures
from veduta.runs.directory import (
    RUNS_FOLDER,
    choose_output_path,
    create_run_directory,
    read_and_check_output,
)
from veduta.runs.summary import ExplanationSummary, write_summary
from veduta.runs.tables import EXPLANATIONS, REJECTED, write_rows
from veduta.runtime.disk import explain_write_errors
from veduta.tracking.console import Console


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """Explanations of the predictions for a set of images, and the directory of their heat maps.

    Attributes:
        run: run whose model is explained.
        options: method and target of the explanation.
        layer: module whose feature maps were used; None if the method uses none.
        table: columns path, label, probability, target and overlay; one row per image.
        rejected: the files that cannot be decoded.
        directory: holds `explain.png`, `explanations.csv` and the overlays.
    """

    run: Path
    options: ExplanationOptions
    layer: str | None
    table: pd.DataFrame
    rejected: tuple[Rejection, ...]
    directory: Path

    @property
    def summary(self) -> ExplanationSummary:
        """The content of summary.json."""
        return ExplanationSummary(
            run=str(self.run),
            method=self.options.method,
            target=self.options.target,
            layer=self.layer,
            images=len(self.table),
            rejected_files=len(self.rejected),
        )


def run_explanation(
    run: Path,
    images: Sequence[str | Path],
    options: ExplanationOptions,
    *,
    out: str | Path | None,
    console: Console,
) -> Explanation:
    """Explain the prediction of a model for each image, and write heat maps to a new directory.

    Args:
        run: run directory.
        images: files, or folders of images; an image that is given twice is explained twice.
        options: method and target of the explanation.
        out: the new directory; default `runs/explain-N`.
        console: shows progress.

    Raises:
        ArtifactError: there is no model, or it is damaged.
        InputError: the model does not support the options, the images do not exist, or the
            directory cannot be created.
        VedutaError: the disk is full.
    """
    output = choose_output_path(out, RUNS_FOLDER, "explain")
    explainer = read_and_check_output(
        output, lambda: Explainer(load_classifier(run, warn=console.warn), options)
    )
    samples = read_images(images)
    directory = create_run_directory(output)
    rows: list[tuple[object, ...]] = []
    rejected: list[Rejection] = []

    def explain_images() -> Iterator[ImageExplanation]:
        for count, answer in enumerate(explainer.explain(samples), start=1):
            if isinstance(answer, Rejection):
                rejected.append(answer)
            else:
                label, target = answer.label, answer.target
                rows.append((answer.sample.name, label, answer.probability, target, answer.overlay))
                yield answer
            advance(count, len(samples))

    with explain_write_errors(directory.path):
        with console.stage("explaining", "images") as advance:
            write_explanation_pictures(directory.path, explainer, explain_images())
        write_rows(directory.explanations, EXPLANATIONS, rows)
        write_rows(directory.rejected, REJECTED, map(astuple, rejected))
        explanation = Explanation(
            explainer.classifier.source,
            explainer.options,
            explainer.layer.name if explainer.layer else None,
            pd.DataFrame(rows, columns=list(EXPLANATIONS)),
            rejected=tuple(rejected),
            directory=directory.path,
        )
        write_summary(directory.summary, explanation.summary)
    return explanation
