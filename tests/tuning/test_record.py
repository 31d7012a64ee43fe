"""TensorBoard is drawn from the journal: of a trial that was begun anew, its last attempt alone."""

from pathlib import Path

import pytest

from veduta.config.settings import Settings
from veduta.runs.journal import Journal
from veduta.tuning.recorder import Places, Record
from veduta.tuning.trials.space import trial_of


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_epochs_told_again_after_a_kill_are_drawn_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trial = trial_of(Settings(epochs=3))
    content = {"low": -1.0, "high": 1.0, "counts": [1, 3], "total": 2.0, "squares": 4.0}
    with Journal(tmp_path / "journal.jsonl") as journal:
        record = Record([trial], journal, Places(*(tmp_path / name for name in "tsc")))
        for attempt, last in enumerate((2, 3)):
            journal.append("trial started", trial=trial.id)
            for number in range(1, last + 1):
                figures = dict.fromkeys(("train_loss", "train_accuracy", "val_loss"), 0.5)
                figures |= {"lr_now": 0.1, "val_accuracy": attempt, "time": 100.0 + number}
                weights = {"head.weight": content}
                journal.append("epoch", trial=trial.id, epoch=number, **figures, weights=weights)
            record.draw([trial])

    reader = EventAccumulator(str(tmp_path / "t" / trial.id), {"histograms": 0})  # all of them
    reader.Reload()
    points = [(point.step, point.value) for point in reader.Scalars("val/accuracy")]
    assert points == [(1, 1), (2, 1), (3, 1)]
    assert [point.step for point in reader.Histograms("weights/head.weight")] == [1, 2, 3]
