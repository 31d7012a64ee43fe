"""Files of a run that are derived from its journal, and files that also need the images.

Tables, summary and TensorBoard curves can be written again from the journal, byte for byte. Scores,
model and pictures cannot; only resuming the run recreates them. They belong to one winner; if the
journal names another winner, they are treated as missing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import yaml

from veduta.config.parsing import PROVENANCE
from veduta.evaluation.winner_assessment import assess_winner
from veduta.reporting.pictures.media import INDEX, is_media_complete
from veduta.runs.artifact import find_model
from veduta.runs.directory import RunDirectory
from veduta.runs.events import (
    EpochFinished,
    Event,
    ImageListsWritten,
    TrialEnded,
    TrialEvent,
    TrialFinished,
    TrialStarted,
    configurations,
    events_of_type,
    final_summary,
    has_finished,
    last_event,
    latest_attempts,
    planned_trials,
    run_start,
)
from veduta.runs.provenance import Configuration, Provenance
from veduta.runs.scores import find_test_scores, find_validation_scores
from veduta.runs.summary import Summary
from veduta.runs.tables import table_to_csv
from veduta.runtime.disk import encode_json
from veduta.tracking.tables import build_epochs_table, build_trials_table
from veduta.tracking.tensorboard import PICTURES, unify_hyperparameter_types

IMAGE_LISTS = ("splits.csv", "rejected.csv")
"""Lists of images; the journal contains the text of these files."""


@final
@dataclass(frozen=True, slots=True)
class DerivedFile:
    """A file that can be rebuilt from the journal.

    Attributes:
        name: path below the directory of the run.
        build: returns its content; the files that it is derived from must exist.
    """

    name: str
    build: Callable[[], bytes]


@final
@dataclass(frozen=True, slots=True)
class TrialCurves:
    """Hyperparameters and events of a trial, from which its TensorBoard curves are written."""

    hyperparameters: Mapping[str, float | str]
    events: list[TrialEvent]


def list_derived_files(directory: RunDirectory, events: Sequence[Event]) -> Iterator[DerivedFile]:
    """Yield the derived files of a run except its report, each after those it is derived from.

    Args:
        directory: directory of the run; with folds, `label_issues.csv` is built from its scores.
        events: events of its journal.
    """
    config = format_config(configurations(events)[-1], run_start(events).provenance)
    yield DerivedFile(directory.config.name, config.encode)
    if lists := last_event(events, ImageListsWritten):
        for name, text in lists.files.items():
            yield DerivedFile(name, partial(text.encode, "utf-8", "surrogateescape"))
    yield DerivedFile(directory.epochs.name, lambda: table_to_csv(build_epochs_table(events)))
    yield DerivedFile(directory.trials.name, lambda: table_to_csv(build_trials_table(events)))
    if (summary := final_summary(events)) is not None:
        content = summary.to_json_content()
        yield DerivedFile(directory.summary.name, partial(encode_json, content))
        if summary.folds:
            build = partial(_build_label_issues, directory, summary)
            yield DerivedFile(directory.label_issues.name, build)


def format_config(configuration: Configuration, provenance: Provenance) -> str:
    """Return the content of `config.yaml`: settings as `--config` accepts them, and provenance."""
    content: dict[str, object] = {**configuration.settings}
    if configuration.grid:
        content["grid"] = configuration.grid
    content[PROVENANCE] = provenance.to_json_content()
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def collect_curves(events: Sequence[Event]) -> dict[str, TrialCurves]:
    """Return hyperparameters and events of each trial that TensorBoard shows, by trial id.

    These are the planned trials that finished an epoch, or failed in their first epoch.
    """
    planned = set(planned_trials(events))
    events_by_trial: dict[str, list[TrialEvent]] = {}
    for event in events_of_type(latest_attempts(events), TrialEvent):
        if event.trial in planned:
            events_by_trial.setdefault(event.trial, []).append(event)
    started = {
        trial: event.hyperparameters
        for trial, trial_events in events_by_trial.items()
        for event in events_of_type(trial_events, TrialStarted)
    }
    if not started:
        return {}
    unified = unify_hyperparameter_types(list(started.values()))
    hyperparameters = dict(zip(started, unified, strict=True))
    return {
        trial: TrialCurves(hyperparameters[trial], trial_events)
        for trial, trial_events in events_by_trial.items()
        if any(isinstance(event, (EpochFinished, TrialEnded)) for event in trial_events)
    }


def find_missing_files(directory: RunDirectory, events: Sequence[Event]) -> list[str]:
    """Return the missing files of a finished run that its journal alone cannot restore.

    A file that cannot be read or belongs to another winner is treated as missing.
    """
    summary = final_summary(events)
    if summary is None or not has_finished(events):
        return []
    winner = summary.winner.trial
    is_present = {
        directory.media / INDEX: is_media_complete(directory.media),
        directory.validation_scores(winner): _has_scores(directory, events, winner),
    }
    if summary.test.accuracy.images:
        scores = find_test_scores(directory.test_scores)
        is_present[directory.test_scores] = scores is not None and scores.trial == winner
    missing = [
        str(path.relative_to(directory.path)) for path, present in is_present.items() if not present
    ]
    curves = directory.tensorboard / winner
    if summary.winner.trains_backbone and not any(curves.glob(f"*{PICTURES}")):
        missing.append(f"pictures in {curves.relative_to(directory.path)}")
    model = find_model(directory.path)
    if model is None or model.trial != winner:
        missing.append(directory.model.name)
    return missing


def _has_scores(directory: RunDirectory, events: Sequence[Event], trial: str) -> bool:
    """Return whether a trial has scores that agree with the journal."""
    finished = [
        event
        for event in events_of_type(latest_attempts(events), TrialFinished)
        if event.trial == trial
    ]
    if not finished:
        return False
    return find_validation_scores(directory.validation_scores(trial), finished[-1]) is not None


def _build_label_issues(directory: RunDirectory, summary: Summary) -> bytes:
    """Return the content of `label_issues.csv`, computed from the scores of the run."""
    assessment = assess_winner(directory, winner=summary.winner.trial, classes=summary.data.classes)
    issues = assessment.find_label_issues()
    return b"" if issues is None else table_to_csv(issues)
