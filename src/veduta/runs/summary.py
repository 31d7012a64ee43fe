"""The content of `summary.json`, one model per command.

A metric that could not be measured has the value None. The last event of a finished run,
`runs.events.RunFinished`, contains the same `Summary`, so that `summary.json` can be written again
from the journal alone.
"""

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, TypeAdapter

from veduta.errors import InputError
from veduta.runs.provenance import (
    FORMAT,
    DataSummary,
    EngineChoice,
    Record,
    SettingValue,
    describe_parse_error,
)
from veduta.runtime.disk import write_json

TestTimeAugmentation = Literal["none", "flip"]


# building blocks


class Estimate(Record):
    """A metric with its 95 % interval and the number of images it was measured on."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    images: int

    @property
    def measured(self) -> bool:
        """Return whether there is a value."""
        return self.value is not None


Metrics = dict[str, Estimate]
"""Metrics by name, such as `macro_f1`."""


class CorrectedAccuracy(Record):
    """Accuracy of the winner corrected for the selection among trials, with its 95 % interval.

    `optimism` is the validation accuracy minus `value`.
    """

    value: float
    low: float
    high: float
    optimism: float


class EngineAgreement(Record):
    """Largest deviation of the engine's features from those of PyTorch in float32."""

    reference: str
    images: int
    max_relative_difference: float
    min_cosine_similarity: float


# results of a run


class Winner(Record):
    """The selected trial.

    Attributes:
        trial: its id.
        hyperparameters: all hyperparameters; those without effect on this trial are None.
        varied: those that differ between the trials of the run.
        best_epoch: the first epoch with the highest validation accuracy.
        refit: whether the model was retrained on training and validation images.
    """

    trial: str
    hyperparameters: dict[str, SettingValue]
    varied: dict[str, SettingValue]
    best_epoch: int
    refit: bool

    @property
    def trains_backbone(self) -> bool:
        """Return whether the trial trained layers of the backbone besides the head."""
        return self.hyperparameters["freeze"] != "all"


class HalvingRound(Record):
    """A round of successive halving: number of trials, and the epoch up to which they train."""

    trials: int
    epochs: int


class Halving(Record):
    """The rounds of successive halving."""

    reduction_factor: int
    rounds: tuple[HalvingRound, ...]


class TestResult(Record):
    """Result on the held-out test set.

    Attributes:
        accuracy: accuracy on all test images; without a value if none could be decoded.
        accuracy_without_conflicts: accuracy without the images that are identical to an image
            with another label; None if there are none.
        tta: test-time augmentation.
        evaluations: how often this run evaluated the test set; 0 if it has no images.
        previous_evaluations: evaluations of the same images and labels by other runs on this
            machine.
    """

    __test__: ClassVar[bool] = False  # pytest would collect the class

    accuracy: Estimate
    accuracy_without_conflicts: Estimate | None = None
    tta: TestTimeAugmentation
    evaluations: int
    previous_evaluations: int


class Calibration(Record):
    """Temperature scaling and its effect.

    Attributes:
        temperature: divisor of the logits.
        images: number of images it was fitted on.
        reason: why the temperature is 1; None if it was fitted.
        before, after: log loss, Brier score and calibration errors on the test images at
            temperature 1 and at `temperature`; None without test images.
    """

    temperature: float
    images: int
    reason: str | None = None
    before: Metrics | None = None
    after: Metrics | None = None


class AcceptedImages(Record):
    """Fraction of images that a confidence threshold accepts, and the error among them."""

    coverage: Estimate
    error: Estimate


class AcceptedOnValidation(AcceptedImages):
    """The same on validation, with a 95 % error bound that holds for all thresholds at once."""

    error_upper_bound: float


class Abstention(Record):
    """The confidence threshold that keeps the error below `max_error`.

    Attributes:
        max_error: requested upper bound of the error.
        threshold: lowest threshold that meets `max_error` on validation; None if there is none.
        validation: coverage and error on the validation images.
        test: coverage and error on the test images, or on the evaluated ones.
        reason: why there is no threshold; None if there is one.
    """

    max_error: float
    threshold: float | None = None
    validation: AcceptedOnValidation | None = None
    test: AcceptedImages | None = None
    reason: str | None = None


class RowCounts(Record):
    """Numbers of decoded images and of feature vectors."""

    pixels: int
    features: int


class Durations(Record):
    """Seconds per stage; `total` contains the others."""

    pixels: float
    features: float
    training: float
    total: float

    @classmethod
    def rounded(cls, *, pixels: float, features: float, training: float, total: float) -> Self:
        """Return durations rounded to milliseconds."""
        return cls(
            pixels=round(pixels, 3),
            features=round(features, 3),
            training=round(training, 3),
            total=round(total, 3),
        )


