"""`docs/reference/files.md` describes every event, key, array and column that a run writes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import BaseModel

from tests.support.journals import make_epoch, make_trial_started
from veduta.config.network_specs import Head, Preprocessing
from veduta.config.settings import Settings
from veduta.runs.artifact import ErrorBound, File, Manifest
from veduta.runs.directory import RunDirectory
from veduta.runs.events import Event
from veduta.runs.scores import (
    TestScores,
    ValidationScores,
    save_test_scores,
    save_validation_scores,
)
from veduta.runs.summary import AnySummary
from veduta.runs.tables import EXPLANATIONS, REJECTED, SPLITS
from veduta.tracking.tables import build_epochs_table, build_trials_table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "files.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def list_models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation, and those of their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation is Settings:
            return
        yield annotation
        for field in annotation.model_fields.values():
            yield from list_models(field.annotation)
    for argument in get_args(annotation):
        yield from list_models(argument)


def find_undescribed(names: set[str], page: str) -> set[str]:
    """Return the names that the page does not show as code."""
    return {name for name in names if not re.search(rf"`{re.escape(name)}/?`", page)}


def test_every_event_and_key_is_described(page: str) -> None:
    for event in get_args(Event):
        assert f"\n| `{event.model_fields['event'].default}` |" in page
    models = {*list_models(Event)}
    assert len(models) > len(get_args(Event)) + 10
    assert not find_undescribed({name for model in models for name in model.model_fields}, page)


def test_every_key_of_a_summary_is_described(page: str) -> None:
    models = {*list_models(AnySummary)}
    assert not find_undescribed({name for model in models for name in model.model_fields}, page)
    commands = {model.model_fields["command"].default for model in get_args(AnySummary)[1:]}
    assert all(f"\n| {command} | " in page for command in commands)


def test_every_key_of_a_manifest_is_described(page: str) -> None:
    names = {*Manifest.model_fields, *File.model_fields}
    for description in (Head, Preprocessing, ErrorBound):
        names |= set(description.__dataclass_fields__)
    assert not find_undescribed(names, page)


def test_every_array_is_described(page: str, tmp_path: Path) -> None:
    logits, correct = np.zeros((2, 3), np.float32), np.ones((1, 2), bool)
    save_validation_scores(tmp_path / "t1.npz", ValidationScores(logits, correct, 1))
    y_true = np.zeros(2, np.int64)
    scores = TestScores("t1", 1, ("a", "b"), y_true, logits, np.zeros(2, bool))
    save_test_scores(tmp_path / "test.npz", scores)
    for name in ("t1.npz", "test.npz"):
        with np.load(tmp_path / name) as arrays:
            assert not find_undescribed({*arrays}, page)


def test_every_column_is_described(page: str) -> None:
    events: list[Event] = [make_trial_started(), make_epoch()]
    tables = (build_epochs_table(events), build_trials_table(events))
    columns = {name for table in tables for name in table.columns} - {"lr"}
    assert not find_undescribed({*columns, *SPLITS, *REJECTED, *EXPLANATIONS}, page)


def test_every_file_of_a_run_is_described(page: str) -> None:
    paths = [
        getattr(RunDirectory(Path("run")), name)
        for name, value in vars(RunDirectory).items()
        if isinstance(value, property)
    ]
    names = {path.name for path in paths}
    assert {name for name in names if f"`{name}" not in page} == set()
