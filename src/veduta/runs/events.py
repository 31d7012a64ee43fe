"""The events of a run's journal: one class per kind, distinguished by the field `event`.

Everything that is derived from a journal (tables, curves, summary) is computed from these objects,
filtered by class with `events_of_type`. `runs.journal` reads and writes the lines of the file.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from veduta.errors import InputError
from veduta.runs.provenance import FORMAT, Configuration, Provenance, Record, SettingValue
from veduta.runs.summary import Summary

Hyperparameters = dict[str, SettingValue]


class JournalEvent(Record):
    """Base class of all events; `event` is the first field of every line."""

    event: str


class TrialEvent(JournalEvent):
    """Base class of the events of one trial."""

    trial: str


class RunStarted(JournalEvent):
    """The first event of every run; `data_path` is the absolute path that the user gave."""

    event: Literal["run_started"] = "run_started"
    format: int = FORMAT
    pid: int
    data_path: str
    provenance: Provenance
    configuration: Configuration


class RunResumed(JournalEvent):
    """A later process continues the run; `configuration` is None if it did not change."""

    event: Literal["run_resumed"] = "run_resumed"
    format: int = FORMAT
    pid: int
    versions: dict[str, str]
    backbones: dict[str, str]
    configuration: Configuration | None = None


class ImageListsWritten(JournalEvent):
    """Content of `splits.csv` and `rejected.csv`; written again only if it changed."""

    event: Literal["image_lists_written"] = "image_lists_written"
    files: dict[str, str]


class MemoryPlanned(JournalEvent):
    """Memory that training is expected to take, in bytes.

    `in_use` is the memory of the process before training, `planned` that of the concurrent tiles
    and of all results, `allowed` the limit for all tiles.
    """

    event: Literal["memory_planned"] = "memory_planned"
    in_use: int
    trials: int
    groups: int
    tiles: int
    concurrent_tiles: int
    planned: int
    largest_tile: int
    allowed: int


class ExecutionConfigured(JournalEvent):
    """Threads and autocast dtype of trials that train a backbone; resume keeps them.

    `step_seconds` are the measured durations of a training step by dtype (`amp=auto`).
    """

    event: Literal["execution_configured"] = "execution_configured"
    threads: int
    autocast: Literal["f32", "bf16"]
    step_seconds: dict[str, float] = Field(default_factory=dict)


class RunFinished(JournalEvent):
    """The run finished; `summary` is the content of `summary.json`."""

    event: Literal["run_finished"] = "run_finished"
    summary: Summary


class ProcessCrashed(JournalEvent):
    """The previous process crashed in native code while these trials were training."""

    event: Literal["process_crashed"] = "process_crashed"
    reason: str
    trials: list[str]


class SearchPlanned(JournalEvent):
    """Ids of all trials in canonical order, and the groups that share their features."""

    event: Literal["search_planned"] = "search_planned"
    trials: list[str]
    groups: list[list[str]]


class TilesPlanned(JournalEvent):
    """New tiles: each lists the trials that train together, or one that trains alone."""

    event: Literal["tiles_planned"] = "tiles_planned"
    tiles: list[list[str]]


class TrialStarted(TrialEvent):
    """A trial starts, or starts again from its first epoch or its last checkpoint."""

    event: Literal["trial_started"] = "trial_started"
    hyperparameters: Hyperparameters


class Histogram(Record):
    """Weights of one layer in buckets of equal width from `low` to `high`."""

    low: float
    high: float
    counts: list[int]
    sum: float
    sum_of_squares: float


class EpochFinished(TrialEvent):
    """Metrics of one epoch, in evaluation mode on plain images.

    Attributes:
        epoch: number of the epoch, from 1.
        current_lr: learning rate of the last step.
        seconds: duration of the epoch; for a fused tile, the share of one trial.
        gradient_norm: mean over the steps; None in the fused executor.
        weight_histograms: by layer; None if only the head is trained.
        time: seconds since 1970.
    """

    event: Literal["epoch_finished"] = "epoch_finished"
    epoch: int
    current_lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    gradient_norm: float | None = None
    weight_histograms: dict[str, Histogram] | None = None
    time: float


class TrialPaused(TrialEvent):
    """A trial ended its round of successive halving; it may continue in the next round."""

    event: Literal["trial_paused"] = "trial_paused"


class TileCompacted(JournalEvent):
    """Trials that ended were removed from a fused tile; `trials` are the remaining ones."""

    event: Literal["tile_compacted"] = "tile_compacted"
    epoch: int
    trials: list[str]


class TrialEnded(TrialEvent):
    """Base class of both ways in which a trial ends."""

    time: float


class TrialFinished(TrialEnded):
    """A trial ended normally; the metrics are those of its best epoch.

    Attributes:
        end_reason: why it ended: all epochs, a stopping rule, or not promoted by halving.
        epochs_trained: number of epochs.
        best_epoch: the first epoch with the highest validation accuracy.
        seconds: sum over the epochs.
        cost: trained parameters times epochs; breaks ties.
        val_correct, val_images: correct predictions at the best epoch, of how many images.
        weights_sha256: SHA-256 of its weights file; None if it was not the best trial so far.
    """

    event: Literal["trial_finished"] = "trial_finished"
    end_reason: Literal["epochs", "patience", "stop_gap", "stop_at", "halving"]
    epochs_trained: int
    best_epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    cost: int
    val_correct: int
    val_images: int
    weights_sha256: str | None = None


class TrialFailed(TrialEnded):
    """A trial failed: `cause` is the kind of failure, `reason` the message for people."""

    event: Literal["trial_failed"] = "trial_failed"
    cause: Literal["diverged", "memory", "hung", "raised", "crashed"]
    reason: str


class HalvingRoundFinished(JournalEvent):
    """A round of successive halving: `promoted` lists the trials of `candidates` that continue."""

    event: Literal["halving_round_finished"] = "halving_round_finished"
    round: int
    candidates: int
    promoted: list[str]


class WinnerSelected(JournalEvent):
    """The best trial on validation, and those that do not differ significantly from it."""

    event: Literal["winner_selected"] = "winner_selected"
    winner: str
    tied_trials: list[str]


class TestEvaluationStarted(JournalEvent):
    """The test set is about to be evaluated; `token` identifies the evaluation in the ledger."""

    __test__: ClassVar[bool] = False  # pytest would collect the class

    event: Literal["test_evaluation_started"] = "test_evaluation_started"
    token: str


class TestEvaluated(JournalEvent):
    """The test set was evaluated once more.

    Attributes:
        fingerprint: SHA-256 over content and label of its images.
        previous_evaluations: by other runs on this machine.
    """

    __test__: ClassVar[bool] = False  # pytest would collect the class

    event: Literal["test_evaluated"] = "test_evaluated"
    fingerprint: str
    previous_evaluations: int


Event: TypeAlias = (
    RunStarted
    | RunResumed
    | ImageListsWritten
    | MemoryPlanned
    | ExecutionConfigured
    | SearchPlanned
    | TilesPlanned
    | TrialStarted
    | EpochFinished
    | TrialPaused
    | TileCompacted
    | TrialFinished
    | TrialFailed
    | HalvingRoundFinished
    | ProcessCrashed
    | WinnerSelected
    | TestEvaluationStarted
    | TestEvaluated
    | RunFinished
)

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])

Kind = TypeVar("Kind", bound=JournalEvent)


def parse_event(content: Mapping[str, object]) -> Event:
    """Return the event that a JSON object describes.

    Raises:
        ValidationError: it is no event of this version.
    """
    return _EVENT.validate_python(dict(content))


def parse_event_json(text: bytes) -> Event:
    """Return the event of a JSON text.

    Raises:
        ValueError: it is no JSON, or no event of this version (a ValidationError).
    """
    try:
        return _EVENT.validate_json(text)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid":
            raise
        return parse_event(json.loads(text))  # a file name that is not UTF-8, or no JSON


def event_to_json(event: JournalEvent) -> str:
    """Return an event as JSON on one line, without fields that are None.

    NaN and infinity are written as strings, which the float fields read back. File names that are
    not UTF-8 (surrogates) are written as escapes, which only Python's own encoder can do.
    """
    try:
        return event.model_dump_json(exclude_none=True)
    except PydanticSerializationError:
        content = event.to_json_content(exclude_none=True)
        return json.dumps(content, separators=(",", ":"), allow_nan=False)


def events_of_type(events: Iterable[JournalEvent], kind: type[Kind]) -> list[Kind]:
    """Return the events of one class, in the order of the journal.

    >>> events_of_type([TrialPaused(trial="a"), TilesPlanned(tiles=[])], TrialPaused)[0].trial
    'a'
    """
    return [event for event in events if isinstance(event, kind)]


def last_event(events: Sequence[JournalEvent], kind: type[Kind]) -> Kind | None:
    """Return the last event of one class, or None."""
    return next((event for event in reversed(events) if isinstance(event, kind)), None)


def latest_attempts(events: Sequence[Event]) -> list[Event]:
    """Return the events without those of trials that were started again later.

    >>> start = TrialStarted(trial="t", hyperparameters={})
    >>> len(latest_attempts([start, TrialPaused(trial="t"), start, TrialPaused(trial="t")]))
    2
    """
    starts = {event.trial: n for n, event in enumerate(events) if isinstance(event, TrialStarted)}
    return [
        event
        for n, event in enumerate(events)
        if not isinstance(event, TrialEvent) or n >= starts.get(event.trial, 0)
    ]


def run_start(events: Sequence[Event]) -> RunStarted:
    """Return the first event of a run.

    Raises:
        InputError: the process ended before it was written.
    """
    if not events or not isinstance(events[0], RunStarted):
        raise InputError(
            "a journal must begin with the start of a run; it does not: start a new run"
        )
    return events[0]


def has_finished(events: Sequence[Event]) -> bool:
    """Return whether the run finished and was not extended or continued since."""
    return bool(events) and isinstance(events[-1], RunFinished)


def final_summary(events: Sequence[Event]) -> Summary | None:
    """Return the summary of the last time that the run finished, or None."""
    finished = last_event(events, RunFinished)
    return finished.summary if finished else None


def configurations(events: Iterable[Event]) -> list[Configuration]:
    """Return the configuration of the start of a run, and that of each extension."""
    starts = (event for event in events if isinstance(event, (RunStarted, RunResumed)))
    return [start.configuration for start in starts if start.configuration is not None]


def planned_trials(events: Sequence[Event]) -> list[str]:
    """Return the trial ids of the last plan in canonical order; empty before the first plan."""
    plan = last_event(events, SearchPlanned)
    return plan.trials if plan else []