class Summary(Record):
    """`summary.json` of `veduta search` or `veduta train`.

    Attributes:
        folds: number of cross-validation folds; None for one validation split.
        validation_accuracy: accuracy of the winner at its best epoch, by which it was selected.
        corrected_accuracy: the same, corrected for selection; None with too few images.
        tied_trials: ids of the trials that do not differ significantly from the winner.
        trial_count: number of distinct trials.
        grid_cells: number of grid cells; cells that differ in unused settings are one trial.
        failed_trials: number of trials that failed.
        strict: whether rejected files and data errors make the command exit with code 3.
        resume_count: how often the run was resumed.
        metrics: further metrics on the test images; None without test images.
        label_issue_count: number of suspicious labels, found by cross-validation; None without
            folds.
        engine_agreement: deviation from the reference engine; None if the engine is the reference,
            or no feature was computed.
        rows_from_cache, rows_computed: numbers of decoded images and feature vectors that were
            read from the cache, and that were computed.
    """

    format: Literal[1] = FORMAT
    command: Literal["search", "train"]
    winner: Winner
    folds: int | None = None
    halving: Halving | None = None
    validation_accuracy: Estimate
    corrected_accuracy: CorrectedAccuracy | None = None
    tied_trials: tuple[str, ...]
    trial_count: int
    grid_cells: int
    failed_trials: int
    strict: bool
    resume_count: int
    test: TestResult
    metrics: Metrics | None = None
    calibration: Calibration
    abstention: Abstention
    label_issue_count: int | None = None
    data: DataSummary
    engine: EngineChoice
    engine_agreement: EngineAgreement | None = None
    rows_from_cache: RowCounts
    rows_computed: RowCounts
    seconds: Durations


# results of the other commands


class EvaluationSummary(Record):
    """`summary.json` of `veduta evaluate`."""

    format: Literal[1] = FORMAT
    command: Literal["evaluate"] = "evaluate"
    run: str
    test: TestResult
    metrics: Metrics
    calibration: Calibration
    abstention: Abstention
    images_seen_in_training: int
    rejected_files: int


class PredictionSummary(Record):
    """`summary.json` of `veduta predict`; the last four fields are None without `max_error`."""

    format: Literal[1] = FORMAT
    command: Literal["predict"] = "predict"
    run: str
    images: int
    rejected_files: int
    labels: dict[str, int]
    max_error: float | None = None
    threshold: float | None = None
    temperature: float | None = None
    abstained: int | None = None


class ComparedRun(Record):
    """One of the two runs of a comparison."""

    run: str
    accuracy: Estimate
    macro_f1: Estimate


class Agreement(Record):
    """Number of images for which both runs, only one, or neither is correct."""

    both_correct: int
    only_first_correct: int
    only_second_correct: int
    both_wrong: int


class ComparisonSummary(Record):
    """`summary.json` of `veduta compare`; `differences` are second minus first."""

    format: Literal[1] = FORMAT
    command: Literal["compare"] = "compare"
    runs: tuple[ComparedRun, ComparedRun]
    differences: Metrics
    mcnemar_p_value: float
    images: Agreement


class ExplanationSummary(Record):
    """`summary.json` of `veduta explain`."""

    format: Literal[1] = FORMAT
    command: Literal["explain"] = "explain"
    run: str
    method: Literal["gradcam", "occlusion"]
    target: str | None = None
    layer: str | None = None
    images: int
    rejected_files: int


class SuggestedRates(Record):
    """Suggested learning rates: at the steepest fall, and a tenth of that at the lowest loss."""

    steepest: float
    tenth_of_minimum: float


class RangeTestSummary(Record):
    """`summary.json` of `veduta lr-find`."""

    format: Literal[1] = FORMAT
    command: Literal["lr-find"] = "lr-find"
    suggestion: SuggestedRates | None = None
    steps: int
    images: int


AnySummary = (
    Summary
    | EvaluationSummary
    | PredictionSummary
    | ComparisonSummary
    | ExplanationSummary
    | RangeTestSummary
)

_ANY: TypeAdapter[AnySummary] = TypeAdapter(Annotated[AnySummary, Field(discriminator="command")])


def write_summary(path: Path, summary: Record) -> None:
    """Write a summary as indented JSON, in the order of its fields."""
    write_json(path, summary.to_json_content())


def read_summary(path: Path) -> AnySummary:
    """Return the summary of any command.

    Raises:
        InputError: the file is missing or damaged, or was not written by Veduta.
    """
    try:
        return _ANY.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:  # a ValidationError is a ValueError
        raise InputError(
            f"a finished directory must have the summary.json that was written there; {path}: "
            f"{describe_parse_error(error)}: restore it, or let `veduta rebuild` write it again"
        ) from error


def read_run_summary(path: Path) -> Summary:
    """Return the summary of `veduta search` or `veduta train`.

    Raises:
        InputError: as for `read_summary`, or the directory was written by another command.
    """
    summary = read_summary(path)
    if not isinstance(summary, Summary):
        raise InputError(
            f"a run of `veduta search` or `veduta train` is needed; {path.parent} was written by "
            f"`veduta {summary.command}`: give the directory of a run"
        )
    return summary
