"""Every file of a run that its journal gives: tables byte for byte, and TensorBoard curves.

What needs the images stands in no journal: scores and weights, the pictures of the report and of
TensorBoard, see `experiment.lost`. A resumed run makes those again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import yaml

from veduta.config.parsing import PROVENANCE
from veduta.experiment.judgement import judge
from veduta.runs.directory import RunDirectory
from veduta.runs.files import json_of
from veduta.runs.journal import Event, latest_attempts
from veduta.tracking.tables import csv_of, epochs_table, trials_table
from veduta.tracking.tensorboard import hyper_parameters

LISTS = ("splits.csv", "rejected.csv")
"""What the gate wrote of the images; the journal has these files as they are."""

APART = ("event", "format", "given", "pid", "settings")
"""What the first event says besides what the run stands on."""


@final
@dataclass(frozen=True, slots=True)
class Derived:
    """A file that the journal gives.

    Attributes:
        name: below the directory of the run.
        content: makes its bytes; what it is made of must stand in its place.
    """

    name: str
    content: Callable[[], bytes]


def derived_of(directory: RunDirectory, events: Sequence[Event]) -> Iterator[Derived]:
    """The files of a run, each after those that it is made of; its report apart.

    Args:
        directory: of the run; its scores are read where labels are doubted.
        events: of its journal.
    """
    settings = [event["settings"] for event in events if "settings" in event][-1]
    config = config_text(settings, stood_on(events[0]))
    yield Derived(directory.config.name, config.encode)
    for name, text in lists_of(events).items():
        yield Derived(name, partial(text.encode, "utf-8", "surrogateescape"))
    yield Derived(directory.epochs.name, lambda: csv_of(epochs_table(events)))
    yield Derived(directory.trials.name, lambda: csv_of(trials_table(events)))
    if (summary := summary_in(events)) is not None:
        yield Derived(directory.summary.name, partial(json_of, summary))
        if summary["folds"]:
            yield Derived(directory.label_issues.name, partial(_issues, directory, summary))


def config_text(settings: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    """config.yaml: what `--config` takes, and what the run stands on."""
    content = {**settings, PROVENANCE: dict(start)}
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def stood_on(first: Event) -> dict[str, Any]:
    """What a run stood on when it started, from the first event of its journal."""
    return {name: value for name, value in first.items() if name not in APART}


def lists_of(events: Sequence[Event]) -> dict[str, str]:
    """The lists of images as they were written last; none in a journal of an older version."""
    found = [event["files"] for event in events if event["event"] == "lists"]
    return dict(found[-1]) if found else {}


def ended(events: Sequence[Event]) -> bool:
    """Whether the last attempt of a run came to its end; an extension may not have.

    >>> ended([{"event": "end"}]), ended([{"event": "end"}, {"event": "resumed"}])
    (True, False)
    """
    return bool(events) and events[-1]["event"] == "end"


def summary_in(events: Sequence[Event]) -> dict[str, Any] | None:
    """What summary.json holds, of the last end; None where the run never came to one."""
    ends = [event for event in events if event["event"] == "end"]
    return {name: value for name, value in ends[-1].items() if name != "event"} if ends else None


def curves_in(events: Sequence[Event]) -> dict[str, tuple[dict[str, Any], list[Event]]]:
    """Return hyper-parameters and events of every trial that TensorBoard shows.

    These are the trials that have ended an epoch, or failed in their first.
    """
    planned = {
        name for e in [e for e in events if e["event"] == "plan"][-1:] for name in e["trials"]
    }
    of_trial: dict[str, list[Event]] = {}
    for event in latest_attempts(events):
        if event.get("trial") in planned:
            of_trial.setdefault(event["trial"], []).append(event)
    if not of_trial:
        return {}
    begun = [e["parameters"] for found in of_trial.values() for e in found if "parameters" in e]
    return {
        trial: (parameters, found)
        for (trial, found), parameters in zip(
            of_trial.items(), hyper_parameters(begun), strict=True
        )
        if any("time" in event for event in found)
    }


def _issues(directory: RunDirectory, summary: Mapping[str, Any]) -> bytes:
    """label_issues.csv, from the scores of the run."""
    winner, classes = summary["winner"]["trial"], tuple(summary["classes"])
    found = judge(directory, winner=winner, classes=classes).label_issues()
    return b"" if found is None else csv_of(found)
