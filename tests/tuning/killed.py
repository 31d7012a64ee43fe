"""A program that trains small networks, and kills its own children while they do.

`python -m tests.tuning.killed FOLDER SUBJECT...`: everything is loaded once, what torch loads late
too, then each attempt is a fork, which is quick, and safe as long as one thread computes. A child
tells of every step through a pipe; the parent ends it with signal 9 at the steps that were drawn, a
part of a step later. What came of it is left in FOLDER for the tests to compare.
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

from veduta.config.settings import Settings
from veduta.experiment.feature_spec import Networks
from veduta.networks.presets import resolved
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory, tidy
from veduta.runs.journal import Journal, read_journal
from veduta.runtime.streams import mix
from veduta.tracking.tables import epochs_table, trials_table, write_csv
from veduta.training.folds import Fold, divided, undivided
from veduta.training.state import Examples
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.previous_trials import reload
from veduta.tuning.recorder import Places, Record
from veduta.tuning.study import Means, Study
from veduta.tuning.trials import checkpointing as rules
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.space import Trial, cells, trial_of, trials
from veduta.tuning.trials.store import write_weights

CLASSES, SIZE, IMAGES, EPOCHS = 3, 16, 100, 3
ROUNDS = 3  # of the search by halving
LATE = 6  # steps before the end at which nothing is killed any more, or it might end before
DRAWN = random.Random(20)  # noqa: S311

BASE = {
    "model": "cnn", "freeze": "none", "weights": "none", "image_size": SIZE, "channels": (8, 12),
    "epochs": EPOCHS, "batch_size": 8, "lr": 3e-3, "augment": (),
}  # fmt: skip
EVERYTHING = {
    "augment": ("colour", "crop", "cutmix", "erasing", "flip", "mixup", "rotation"),
    "hidden": (12,), "batch_norm": True, "dropout": 0.3, "ema": 0.9, "clip": 1.0,
    "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3, "l1": 1e-5,
    "penalise": "all", "label_smoothing": 0.1, "schedule": "one_cycle", "warmup": 0.4,
    "freeze_epochs": 1, "backbone_lr_scale": 0.3, "patience": 3, "stop_gap": 1.0, "stop_at": 1.0,
    "class_weights": "balanced", "seed": 5,
}  # fmt: skip
ALONE: dict[str, tuple[dict[str, object], int]] = {  # settings, and how often it is killed
    "everything": (EVERYTHING, 20),
    **{name: ({"optimizer": name}, 4) for name in ("adagrad", "adam", "adamw", "rmsprop", "sgd")},
    "folds": ({"folds": 2, "ema": 0.9, "schedule": "cosine"}, 4),
    "bf16": ({"amp": "bf16"}, 3),
}
GRID = {"lr": (1e-30, 1e-3, 1e-2, 1e-1), "schedule": ("cosine", "one_cycle")}
HALVED = {**BASE, "epochs": 4, "augment": ("crop", "flip"), "ema": 0.5}

Tell = Callable[[], None]


def examples(count: int, seed: int, settings: Settings, *, train: bool) -> Examples:
    """Noise, brighter in the channel that is the label; classes are uneven."""
    generator = np.random.default_rng(seed)
    labels = np.minimum(generator.integers(0, CLASSES + 1, count), CLASSES - 1)
    pixels = generator.integers(0, 190, (count, SIZE, SIZE, 3))
    pixels[np.arange(count), :, :, labels] += 6
    return Examples(
        torch.from_numpy(pixels.astype(np.uint8)),
        torch.from_numpy(labels),
        mix(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed)),
        augment=settings.augment if train else (),
        seed=settings.seed,
    )


def folds_of(settings: Settings, count: int) -> tuple[Fold, ...]:
    train = examples(count, 1, settings, train=True)
    if settings.folds:
        return divided(train, np.arange(count) % settings.folds)
    return undivided(train, examples(30, 2, settings, train=False))


def settings_of(values: dict[str, object]) -> Settings:
    return resolved(Settings(**values), values)


def alone(values: dict[str, object], folder: Path, tell: Tell) -> None:
    """Train one trial with checkpoints in `folder`, to its end; best weights and figures."""
    settings = settings_of({**BASE, **values})
    trial = trial_of(settings)
    tidy(RunDirectory(folder))
    tail = Networks(0, folder).tail(settings)
    way = Way(CLASSES, tail, torch.bfloat16 if settings.amp == "bf16" else None)
    keeper = Keeper(Checkpoints(folder / "checkpoints", "trial", warn=expect_none), None, 0.0)

    def beat(images: int) -> bool:
        if images:
            tell()
        return True

    came = list(run_alone((trial,), folds_of(settings, IMAGES), way=way, keeper=keeper, beat=beat))
    ((_, end),) = came[-1].ended
    write_weights(folder, end)
    strides = [tensor.stride() for tensor in end.network.state_dict().values()]
    figures = [
        {n: getattr(e, n) for n in ("number", "train_loss", "val_loss", "lr_now", "gradient_norm")}
        for one in came
        for _, e in one.epochs
    ]
    ends = {"reason": end.reason, "strides": strides, "best": end.outcome.best_epoch}
    (folder / "figures.json").write_text(json.dumps({"epochs": figures, **ends}))


def halving_trials() -> list[Trial]:
    found = cells(settings_of(HALVED), GRID)
    return trials([*found, settings_of({**HALVED, "optimizer": "sgd", "lr": 1e30})])


def halving(folder: Path, tell: Tell) -> None:
    """Search by halving, as an experiment does, and write its tables."""
    found, path = halving_trials(), folder / "journal.jsonl"
    tidy(RunDirectory(folder))
    journal = Journal.reopened(path) if path.is_file() else Journal(path)
    networks = Networks(0, folder)
    folds = folds_of(found[0].settings, 50)
    places = Places(*(folder / name for name in ("tensorboard", "scores", "checkpoints")))
    with journal:
        journal.append("start")
        past = reload(journal.events, found, scores=places.scores, ages={})
        record = Record(found, journal, places)
        means = Means(CLASSES, 1, halving=2, checkpoint_seconds=0.0, warn=expect_none, unit=2)
        study = Study(record, means, past)
        study.run(
            lambda _: folds, lambda *_: tell(), tails=lambda trial: networks.tail(trial.settings)
        )
        journal.append("selected", winner=record.best.outcome.trial, tied=[])
    write_csv(folder / "trials.csv", trials_table(journal.events))
    write_csv(folder / "epochs.csv", epochs_table(journal.events))


def expect_none(text: str) -> None:
    raise AssertionError(f"a kill damages no checkpoint; {text}")


def attempt(
    work: Callable[[Tell], None], kill: Callable[[int], bool] = lambda _: False
) -> tuple[int, int]:
    """Fork and work; kill the child where `kill` says so of the steps that it has made.

    Returns:
        What it ended with, -9 if it was killed, and how many steps it made.
    """
    listen, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(listen)
        code = 1
        try:
            work(lambda: os.write(told, b"."))
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(told)
    steps = 0
    while os.read(listen, 1):
        steps += 1
        if kill(steps):
            time.sleep(0.004 * DRAWN.random())
            os.kill(child, signal.SIGKILL)
            break
    os.close(listen)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), steps


def stood(folder: Path) -> list[int]:
    """Where a trial stood: epoch and step of its newest checkpoint; a search: rounds decided."""
    journal = folder / "journal.jsonl"
    if folder.parent.name == "halving":
        if not journal.is_file():
            return [-1]
        return [sum(event["event"] == "rung" for event in read_journal(journal))]
    found = Checkpoints(folder / "checkpoints", "trial").newest()
    training = found.progress["trainings"][0] if found else {"epoch": 1, "step": 0}
    return [training["epoch"], training["step"]]


def kill_alone(folder: Path, work: Callable[[Tell], None], *, kills: int, steps: int) -> None:
    """Kill a trial at steps drawn from all that it has, from the first to the last."""
    for target in sorted(DRAWN.sample(range(1, steps - LATE), kills)):
        epoch, step = stood(folder)
        left = max(1, target - (epoch - 1) * steps // EPOCHS - step)
        killed(folder, work, lambda made, left=left: made == left)


def kill_halving(folder: Path, work: Callable[[Tell], None], *, kills: int) -> None:
    """Kill a search in each of its rounds, some steps after it has begun."""
    for number in range(kills):
        after, seen = DRAWN.randint(2, 20), 0

        def kill(_: int, at: int = number * ROUNDS // kills, after: int = after) -> bool:
            nonlocal seen
            seen += stood(folder) >= [at]
            return seen >= after

        killed(folder, work, kill)


def killed(folder: Path, work: Callable[[Tell], None], kill: Callable[[int], bool]) -> None:
    """One attempt that is killed; where it stood then is written down."""
    rules.SHARE = DRAWN.choice([0, 0, 1])  # some save at every step
    code, _ = attempt(work, kill)
    assert code == -9, "it ended before it could be killed"
    rules.SHARE = 20
    with (folder / "points").open("a") as file:
        file.write(json.dumps(stood(folder)) + "\n")


def main(folder: Path, subjects: list[str]) -> None:
    torch.set_num_threads(1)
    (folder / "warm").mkdir(parents=True)
    alone({**EVERYTHING, "epochs": 2, "batch_size": 64}, folder / "warm", lambda: None)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork copies one thread"
    for name in subjects:
        values, kills = ALONE.get(name, ({}, 6))
        steps = 0
        for kind in ("whole", "killed"):
            mine = folder / name / kind
            mine.mkdir(parents=True)
            work = partial(alone, values, mine) if name in ALONE else partial(halving, mine)
            if kind == "killed" and name in ALONE:
                kill_alone(mine, work, kills=kills, steps=steps)
            elif kind == "killed":
                kill_halving(mine, work, kills=kills)
            code, steps = attempt(work)
            assert code == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
