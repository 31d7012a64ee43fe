"""The last training of a winner: what it learns, left and gone on with."""

from pathlib import Path

import pytest
import torch

from tests.contracts.test_fused import CLASSES, FEATURES, data
from tests.tuning.killed import BASE, EPOCHS, folds_of, settings_of
from veduta.config.settings import Settings
from veduta.errors import InputError, VedutaError
from veduta.experiment.feature_spec import Networks
from veduta.networks.heads import Head, build_head
from veduta.runs.checkpoints import Checkpoints, keep_only
from veduta.training.loop import Training
from veduta.tuning.executors.serial import Way
from veduta.tuning.refit import Refit, finished, refit_of
from veduta.tuning.study import Means
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.progress import Meter
from veduta.tuning.trials.space import trial_of

IMAGES = 40
STEPS = EPOCHS * IMAGES // 8


@pytest.fixture
def settings() -> Settings:
    return settings_of({**BASE, "ema": 0.9, "augment": ("crop", "mixup")})


def refit(settings: Settings, folder: Path, epochs: int = EPOCHS, every: float = 1000) -> Refit:
    way = Way(CLASSES, Networks(0, folder).tail(settings))
    train = folds_of(settings, IMAGES)[0].train
    keeper = Keeper(Checkpoints(folder / "kept", f"again-{epochs}"), every=every)
    return refit_of(trial_of(settings), train, way=way, epochs=epochs, keeper=keeper)


def test_it_stops_inside_the_schedule_of_the_whole_trial() -> None:
    train, _ = data(torch.float32)
    settings = Settings(epochs=6, schedule="cosine", warmup=2.5)
    network = build_head(Head(FEATURES, CLASSES), settings.seed)
    training = Training(network, train, settings)
    for _ in range(2):  # warming up still
        training.finish_epoch()
        training.next_epoch()
    made = refit_of(trial_of(settings), train, way=Way(CLASSES), epochs=2)
    assert [epoch.number for epoch in made.run()] == [1, 2]
    assert torch.equal(made.training.measured.dense[0].weight, network.dense[0].weight)


@pytest.mark.parametrize("left", [1, 6, 11, STEPS])
def test_left_after_a_step_it_goes_on_from_there(
    left: int, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    whole = refit(settings, tmp_path / "whole")
    assert len([*whole.run()]) == EPOCHS
    seen = 0

    def beat(_: int) -> bool:
        nonlocal seen
        seen += 1
        return seen != left

    assert len([*refit(settings, tmp_path).run(beat)]) == (left - 1) * EPOCHS // STEPS
    again = refit(settings, tmp_path)
    list(again.run(beat))
    assert seen == STEPS, "no step is made twice"
    found = again.training.measured.state_dict()
    theirs = whole.training.measured.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in theirs.items())
    assert not [*refit(settings, tmp_path).run(beat)], "what is done is not done again"


def test_who_waits_sees_how_far_it_is_and_may_leave(settings: Settings, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def show(done: int, total: int) -> None:
        told.append((done, total))
        if done == 24:
            raise KeyboardInterrupt

    def trained() -> None:
        meter = Meter({trial_of(settings).id: EPOCHS}, show, IMAGES)
        finished(refit(settings, tmp_path), Means(CLASSES), meter)

    with pytest.raises(KeyboardInterrupt):
        trained()
    assert told == [(done, EPOCHS * IMAGES) for done in (0, 8, 16, 24)]
    kept = Checkpoints(tmp_path / "kept", f"again-{EPOCHS}").newest()
    assert kept is not None, "it came to the end of a step, and was saved"
    assert kept.progress["trainings"][0]["step"] >= 3
    told.clear()
    trained()
    assert len(told) <= 1 + STEPS - 3 + EPOCHS
    assert told[-1][0] == told[-1][1]


def test_it_ends_where_a_loss_is_not_finite(tmp_path: Path) -> None:
    settings = settings_of({**BASE, "lr": 1e30, "optimizer": "sgd"})
    meter = Meter({trial_of(settings).id: EPOCHS}, lambda *_: None)
    with pytest.raises(VedutaError, match="finite"):
        finished(refit(settings, tmp_path), Means(CLASSES), meter)


def test_another_number_of_epochs_is_another_training(settings: Settings, tmp_path: Path) -> None:
    list(refit(settings, tmp_path).run())
    assert len([*refit(settings, tmp_path, epochs=1).run()]) == 1


def test_a_damaged_checkpoint_is_told_of(settings: Settings, tmp_path: Path) -> None:
    list(refit(settings, tmp_path).run())
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(InputError, match=kept.name):
        refit(settings, tmp_path)


def test_those_of_a_winner_stay_with_its_own(settings: Settings, tmp_path: Path) -> None:
    for name in ("t1", "t1.again-3", "t12", "t2.again-3"):
        Checkpoints(tmp_path, name).save({}, {})
    keep_only(tmp_path, "t1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "t1.0.checkpoint",
        "t1.again-3.0.checkpoint",
    ]
    Checkpoints(tmp_path, "t1").save({}, {})
    Checkpoints(tmp_path, "t1").keep_last()
    assert Checkpoints(tmp_path, "t1.again-3").exist()
