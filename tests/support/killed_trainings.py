"""A program that trains small networks and kills its own child processes while they do.

`python -m tests.support.killed_trainings FOLDER SUBJECT...`: everything is loaded once, also what
torch loads late. Each attempt is a fork, which is quick, and safe as long as one thread computes. A
child reports every step through a pipe; the parent kills it with signal 9 at random steps, some
milliseconds later. The results remain in FOLDER for the tests to compare.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.support.journals import make_run_started
from tests.support.trials import create_study_paths
from veduta.config.settings import Settings
from veduta.experiment.feature_spec import BackboneLoader
from veduta.networks.presets import resolve_presets
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory, remove_temporary_files
from veduta.runs.events import HalvingRoundFinished, WinnerSelected, events_of_type
from veduta.runs.journal import Journal, read_journal
from veduta.runs.tables import write_table
from veduta.runtime.streams import mix_bits
from veduta.tracking.tables import build_epochs_table, build_trials_table
from veduta.training.examples import Examples
from veduta.training.folds import Fold, create_single_fold, split_into_folds
from veduta.tuning.executors.serial import TrainingContext, run_serial
from veduta.tuning.previous_trials import reload_trials
from veduta.tuning.recorder import Recorder
from veduta.tuning.study import ExecutionConfig, Study
from veduta.tuning.trials import checkpointing
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import Trial, build_trial, build_trials, expand_grid
from veduta.tuning.trials.state import FinishedTrial
from veduta.tuning.trials.store import save_weights

CLASSES, SIZE, IMAGES, EPOCHS = 3, 16, 100, 3
ROUNDS = 3  # of the search with halving
LAST_STEPS = 6  # steps at the end without a kill, since the training might end before it
RANDOM = random.Random(20)  # noqa: S311

BASE = {
    "model": "cnn", "freeze": "none", "weights": "none", "image_size": SIZE, "channels": (8, 12),
    "epochs": EPOCHS, "batch_size": 8, "lr": 3e-3, "augment": (),
}  # fmt: skip
EVERYTHING = {
    "augment": ("color", "crop", "cutmix", "erasing", "flip", "mixup", "rotation"),
    "hidden": (12,), "batch_norm": True, "dropout": 0.3, "ema": 0.9, "clip": 1.0,
    "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3, "l1": 1e-5,
    "penalize": "all", "label_smoothing": 0.1, "schedule": "one_cycle", "warmup": 0.4,
    "freeze_epochs": 1, "backbone_lr_scale": 0.3, "patience": 3, "stop_gap": 1.0, "stop_at": 1.0,
    "class_weights": "balanced", "seed": 5,
}  # fmt: skip
SINGLE_TRIALS: dict[str, tuple[dict[str, object], int]] = {  # settings, and the number of kills
    "everything": (EVERYTHING, 20),
    **{name: ({"optimizer": name}, 4) for name in ("adagrad", "adam", "adamw", "rmsprop", "sgd")},
    "folds": ({"folds": 2, "ema": 0.9, "schedule": "cosine"}, 4),
    "bf16": ({"amp": "bf16"}, 3),
}
HALVING = "halving"
GRID = {"lr": (1e-30, 1e-3, 1e-2, 1e-1), "schedule": ("cosine", "one_cycle")}
HALVING_SETTINGS = {**BASE, "epochs": 4, "augment": ("crop", "flip"), "ema": 0.5, "halving": 2}
METRICS = ("number", "train_loss", "val_loss", "current_lr", "gradient_norm")

ReportStep = Callable[[], object]


def create_examples(count: int, seed: int, settings: Settings, *, train: bool) -> Examples:
    """Return noise, brighter in the channel that is the label; class sizes differ."""
    generator = np.random.default_rng(seed)
    labels = np.minimum(generator.integers(0, CLASSES + 1, count), CLASSES - 1)
    pixels = generator.integers(0, 190, (count, SIZE, SIZE, 3))
    pixels[np.arange(count), :, :, labels] += 6
    return Examples(
        torch.from_numpy(pixels.astype(np.uint8)),
        torch.from_numpy(labels),
        mix_bits(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed)),
        augment=settings.augment if train else (),
        seed=settings.seed,
    )


def create_folds(settings: Settings, count: int) -> tuple[Fold, ...]:
    """Return the folds of `count` images, or those as training images and 30 for validation."""
    train = create_examples(count, 1, settings, train=True)
    if settings.folds:
        return split_into_folds(train, np.arange(count) % settings.folds)
    return create_single_fold(train, create_examples(30, 2, settings, train=False))


def create_settings(values: dict[str, object]) -> Settings:
    return resolve_presets(Settings(**values), values)


def train_trial(values: dict[str, object], folder: Path, report_step: ReportStep) -> None:
    """Train one trial with checkpoints in `folder`; write its best weights and its metrics."""
    settings = create_settings({**BASE, **values})
    remove_temporary_files(RunDirectory(folder))
    tail = BackboneLoader(0, folder).build_tail(settings)
    context = TrainingContext(CLASSES, tail, torch.bfloat16 if settings.amp == "bf16" else None)
    checkpoints = Checkpoints(folder / "checkpoints", "trial", warn=refuse_warning)

    def heartbeat(images: int) -> bool:
        if images:
            report_step()
        return True

    results = list(
        run_serial(
            (build_trial(settings),),
            create_folds(settings, IMAGES),
            context=context,
            checkpointer=Checkpointer(checkpoints, interval_seconds=0.0),
            heartbeat=heartbeat,
        )
    )
    ((_, end),) = results[-1].ended
    assert isinstance(end, FinishedTrial)
    save_weights(folder, end)
    content = {
        "epochs": [
            {name: getattr(epoch, name) for name in METRICS}
            for result in results
            for _, epoch in result.epochs
        ],
        "end_reason": end.end_reason,
        "strides": [tensor.stride() for tensor in end.network.state_dict().values()],
        "best": end.outcome.best_epoch,
    }
    (folder / "metrics.json").write_text(json.dumps(content))


def create_halving_trials() -> list[Trial]:
    """Return eight trials and one that fails."""
    cells = expand_grid(create_settings(HALVING_SETTINGS), GRID)
    failing = create_settings({**HALVING_SETTINGS, "optimizer": "sgd", "lr": 1e30})
    return build_trials([*cells, failing])


def search_with_halving(folder: Path, report_step: ReportStep) -> None:
    """Search with successive halving, as an experiment does, and write its tables."""
    trials, path = create_halving_trials(), folder / "journal.jsonl"
    remove_temporary_files(RunDirectory(folder))
    loader = BackboneLoader(0, folder)
    folds = create_folds(trials[0].settings, 50)
    paths = create_study_paths(folder)
    with Journal.reopen(path) if path.is_file() else Journal(path) as journal:
        journal.append(make_run_started())
        previous = reload_trials(journal.events, trials, scores=paths.scores, ages={})
        recorder = Recorder(trials, journal, paths)
        config = ExecutionConfig(
            CLASSES,
            memory_limit=1,
            checkpoint_seconds=0.0,
            units_per_epoch=2,
            warn=refuse_warning,
        )
        Study(recorder, config, previous).run(
            lambda _: folds,
            lambda *_: report_step(),  # type: ignore[arg-type]
            find_tail=lambda trial: loader.build_tail(trial.settings),
        )
        assert recorder.best is not None
        winner = recorder.best.outcome.trial
        journal.append(WinnerSelected(winner=winner, tied_trials=[]))
    write_table(folder / "trials.csv", build_trials_table(journal.events))
    write_table(folder / "epochs.csv", build_epochs_table(journal.events))


def refuse_warning(text: str) -> None:
    raise AssertionError(f"a kill damages no checkpoint; {text}")


def run_in_child(
    work: Callable[[ReportStep], None], should_kill: Callable[[int], bool] = lambda _: False
) -> tuple[int, int]:
    """Fork and run `work`; kill the child when `should_kill` says so of its number of steps.

    Returns:
        The exit code, -9 if the child was killed, and its number of steps.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            work(lambda: os.write(writing, b"."))
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    steps = 0
    while os.read(reading, 1):
        steps += 1
        if should_kill(steps):
            time.sleep(0.004 * RANDOM.random())
            os.kill(child, signal.SIGKILL)
            break
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), steps


