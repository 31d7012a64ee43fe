"""Events: every class reads back what it writes, and everything unknown is refused."""

import json
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support.journals import (
    make_epoch,
    make_plan,
    make_run_started,
    make_summary,
    make_trial_finished,
    make_trial_started,
)
from veduta.errors import InputError
from veduta.runs.events import (
    Event,
    ExecutionConfigured,
    HalvingRoundFinished,
    Histogram,
    ImageListsWritten,
    MemoryPlanned,
    ProcessCrashed,
    RunFinished,
    RunResumed,
    TestEvaluated,
    TestEvaluationStarted,
    TileCompacted,
    TilesPlanned,
    TrialFailed,
    TrialPaused,
    WinnerSelected,
    configurations,
    event_to_json,
    final_summary,
    has_finished,
    latest_attempts,
    parse_event,
    parse_event_json,
    planned_trials,
    run_start,
)
from veduta.runs.provenance import Configuration

HISTOGRAM = Histogram(low=-1.0, high=1.0, counts=[1, 0, 2], sum=0.5, sum_of_squares=2.0)
RESUMED = RunResumed(
    pid=2,
    versions={"veduta": "0"},
    backbones={},
    configuration=Configuration(settings={"lr": 1.0}, grid={"epochs": [1, None]}),
)
EXAMPLES: list[Event] = [
    make_run_started(),
    RESUMED,
    ImageListsWritten(files={"splits.csv": "path,label\ncaf\udce9.png,red\n"}),
    MemoryPlanned(
        in_use=1, trials=2, groups=3, tiles=4, concurrent_tiles=5, planned=6, largest_tile=7,
        allowed=8,
    ),
    ExecutionConfigured(threads=2, autocast="bf16", step_seconds={"f32": 0.1, "bf16": 0.05}),
    make_plan("t1", "t2"),
    TilesPlanned(tiles=[["t1"], ["t2"]]),
    make_trial_started(channels=[8, 16], patience=None, augment="flip"),
    make_epoch(gradient_norm=2.5, weight_histograms={"head": HISTOGRAM}),
    TrialPaused(trial="t1"),
    TileCompacted(epoch=3, trials=["t1"]),
    make_trial_finished(weights_sha256="0" * 64),
    TrialFailed(trial="t2", cause="diverged", reason="the loss is not finite", time=1.0),
    HalvingRoundFinished(round=1, candidates=2, promoted=["t1"]),
    ProcessCrashed(reason="Segmentation fault", trials=["t1"]),
    WinnerSelected(winner="t1", tied_trials=["t2"]),
    TestEvaluationStarted(token="00ff"),  # noqa: S106
    TestEvaluated(fingerprint="0" * 64, previous_evaluations=3),
    RunFinished(summary=make_summary()),
]  # fmt: skip


def test_the_examples_contain_every_class() -> None:
    assert {type(event) for event in EXAMPLES} == set(get_args(Event))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.event)
def test_an_event_reads_back(event: Event) -> None:
    text = event_to_json(event)
    assert text.startswith(f'{{"event":"{event.event}"')
    assert "\n" not in text
    assert parse_event_json(text.encode()) == event
    assert parse_event(json.loads(text)) == event


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.event)
def test_unknown_and_missing_fields_are_refused(event: Event) -> None:
    content = json.loads(event_to_json(event))
    with pytest.raises(ValidationError, match="surprise"):
        parse_event({**content, "surprise": 1})
    required = [name for name, field in type(event).model_fields.items() if field.is_required()]
    for name in required:
        with pytest.raises(ValidationError, match=name):
            parse_event({key: value for key, value in content.items() if key != name})


def test_an_unknown_event_is_refused() -> None:
    for content in ({"event": "rebooted"}, {"event": 3}, {"epoch": 1}):
        with pytest.raises(ValidationError):
            parse_event(content)
    with pytest.raises(ValueError, match="Expecting value"):
        parse_event_json(b"?")


@given(st.floats(), st.floats())
def test_numbers_keep_every_bit(loss: float, seconds: float) -> None:
    event = make_epoch(val_loss=loss, seconds=seconds, gradient_norm=loss)
    read = parse_event_json(event_to_json(event).encode())
    for name in ("val_loss", "seconds", "gradient_norm"):
        before, after = getattr(event, name), getattr(read, name)
        assert after == before or (math.isnan(before) and math.isnan(after))
        assert math.copysign(1, after) == math.copysign(1, before) or math.isnan(before)


def test_numbers_that_are_not_finite_survive_beside_names_that_are_not_utf_8() -> None:
    values = [math.inf, -math.inf, 1e-320]
    event = make_epoch("caf\udce9", val_loss=values[0], train_loss=values[1], seconds=values[2])
    json.loads(event_to_json(event), parse_constant=pytest.fail)  # strict JSON
    assert parse_event_json(event_to_json(event).encode()) == event


def test_only_the_latest_attempt_of_a_trial_is_kept() -> None:
    first, second = make_epoch(val_loss=1.0), make_epoch(val_loss=2.0)
    other, plan = make_epoch("t2"), make_plan("t1", "t2")
    events: list[Event] = [plan, make_trial_started(), first, other, make_trial_started(), second]
    assert latest_attempts(events) == [plan, other, make_trial_started(), second]


def test_the_state_of_a_run_is_read_from_its_events() -> None:
    started, finished = make_run_started(), RunFinished(summary=make_summary())
    events: list[Event] = [started, make_plan("t1"), finished, RESUMED, make_plan("t2", "t1")]
    assert run_start(events) == started
    assert planned_trials(events) == ["t2", "t1"]
    assert planned_trials([started]) == []
    assert configurations(events) == [started.configuration, RESUMED.configuration]
    assert final_summary(events) == make_summary()
    assert final_summary([started]) is None
    assert [has_finished(events[:count]) for count in (0, 2, 3, 5)] == [False, False, True, False]
    with pytest.raises(InputError, match="start"):
        run_start([])
    with pytest.raises(InputError, match="start"):
        run_start([make_plan()])
