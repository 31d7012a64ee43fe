"""The recorder: progress, and TensorBoard curves written from the journal."""

from pathlib import Path

import pytest

from tests.support.trials import create_study_paths
from veduta.config.settings import Settings
from veduta.runs.events import EpochFinished, Histogram, TrialStarted
from veduta.runs.journal import Journal
from veduta.tuning.recorder import ProgressMeter, Recorder
from veduta.tuning.trials.space import build_trial


def test_epochs_repeated_after_a_resume_do_not_count() -> None:
    shown: list[tuple[int, int]] = []
    meter = ProgressMeter(
        {"a": 10, "b": 10}, lambda done, total: shown.append((done, total)), units_per_epoch=100
    )
    for number in (1, 2, 3, 4):
        meter.finish_epoch("a", number, repeated=True)
    assert shown[-1] == (0, 1600), "6 epochs of one trial and 10 of the other"
    meter.add_images("a", 50)
    assert shown[-1] == (50, 1600)
    meter.finish_epoch("a", 5)
    assert shown[-1] == (100, 1600)
    meter.finish_trial("a")  # by a stopping rule
    meter.finish_epoch("b", 1)
    assert shown[-1] == (700, 1600)
    meter.finish()
    assert shown[-1] == (1600, 1600)


def test_epochs_repeated_when_a_paused_trial_continues_count_once() -> None:
    shown: list[tuple[int, int]] = []
    meter = ProgressMeter({"a": 4}, lambda done, total: shown.append((done, total)))
    meter.finish_epoch("a", 1)
    meter.finish_epoch("a", 2)
    for number in (1, 2):
        meter.finish_epoch("a", number, repeated=True)
    assert shown[-1] == (2, 4)
    meter.finish_epoch("a", 3)
    assert shown[-1] == (3, 4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curves_show_the_latest_attempt_of_a_trial(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trial = build_trial(Settings(epochs=3))
    histogram = Histogram(low=-1.0, high=1.0, counts=[1, 3], sum=2.0, sum_of_squares=4.0)
    with Journal(tmp_path / "journal.jsonl") as journal:
        recorder = Recorder([trial], journal, create_study_paths(tmp_path))
        for attempt, last in enumerate((2, 3)):
            journal.append(TrialStarted(trial=trial.id, hyperparameters={}))
            for number in range(1, last + 1):
                event = EpochFinished(
                    trial=trial.id,
                    epoch=number,
                    current_lr=0.1,
                    train_loss=0.5,
                    train_accuracy=0.5,
                    val_loss=0.5,
                    val_accuracy=attempt,
                    seconds=1.0,
                    weight_histograms={"head.weight": histogram},
                    time=100.0 + number,
                )
                journal.append(event)
            recorder.write_curves([trial])

    folder = tmp_path / "tensorboard" / trial.id
    reader = EventAccumulator(str(folder), {"histograms": 0})  # 0: all of them
    reader.Reload()
    points = [(point.step, point.value) for point in reader.Scalars("val/accuracy")]
    assert points == [(1, 1), (2, 1), (3, 1)]
    assert [point.step for point in reader.Histograms("weights/head.weight")] == [1, 2, 3]
