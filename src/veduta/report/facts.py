"""What a page shows of a judged model, whether a run or an evaluation wrote it down."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from veduta.errors import InputError
from veduta.evaluation.abstention import compute_risk_coverage_curve
from veduta.evaluation.calibration import compute_reliability_diagram, softmax
from veduta.experiment.result import Run
from veduta.experiment.shown import table_of
from veduta.metrics.classification import compute_confusion_matrix, estimate_class_metrics
from veduta.report.pictures import Pictures, pictures_in
from veduta.runs.directory import RunDirectory

EXACT: Any = {"keep_default_na": False, "na_values": [""]}
"""How a table that we wrote is read: a class called `nan` is one."""

TEXT = ("path", "truth", "label", "class", "problem", "detail", "action")


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """Images that judged a model, and what came of it.

    Attributes:
        judged_on: which images, in words.
        classes: their names.
        images: a row an image: path, truth, label, probability (of the label).
        confusion: counts; rows are the truth.
        per_class: precision, recall and F1 of each, with intervals.
        reliability: confidence and accuracy by bin, by temperature ("before", "after").
        risk_coverage: the error left at every share of images accepted.
        calibration, abstain: as summary.json has them.
        pictures: of the images.
    """

    judged_on: str
    classes: tuple[str, ...]
    images: pd.DataFrame
    confusion: pd.DataFrame
    per_class: pd.DataFrame
    reliability: Mapping[str, pd.DataFrame]
    risk_coverage: pd.DataFrame
    calibration: Mapping[str, Any]
    abstain: Mapping[str, Any]
    pictures: Pictures


def facts_of_run(run: Run, *, seed: int) -> Facts:
    """From the scores of a run."""
    judged = run.judgement.test or run.judgement.validation
    truth, predicted, classes = judged.y_true, judged.y_pred, judged.classes
    raw = softmax(judged.logits).max(1, initial=0.0)
    return Facts(
        "test" if run.judgement.test else "validation",
        classes,
        table_of(judged),
        compute_confusion_matrix(truth, predicted, classes),
        estimate_class_metrics(truth, predicted, classes, seed=seed),
        {
            "before": compute_reliability_diagram(judged.correct, raw),
            "after": compute_reliability_diagram(judged.correct, judged.confidence),
        },
        compute_risk_coverage_curve(judged.correct, judged.confidence),
        calibration=run.summary["calibration"],
        abstain=run.summary["abstain"],
        pictures=pictures_in(run.directory.media),
    )


def facts_of_evaluation(directory: RunDirectory, summary: Mapping[str, Any]) -> Facts:
    """From the tables of an evaluation."""
    counts = read_table(directory.confusion).set_index("truth").astype(np.int64)
    counts.columns = counts.index  # a class may be called truth, too
    return Facts(
        "judged",
        tuple(counts.index),
        read_table(directory.predictions),
        counts,
        read_table(directory.per_class),
        {"after": read_table(directory.reliability)},
        read_table(directory.risk_coverage),
        calibration=summary["calibration"],
        abstain=summary["abstain"],
        pictures=pictures_in(directory.media),
    )


def read_table(path: Path) -> pd.DataFrame:
    """A table that we wrote, as it was.

    Raises:
        InputError: it is missing or damaged.
    """
    text = dict.fromkeys(TEXT, str)
    try:
        table: pd.DataFrame = pd.read_csv(
            path, dtype=text, encoding_errors="surrogateescape", **EXACT
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"a report is drawn from the tables of its directory; {path} cannot be read ({error}): "
            "restore it, or run the command again"
        ) from error
    return table


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Its rows, each by the names of the columns."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
