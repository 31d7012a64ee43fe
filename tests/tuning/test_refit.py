"""The refit of the winner: its learning rates, and how it is interrupted and continued."""

from pathlib import Path

import pytest
import torch

from tests.support.killed_trainings import BASE, CLASSES, EPOCHS, create_folds, create_settings
from tests.support.trials import FEATURES, create_data
from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.errors import InputError, VedutaError
from veduta.experiment.feature_spec import BackboneLoader
from veduta.networks.heads import build_head_network
from veduta.runs.checkpoints import Checkpoints, remove_other_checkpoints
from veduta.training.loop import Training
from veduta.tuning.executors.serial import TrainingContext
from veduta.tuning.recorder import ProgressMeter
from veduta.tuning.refit import Refit, create_refit, run_refit
from veduta.tuning.study import ExecutionConfig
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import build_trial

IMAGES = 40
STEPS = EPOCHS * IMAGES // 8


@pytest.fixture
def settings() -> Settings:
    return create_settings({**BASE, "ema": 0.9, "augment": ("crop", "mixup")})


def open_refit(
    settings: Settings, folder: Path, epochs: int = EPOCHS, interval_seconds: float = 1000
) -> Refit:
    """Return a refit with checkpoints in `folder`, as a new process does."""
    context = TrainingContext(CLASSES, BackboneLoader(0, folder).build_tail(settings))
    checkpoints = Checkpoints(folder / "checkpoints", f"refit-{epochs}")
    return create_refit(
        build_trial(settings),
        create_folds(settings, IMAGES)[0].train,
        context=context,
        epochs=epochs,
        checkpointer=Checkpointer(checkpoints, interval_seconds=interval_seconds),
    )


def test_a_refit_has_the_schedule_of_the_whole_trial() -> None:
    train, _ = create_data(torch.float32)
    settings = Settings(epochs=6, schedule="cosine", warmup=2.5)
    network = build_head_network(Head(FEATURES, CLASSES), settings.seed)
    training = Training(network, train, settings)
    for _ in range(2):  # still in the warmup
        training.finish_epoch()
        training.start_next_epoch()
    refit = create_refit(build_trial(settings), train, context=TrainingContext(CLASSES), epochs=2)
    assert [result.number for result in refit.run()] == [1, 2]
    state = refit.training.evaluated_network.state_dict()
    assert torch.equal(state["dense.0.weight"], network.state_dict()["dense.0.weight"])


@pytest.mark.parametrize("interrupted_at", [1, 6, 11, STEPS])
def test_an_interrupted_refit_continues_after_its_last_step(
    interrupted_at: int, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "undisturbed").mkdir()
    undisturbed = open_refit(settings, tmp_path / "undisturbed")
    assert len([*undisturbed.run()]) == EPOCHS
    steps = 0

    def heartbeat(_: int) -> bool:
        nonlocal steps
        steps += 1
        return steps != interrupted_at

    finished_epochs = [*open_refit(settings, tmp_path).run(heartbeat)]
    assert len(finished_epochs) == (interrupted_at - 1) * EPOCHS // STEPS
    continued = open_refit(settings, tmp_path)
    list(continued.run(heartbeat))
    assert steps == STEPS, "no step is repeated"
    actual = continued.training.evaluated_network.state_dict()
    expected = undisturbed.training.evaluated_network.state_dict()
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    assert not [*open_refit(settings, tmp_path).run(heartbeat)], "a finished refit trains nothing"


def test_an_interrupt_while_progress_is_shown_saves_the_refit(
    settings: Settings, tmp_path: Path
) -> None:
    shown: list[tuple[int, int]] = []

    def show(done: int, total: int) -> None:
        shown.append((done, total))
        if done == 24:
            raise KeyboardInterrupt

    def train() -> None:
        meter = ProgressMeter({build_trial(settings).id: EPOCHS}, show, IMAGES)
        run_refit(open_refit(settings, tmp_path), ExecutionConfig(CLASSES), meter)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert shown == [(done, EPOCHS * IMAGES) for done in (0, 8, 16, 24)]
    checkpoint = Checkpoints(tmp_path / "checkpoints", f"refit-{EPOCHS}").load_newest()
    assert checkpoint is not None
    assert checkpoint.progress["trainings"][0]["step"] >= 3
    shown.clear()
    train()
    assert len(shown) <= 1 + STEPS - 3 + EPOCHS
    assert shown[-1][0] == shown[-1][1]


def test_a_refit_fails_when_a_loss_is_not_finite(tmp_path: Path) -> None:
    settings = create_settings({**BASE, "lr": 1e30, "optimizer": "sgd"})
    meter = ProgressMeter({build_trial(settings).id: EPOCHS}, lambda *_: None)
    with pytest.raises(VedutaError, match="finite"):
        run_refit(open_refit(settings, tmp_path), ExecutionConfig(CLASSES), meter)


def test_another_number_of_epochs_is_another_training(settings: Settings, tmp_path: Path) -> None:
    list(open_refit(settings, tmp_path).run())
    assert len([*open_refit(settings, tmp_path, epochs=1).run()]) == 1


def test_a_damaged_checkpoint_is_named(settings: Settings, tmp_path: Path) -> None:
    list(open_refit(settings, tmp_path).run())
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=path.name):
        open_refit(settings, tmp_path)


def test_checkpoints_of_the_winner_and_of_its_refit_remain(tmp_path: Path) -> None:
    for name in ("t1", "t1.again-3", "t12", "t2.again-3"):
        Checkpoints(tmp_path, name).save({}, {})
    remove_other_checkpoints(tmp_path, "t1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "t1.0.checkpoint",
        "t1.again-3.0.checkpoint",
    ]
    Checkpoints(tmp_path, "t1").save({}, {})
    Checkpoints(tmp_path, "t1").keep_newest()
    assert Checkpoints(tmp_path, "t1.again-3").exist()
