"""Facts that a page shows, read from the directory of a run or an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from veduta.errors import InputError
from veduta.evaluation.abstention import compute_risk_coverage_curve
from veduta.evaluation.calibration import compute_reliability_diagram, softmax
from veduta.foundations.generalization import (
    find_overfitting_epoch,
    generalization_gap,
    overfits,
    underfits,
)
from veduta.foundations.stopping import optimal_epoch
from veduta.metrics.classification import compute_confusion_matrix, estimate_class_metrics
from veduta.reporting.pictures.embedding import Pictures, pictures_in
from veduta.reporting.pictures.media import table_of
from veduta.results.run import Run
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


MOST = 50


def rejected_of(directory: RunDirectory) -> dict[str, Any]:
    """The first files that were left out, each with the reason, and how many there are."""
    table = read_table(directory.rejected).fillna("")
    return {"rejected": records(table.head(MOST)), "all_rejected": len(table)}


LIMIT = 0.1  # the gap from which section 3 speaks of overfitting


def reading(epochs: pd.DataFrame, best_epoch: int) -> Sequence[str]:
    """Sentences about a training, from its epochs.

    Args:
        epochs: of one trial: epoch, and losses and accuracies of training and validation.
        best_epoch: the one that was kept.
    """
    best = epochs[epochs["epoch"] == best_epoch]
    train, validation = best["train_accuracy"].to_numpy()[0], best["val_accuracy"].to_numpy()[0]
    apart = generalization_gap(train, validation)
    told = [
        f"At epoch {best_epoch} of {len(epochs)}, which was kept, {train:.1%} of the training "
        f"images are right and {validation:.1%} of those that validate: "
        + (f"{100 * apart:.1f} points apart." if apart >= 0 else "training shows no advantage.")
    ]
    if underfits(train):
        told.append(
            "It underfits: not even the images that it learned from are described. A network that "
            "can do more, a higher rate or more epochs may help."
        )
    elif overfits(train, validation, limit=LIMIT):
        told.append(
            f"It overfits: validation is considerably lower, by more than {100 * LIMIT:.0f} points."
            " More images, augmentation, a penalty or dropout may help."
        )
    else:
        told.append(
            f"That is less than the {100 * LIMIT:.0f} points from which validation counts as "
            "considerably lower here, and the net as overfitted (section 3)."
        )
    return [*told, *_course(epochs)]


def _course(epochs: pd.DataFrame) -> Sequence[str]:
    """What the losses say of how long the training was."""
    losses = epochs["train_loss"].tolist(), epochs["val_loss"].tolist()
    if not epochs[["train_loss", "val_loss"]].notna().to_numpy().all():
        return []
    least, last = optimal_epoch(losses[1]), len(epochs)
    turned = find_overfitting_epoch(*losses)
    if turned is not None:
        told = f"After epoch {turned} only the training loss improves: the rest is memorised."
        return [told]
    if least == last and last > 1:
        return ["The validation loss was still falling when it ended: more epochs may help."]
    return []
