"""The study: a tile that fails does not affect the others."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.trials import create_small_examples, create_study_paths
from veduta.config.settings import Settings
from veduta.runs.journal import Journal
from veduta.tracking.console import Leaderboard
from veduta.training.folds import create_single_fold
from veduta.tuning import study as study_module
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.executors.protocol import TileEpochs
from veduta.tuning.recorder import Recorder
from veduta.tuning.study import ExecutionConfig, Study
from veduta.tuning.trials.space import Tile, build_trial


def test_a_tile_that_runs_out_of_memory_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other tiles finish."""
    wide = build_trial(Settings(epochs=2, hidden=(7,)))
    linear = [build_trial(Settings(epochs=2, lr=lr)) for lr in (1e-3, 1e-2)]

    def run_fused_or_fail(tile: Tile, *args: Any, **options: Any) -> TileEpochs:
        if tile[0].settings.hidden:
            raise RuntimeError("not enough memory:\nyou tried to allocate 102 GB")
        return run_fused(tile, *args, **options)

    monkeypatch.setattr(study_module, "run_fused", run_fused_or_fail)
    shown: list[tuple[int, int]] = []
    with Journal(tmp_path / "journal.jsonl") as journal:
        leaderboard = Leaderboard({trial.id: "" for trial in (*linear, wide)})
        paths = create_study_paths(tmp_path)
        recorder = Recorder([*linear, wide], journal, paths, leaderboard)
        study = Study(recorder, ExecutionConfig(3))
        folds = create_single_fold(create_small_examples(60, 0), create_small_examples(30, 1))
        study.run(lambda _: folds, lambda done, total: shown.append((done, total)))
    assert recorder.failures.keys() == {wide.id}
    assert "out of memory" in recorder.failures[wide.id]
    assert "102 GB" in recorder.failures[wide.id]
    assert "\n" not in recorder.failures[wide.id]
    assert [outcome.trial for outcome in recorder.outcomes] == [trial.id for trial in linear]
    assert recorder.best is not None
    assert shown[-1] == (6, 6)
    assert leaderboard.format_counts() == "3 of 3 trials done, 1 failed"
    best = {o.trial: (o.best_epoch, o.val_accuracy) for o in recorder.outcomes}
    listed = leaderboard.list_best()
    assert {standing.trial: (standing.epoch, standing.accuracy) for standing in listed} == best
    assert {path.stem for path in (tmp_path / "scores").iterdir()} == {t.id for t in linear}
