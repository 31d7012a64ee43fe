"""Trains trials on small data, by either executor, to the end or interrupted."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from veduta.config.settings import Settings
from veduta.runs.checkpoints import Checkpoints
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.folds import Fold, create_single_fold
from veduta.training.loop import Epoch
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.fused.executor import run_fused
from veduta.tuning.executors.protocol import End, Heartbeat
from veduta.tuning.executors.serial import TrainingContext, run_serial
from veduta.tuning.recorder import StudyPaths
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import Trial, build_trials, expand_grid, group_trials, plan_tiles
from veduta.tuning.trials.state import FinishedTrial

FEATURES, CLASSES = 12, 3
HEAD_PARAMETERS = 50  # small enough for one tile per group
SETTINGS = {"epochs": 20, "batch_size": 16}
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")

TrainedTrial = tuple[list[Epoch], FinishedTrial]
"""All epochs of a trial, and its end."""


def create_examples(count: int, seed: int, dtype: torch.dtype) -> Examples:
    """Return features of overlapping classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    centers = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(77))
    features = torch.randn(count, FEATURES, generator=generator) * 1.5 + centers[labels]
    keys = mix_bits(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed))
    return Examples(features.to(dtype), labels, keys)


def create_small_examples(count: int, seed: int) -> Examples:
    """Return five features per image, of well separated classes, in float32."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    features = torch.randn(count, 5, generator=generator) + labels[:, None]
    return Examples(features, labels, mix_bits(np.arange(count, dtype=np.uint64)))


def create_data(dtype: torch.dtype, views: int = 0) -> tuple[Examples, Examples]:
    """Return training images with noisy views, and validation images.

    The number of training images leaves one image over at the end of an epoch.
    """
    train = create_examples(97, 1, dtype)
    assert isinstance(train.features, torch.Tensor)
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(views, *train.features.shape, generator=generator)
    noisy = tuple((train.features + view).to(dtype) for view in noise)
    with_views = Examples(train.features, train.labels, train.keys, noisy)
    return with_views, create_examples(250, 2, dtype)


def build_grid_trials(base: Mapping[str, Any], grid: Mapping[str, tuple[Any, ...]]) -> list[Trial]:
    """Return the trials of a grid; `base` overrides `SETTINGS`."""
    return build_trials(expand_grid(Settings(**{**SETTINGS, **base}), dict(grid)))


def train_fused(
    trials: Sequence[Trial], dtype: torch.dtype, views: int = 0
) -> dict[str, TrainedTrial]:
    """Train trials by the fused executor on `create_data`; return them by id."""
    folds = create_single_fold(*create_data(dtype, views))
    epochs: dict[str, list[Epoch]] = {trial.id: [] for trial in trials}
    ends: dict[str, Any] = {}
    for group in group_trials(trials):
        for tile in plan_tiles(group, HEAD_PARAMETERS):
            for result in run_fused(tile, folds, classes=CLASSES):
                for trial, epoch in result.epochs:
                    epochs[trial.id].append(epoch)
                ends |= {trial.id: end for trial, end in result.ended}
    return {trial_id: (epochs[trial_id], ends[trial_id]) for trial_id in epochs}


def train_serially(
    trials: Sequence[Trial], dtype: torch.dtype, views: int = 0
) -> dict[str, TrainedTrial]:
    """Train trials by the serial executor on the same data; return them by id."""
    folds = create_single_fold(*create_data(dtype, views))
    trained: dict[str, TrainedTrial] = {}
    for trial in trials:
        epochs: list[Epoch] = []
        end = run_trial(trial, folds, context=TrainingContext(CLASSES), record=epochs.append)
        trained[trial.id] = epochs, end
    return trained


def compute_differences(first: FinishedTrial, second: FinishedTrial) -> dict[str, float]:
    """Return max |dW| / max |W| for each parameter W of the second trial."""
    states = first.network.state_dict(), second.network.state_dict()
    pairs = zip(states[0].items(), states[1].values(), strict=True)
    return {
        name: float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for (name, a), b in pairs
    }


def run_trial(
    trial: Trial,
    folds: Sequence[Fold],
    *,
    context: TrainingContext,
    record: Callable[[Epoch], None],
) -> FinishedTrial:
    """Train one trial, once per fold; pass every epoch to `record` and return the result.

    Raises:
        NotFiniteError: the loss is not finite.
    """
    ends: list[End] = []
    for result in run_serial((trial,), folds, context=context):
        for _, epoch in result.epochs:
            record(epoch)
        ends += [end for _, end in result.ended]
    (end,) = ends
    if isinstance(end, NotFiniteError):
        raise end
    return end


def run_interruptible(
    trial: Trial, folds: Sequence[Fold], context: TrainingContext, **options: Any
) -> tuple[list[Epoch], FinishedTrial | None]:
    """Return the epochs of a trial, and its end unless it was interrupted."""
    epochs: list[Epoch] = []
    finished = None
    for result in run_serial((trial,), folds, context=context, **options):
        epochs += [epoch for _, epoch in result.epochs]
        for _, end in result.ended:
            assert isinstance(end, FinishedTrial)
            finished = end
    return epochs, finished


def assert_resumes_exactly(
    trial: Trial, folds: Sequence[Fold], context: TrainingContext, *, after: int, folder: Path
) -> None:
    """Assert that a trial interrupted after some heartbeats continues as if never interrupted."""
    count = 0

    def count_heartbeats(limit: int | None = None) -> Heartbeat:
        nonlocal count
        count = 0

        def heartbeat(_: int) -> bool:
            nonlocal count
            count += 1
            return limit is None or count < limit

        return heartbeat

    def create_checkpointer() -> Checkpointer:
        return Checkpointer(Checkpoints(folder, "trial"))

    expected, reference = run_interruptible(trial, folds, context, heartbeat=count_heartbeats())
    total = count
    _, interrupted = run_interruptible(
        trial,
        folds,
        context,
        checkpointer=create_checkpointer(),
        heartbeat=count_heartbeats(after),
    )
    assert interrupted is None
    epochs, end = run_interruptible(
        trial, folds, context, checkpointer=create_checkpointer(), heartbeat=count_heartbeats()
    )
    assert count < total, "the trial continued, and did not start again"
    assert end is not None
    assert reference is not None
    names = ("number", *METRICS, "current_lr", "gradient_norm")
    for epoch, other in zip(epochs, expected, strict=True):
        assert [getattr(epoch, name) for name in names] == [getattr(other, name) for name in names]
    weights = end.network.state_dict()
    assert all(torch.equal(weights[n], w) for n, w in reference.network.state_dict().items())
    assert end.end_reason == reference.end_reason
    for name in ("epochs_trained", "best_epoch", *METRICS):
        assert getattr(end.outcome, name) == getattr(reference.outcome, name)


def create_study_paths(folder: Path) -> StudyPaths:
    """Return the folders of a study below `folder`."""
    return StudyPaths(*(folder / name for name in ("tensorboard", "scores", "checkpoints")))
