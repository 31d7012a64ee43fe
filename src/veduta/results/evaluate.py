"""Evaluate the model of a run on labeled images that it has not seen."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from veduta.data.folder import read_folder
from veduta.data.pixels import Rejection
from veduta.data.sample import Folder, Sample
from veduta.errors import InputError
from veduta.evaluation.abstention import MAX_ERROR, compute_risk_coverage_curve
from veduta.evaluation.assessment import (
    LabeledPredictions,
    estimate_metrics,
    record_estimate,
    summarize_abstention,
    summarize_calibration,
)
from veduta.evaluation.calibration import Temperature, compute_reliability_diagram, softmax
from veduta.evaluation.mistakes import select_confident_errors, tabulate_predictions
from veduta.explanation.gradcam import build_heat_map_function
from veduta.inference.classifier import Classifier, Scores, load_classifier
from veduta.metrics.classification import (
    Accuracy,
    compute_confusion_matrix,
    estimate_accuracy,
    estimate_class_metrics,
)
from veduta.reporting.pictures.media import PictureSource, select_media, write_media
from veduta.reporting.report import write_report
from veduta.runs.directory import (
    RUNS_FOLDER,
    RunDirectory,
    choose_output_path,
    create_run_directory,
    read_and_check_output,
)
from veduta.runs.summary import (
    Abstention,
    Calibration,
    EvaluationSummary,
    Metrics,
    TestResult,
    TestTimeAugmentation,
    write_summary,
)
from veduta.runs.tables import REJECTED, read_splits, write_confusion, write_rows, write_table
from veduta.runs.test_set import compute_fingerprint, record_evaluation
from veduta.runtime.disk import explain_write_errors
from veduta.runtime.environment import open_cache
from veduta.tracking.console import Console
from veduta.tracking.text import build_html_facts, build_html_table, format_estimate
from veduta.types import PixelArray

CLASS_METRICS = ("precision", "recall", "f1")


@final
@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of a model on labeled images.

    Attributes:
        run: run whose model was evaluated.
        accuracy: accuracy with its interval.
        metrics: all other metrics by name.
        calibration: effect of the model's temperature on these images.
        abstention: coverage and error at the confidence threshold for `max_error`.
        predictions: path, y_true, y_pred and probability, one row per image.
        mistakes: the incorrect predictions, the most confident first.
        per_class: precision, recall and F1 of each class, with intervals.
        areas: areas under the ROC and precision-recall curves of each class.
        reliability: accuracy by confidence.
        risk_coverage: error among accepted images for each fraction of accepted images.
        confusion: confusion matrix; rows are the true classes.
        samples: the images that were decoded.
        rejected: the files that cannot be decoded.
        images_seen_in_training: number of images on which the model was trained or selected.
        tta: test-time augmentation.
        previous_evaluations: how often these images and labels were evaluated before on this
            machine.
        directory: where the evaluation was written, if it was.
    """

    run: Path
    accuracy: Accuracy
    metrics: Metrics
    calibration: Calibration
    abstention: Abstention
    predictions: pd.DataFrame
    mistakes: pd.DataFrame
    per_class: pd.DataFrame
    areas: pd.DataFrame
    reliability: pd.DataFrame
    risk_coverage: pd.DataFrame
    confusion: pd.DataFrame
    samples: tuple[Sample, ...]
    rejected: tuple[Rejection, ...]
    images_seen_in_training: int
    tta: TestTimeAugmentation
    previous_evaluations: int
    directory: Path | None = None

    @property
    def summary(self) -> EvaluationSummary:
        """The content of summary.json."""
        return EvaluationSummary(
            run=str(self.run),
            test=TestResult(
                accuracy=record_estimate(self.accuracy),
                tta=self.tta,
                evaluations=1,
                previous_evaluations=self.previous_evaluations,
            ),
            metrics=self.metrics,
            calibration=self.calibration,
            abstention=self.abstention,
            images_seen_in_training=self.images_seen_in_training,
            rejected_files=len(self.rejected),
        )

    def _repr_html_(self) -> str:
        """Return the evaluation as a notebook shows it: accuracy, and metrics of each class."""
        accuracy = format_estimate(record_estimate(self.accuracy))
        rows = [
            (row["class"], row["images"], *(f"{row[name]:.3f}" for name in CLASS_METRICS))
            for _, row in self.per_class.iterrows()
        ]
        columns = ["class", "images", *CLASS_METRICS]
        return build_html_facts(
            "Evaluation", {"accuracy": accuracy, "rejected files": len(self.rejected)}
        ) + build_html_table(columns, rows, caption="by class")

    def __repr__(self) -> str:
        return f"Evaluation(accuracy {self.accuracy})"


def run_evaluation(
    run: Path, data: str | Path, *, max_error: float, out: str | Path | None, console: Console
) -> Evaluation:
    """Evaluate the model of a run, and write the evaluation and its report to a new directory.

    Args:
        run: run directory.
        data: labeled images.
        max_error: maximum error for which abstention is evaluated.
        out: the new directory; default `runs/evaluate-N`.
        console: shows progress.
    """
    output = choose_output_path(out, RUNS_FOLDER, "evaluate")
    classifier = read_and_check_output(output, lambda: load_classifier(run, warn=console.warn))
    evaluation = evaluate(classifier, data, console=console, max_error=max_error)
    directory = create_run_directory(output)
    with explain_write_errors(directory.path):
        _write_pictures(directory, evaluation, classifier)
        _write_evaluation(directory, evaluation)
    write_report(directory.path)
    return replace(evaluation, directory=directory.path)