def find_position(folder: Path) -> list[int]:
    """Return epoch and step of the newest checkpoint; of a search, its number of ended rounds."""
    journal = folder / "journal.jsonl"
    if folder.parent.name == HALVING:
        if not journal.is_file():
            return [-1]
        return [len(events_of_type(read_journal(journal), HalvingRoundFinished))]
    checkpoint = Checkpoints(folder / "checkpoints", "trial").load_newest()
    training = checkpoint.progress["trainings"][0] if checkpoint else {"epoch": 1, "step": 0}
    return [training["epoch"], training["step"]]


def kill_trial(folder: Path, work: Callable[[ReportStep], None], *, kills: int, steps: int) -> None:
    """Kill a trial at random steps, from its first to its last."""
    for target in sorted(RANDOM.sample(range(1, steps - LAST_STEPS), kills)):
        epoch, step = find_position(folder)
        remaining = max(1, target - (epoch - 1) * steps // EPOCHS - step)
        run_and_kill(folder, work, remaining.__eq__)


def kill_search(folder: Path, work: Callable[[ReportStep], None], *, kills: int) -> None:
    """Kill a search in each of its rounds, some steps after the round began."""
    for number in range(kills):
        after, steps_in_round = RANDOM.randint(2, 20), 0

        def should_kill(_: int, ended: int = number * ROUNDS // kills, after: int = after) -> bool:
            nonlocal steps_in_round
            steps_in_round += find_position(folder) >= [ended]
            return steps_in_round >= after

        run_and_kill(folder, work, should_kill)


def run_and_kill(
    folder: Path, work: Callable[[ReportStep], None], should_kill: Callable[[int], bool]
) -> None:
    """Run one attempt that is killed, and write down its position."""
    checkpointing.TIME_RATIO = RANDOM.choice([0, 0, 1])  # some attempts save at every step
    code, _ = run_in_child(work, should_kill)
    assert code == -9, "it ended before it could be killed"
    checkpointing.TIME_RATIO = 20
    with (folder / "positions").open("a") as file:
        file.write(json.dumps(find_position(folder)) + "\n")


def main(folder: Path, subjects: list[str]) -> None:
    torch.set_num_threads(1)
    warm_up = folder / "warm-up"
    warm_up.mkdir(parents=True)
    train_trial({**EVERYTHING, "epochs": 2, "batch_size": 64}, warm_up, lambda: None)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork copies one thread"
    for subject in subjects:
        values, kills = SINGLE_TRIALS.get(subject, ({}, 6))
        is_search = subject == HALVING
        steps = 0
        for kind in ("undisturbed", "killed"):
            own = folder / subject / kind
            own.mkdir(parents=True)
            work = (
                partial(search_with_halving, own)
                if is_search
                else partial(train_trial, values, own)
            )
            if kind == "killed" and is_search:
                kill_search(own, work, kills=kills)
            elif kind == "killed":
                kill_trial(own, work, kills=kills, steps=steps)
            code, steps = run_in_child(work)
            assert code == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
