"""The study: what goes wrong with some trials leaves the others whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from veduta.config.settings import Settings
from veduta.runs.journal import Journal
from veduta.runtime.streams import mix
from veduta.tracking.leaderboard import Leaderboard
from veduta.training.folds import undivided
from veduta.training.state import Examples
from veduta.tuning import study as module
from veduta.tuning.recorder import Places, Record
from veduta.tuning.study import Means, Study
from veduta.tuning.trials.space import trial_of


def examples(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    features = torch.randn(count, 5, generator=generator) + labels[:, None]
    return Examples(features, labels, mix(np.arange(count, dtype=np.uint64)))


def test_b5_a_tile_that_memory_has_no_room_for_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = trial_of(Settings(epochs=2, hidden=(7,)))
    linear = [trial_of(Settings(epochs=2, lr=lr)) for lr in (1e-3, 1e-2)]
    real = module.run_tile

    def run_tile(tile, *args, **kwargs):  # noqa: ANN001, ANN002, ANN003, ANN202
        if tile[0].settings.hidden:
            raise RuntimeError("not enough memory:\nyou tried to allocate 102 GB")
        return real(tile, *args, **kwargs)

    monkeypatch.setattr(module, "run_tile", run_tile)
    shown: list[tuple[int, int]] = []
    with Journal(tmp_path / "journal.jsonl") as journal:
        places = Places(*(tmp_path / name for name in ("tensorboard", "scores", "checkpoints")))
        board = Leaderboard({trial.id: "" for trial in (*linear, wide)})
        record = Record([*linear, wide], journal, places, board)
        study = Study(record, Means(3))
        data = undivided(examples(60, 0), examples(30, 1))
        study.run(lambda _: data, lambda done, total: shown.append((done, total)))
    why = "out of memory: not enough memory: you tried to allocate 102 GB"
    assert record.failed == {wide.id: why}
    assert [outcome.trial for outcome in record.outcomes] == [trial.id for trial in linear]
    assert record.best is not None
    assert shown[-1] == (6, 6)
    assert board.counts() == "3 of 3 trials done, 1 failed"
    best = {o.trial: (o.best_epoch, o.val_accuracy) for o in record.outcomes}
    assert {one.trial: (one.epoch, one.accuracy) for one in board.best()} == best
    assert {path.stem for path in (tmp_path / "scores").iterdir()} == {t.id for t in linear}