def evaluate(
    classifier: Classifier, data: str | Path, *, console: Console, max_error: float = MAX_ERROR
) -> Evaluation:
    """Evaluate a model on the labeled images of a folder or a CSV file.

    The test split is evaluated where there is one, else all labeled images. Classes are matched by
    name.

    Args:
        classifier: the model.
        data: labeled images.
        console: shows progress.
        max_error: maximum error for which abstention is evaluated.

    Raises:
        InputError: the model does not know a label, or no image can be decoded.
    """
    folder = read_folder(data, classes=classifier.classes)
    samples = _select_samples(folder)
    _check_labels(classifier, folder, samples)
    with open_cache(console.warn) as cache:
        with console.stage("evaluating", "images") as advance:
            scores = classifier.score(samples, advance)
        if not scores.samples:
            raise InputError(
                f"an evaluation needs images that can be decoded; none of {len(samples)} can"
            )
        fingerprint = compute_fingerprint(scores.digests, [str(s.label) for s in scores.samples])
        previous = record_evaluation(cache, fingerprint, f"evaluate {classifier.source}")
    return _build_evaluation(classifier, scores, max_error, previous_evaluations=previous)


def _build_evaluation(
    classifier: Classifier, scores: Scores, max_error: float, *, previous_evaluations: int
) -> Evaluation:
    """Compute all metrics and tables of an evaluation from the logits."""
    classes, manifest = classifier.classes, classifier.manifest
    y_true = np.array([classes.index(str(s.label)) for s in scores.samples], dtype=np.int64)
    predictions = LabeledPredictions(
        [sample.name for sample in scores.samples],
        scores.digests,
        y_true,
        scores.logits,
        classes,
        manifest.temperature,
    )
    y_pred, correct, confidence = predictions.y_pred, predictions.correct, predictions.confidence
    seed = manifest.settings.seed
    metrics, areas = estimate_metrics(predictions, seed=seed)
    table = tabulate_predictions(predictions.paths, y_true, softmax(scores.logits), classes)
    seen_in_training = _load_training_digests(classifier.source)
    return Evaluation(
        run=classifier.source,
        accuracy=estimate_accuracy(y_true, y_pred),
        metrics=metrics,
        calibration=summarize_calibration(
            Temperature(manifest.temperature, 0), predictions, seed=seed
        ),
        abstention=summarize_abstention(manifest.error_bounds, predictions, max_error=max_error),
        predictions=table.drop(columns="probability_of_true"),
        mistakes=select_confident_errors(table),
        per_class=estimate_class_metrics(y_true, y_pred, classes, seed=seed),
        areas=areas,
        reliability=compute_reliability_diagram(correct, confidence),
        risk_coverage=compute_risk_coverage_curve(correct, confidence),
        confusion=compute_confusion_matrix(y_true, y_pred, classes),
        samples=scores.samples,
        rejected=scores.rejected,
        images_seen_in_training=sum(digest in seen_in_training for digest in scores.digests),
        tta=manifest.tta,
        previous_evaluations=previous_evaluations,
    )


def _select_samples(folder: Folder) -> list[Sample]:
    """Return the samples of the test split; without one, all labeled samples."""
    test = [sample for sample in folder.samples if sample.split == "test"]
    return test or [sample for sample in folder.samples if sample.label is not None]


def _check_labels(classifier: Classifier, folder: Folder, samples: Sequence[Sample]) -> None:
    """Check that there are images and that the model knows all their labels.

    Raises:
        InputError: there are none, or it does not.
    """
    if not samples:
        raise InputError(f"an evaluation needs labeled images; {folder.root} has none")
    unknown = sorted({str(sample.label) for sample in samples} - set(classifier.classes))
    if unknown:
        raise InputError(
            f"labels must be among the model's classes ({', '.join(classifier.classes)}); "
            f"got {', '.join(map(repr, unknown))}: rename the folders, or leave them out"
        )


def _load_training_digests(run: Path) -> set[str]:
    """Return the digests of the images on which a model was trained or selected.

    They are empty if the model was moved away from its run.
    """
    directory = RunDirectory(run.parent if run.name == "model" else run)
    if not directory.splits.is_file():
        return set()
    splits = read_splits(directory.splits)
    return set(splits.loc[splits["split"].isin(["train", "validation"]), "sha256"])


def _write_evaluation(directory: RunDirectory, evaluation: Evaluation) -> None:
    """Write the tables of an evaluation and summary.json."""
    tables = {
        directory.predictions: evaluation.predictions,
        directory.mistakes: evaluation.mistakes,
        directory.per_class: evaluation.per_class,
        directory.areas: evaluation.areas,
        directory.reliability: evaluation.reliability,
        directory.risk_coverage: evaluation.risk_coverage,
    }
    for path, table in tables.items():
        write_table(path, table)
    write_confusion(directory.confusion, evaluation.confusion)
    write_rows(directory.rejected, REJECTED, map(astuple, evaluation.rejected))
    write_summary(directory.summary, evaluation.summary)


def _write_pictures(
    directory: RunDirectory, evaluation: Evaluation, classifier: Classifier
) -> None:
    """Decode the images that the report shows once more, and write their pictures."""
    sample_by_path = {sample.name: sample for sample in evaluation.samples}

    def load_pixels(paths: Sequence[str]) -> tuple[PixelArray, Sequence[str]]:
        pixels, decoded = [], []
        samples = [sample_by_path[path] for path in paths]
        for image in classifier.decode(samples):
            if not isinstance(image, Rejection):
                pixels.append(image.pixels)
                decoded.append(image.sample.name)
        side = classifier.resize.size
        return np.stack(pixels) if pixels else np.empty((0, side, side, 3), np.uint8), decoded

    selection = select_media(evaluation.predictions, classifier.classes)
    heat_maps = build_heat_map_function(classifier.backbone, classifier.head)
    write_media(directory.media, selection, PictureSource(load_pixels, *heat_maps))
