"""The fused executor: trains all trials of a tile together, epoch by epoch."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.networks.heads import HeadNetwork, build_head_network, describe_head
from veduta.optim.vectorized import VectorizedOptimizer
from veduta.training.examples import Examples
from veduta.training.folds import Fold, pool_epochs, pool_values
from veduta.training.loop import Epoch, shuffle_examples, split_into_batches
from veduta.training.step import (
    EVALUATION_BATCH_SIZE,
    NotFiniteError,
    create_dropout_noise,
    create_epoch_error,
    create_loss_error,
)
from veduta.tuning.executors.fused.head import FusedHead
from veduta.tuning.executors.protocol import (
    CancelledError,
    End,
    Heartbeat,
    TileEpoch,
    TileEpochs,
    always_continue,
    send_heartbeats,
)
from veduta.tuning.trials.space import Tile, Trial
from veduta.tuning.trials.state import TrialState
from veduta.types import BoolArray

COMPACTION_FRACTION = 0.75
"""Ended trials are removed from a tile once at most this fraction of its trials is active."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of T trials on N images, one entry per trial.

    Attributes:
        losses: mean cross entropy in nats.
        accuracies: fraction of correct predictions.
        correct: (T, N), whether the prediction is correct; N is 0 if `keep_images` was false.
        logits: (T, classes, N); N is 0 if `keep_images` was false.
    """

    losses: list[float]
    accuracies: list[float]
    correct: BoolArray
    logits: Tensor


def evaluate_head(
    head: FusedHead, examples: Examples, heartbeat: Heartbeat, *, keep_images: bool
) -> Evaluation:
    """Evaluate T heads on N images; losses are summed in float64.

    Args:
        head: the heads.
        examples: the images.
        heartbeat: called before every block of images.
        keep_images: whether to return correctness and logits of every image.

    Raises:
        CancelledError: the heartbeat asked to stop.
    """
    trials = len(head.rates)
    losses = torch.zeros(trials, dtype=torch.float64)
    correct_counts = torch.zeros(trials, dtype=torch.int64)
    count = len(examples) if keep_images else 0
    correct = torch.empty(trials, count, dtype=torch.bool)
    logits = losses.new_empty(trials, head.head.classes, count, dtype=examples.dtype)
    start = 0
    for z in head.logits(send_heartbeats(examples.iterate_parts(EVALUATION_BATCH_SIZE), heartbeat)):
        block = slice(start, start + z.shape[2])
        labels = examples.labels[block]
        start = block.stop
        exact = z.double()
        label_logits = exact.gather(1, labels.expand(trials, 1, -1)).squeeze(1)
        losses += (exact.logsumexp(1) - label_logits).sum(1)
        is_correct = z.max(1).indices == labels
        correct_counts += is_correct.sum(1)
        if keep_images:
            correct[:, block], logits[:, :, block] = is_correct, z
    mean_losses, accuracies = losses / len(examples), correct_counts.double() / len(examples)
    return Evaluation(mean_losses.tolist(), accuracies.tolist(), correct.numpy(), logits)


@dataclass(frozen=True, slots=True)
class FoldEpoch:
    """Results of one epoch on one fold, one entry per trial.

    Attributes:
        step_losses: first loss of a training step that is not finite; the last loss if all are.
        learning_rates: learning rate of the last step.
        train, validation: evaluation after the epoch.
    """

    step_losses: list[float]
    learning_rates: list[float]
    train: Evaluation
    validation: Evaluation

    def select_trial(self, index: int, *, number: int, seconds: float) -> Epoch:
        """Return epoch `number` of the trial at `index`."""
        return Epoch(
            number,
            train_loss=self.train.losses[index],
            train_accuracy=self.train.accuracies[index],
            val_loss=self.validation.losses[index],
            val_accuracy=self.validation.accuracies[index],
            current_lr=self.learning_rates[index],
            seconds=seconds,
            val_logits=self.validation.logits[index].T,
        )


def run_fused(
    tile: Tile, folds: Sequence[Fold], *, classes: int, heartbeat: Heartbeat = always_continue
) -> TileEpochs:
    """Train the trials of a tile together, once per fold, and yield the results of each epoch.

    Each trial gives the same result as when trained alone, up to rounding. The dtype is that of the
    features: float32, or float64 in tests. When the heartbeat asks to stop, training ends and
    nothing is saved: a tile is run again from its first epoch.

    Args:
        tile: trials of one group.
        folds: features of the training and validation images.
        classes: number of classes.
        heartbeat: called before every step and every block of images that is evaluated.
    """
    training = _TileTraining(tile, folds, classes)
    number = 0
    while active := training.find_active_indices():
        number += 1
        started = time.perf_counter()
        try:
            with torch.inference_mode():
                fold_epochs = [fold.run_epoch(number, heartbeat) for fold in training.folds]
        except CancelledError:
            return
        seconds = (time.perf_counter() - started) / len(active) / len(folds)
        epochs, ended = list[tuple[Trial, Epoch]](), list[tuple[Trial, End]]()
        for index in active:
            trial = training.states[index].trial
            correct = pool_values([fold.validation.correct[index] for fold in fold_epochs], folds)
            parts = [
                fold.select_trial(index, number=number, seconds=seconds) for fold in fold_epochs
            ]
            errors = [
                _find_error(fold.step_losses[index], part)
                for fold, part in zip(fold_epochs, parts, strict=True)
            ]
            if error := next(filter(None, errors), None):
                training.mark_failed(index)
                ended.append((trial, error))
                continue
            epoch = pool_epochs(parts, folds, correct)
            epochs.append((trial, epoch))
            if end := training.add_epoch(index, epoch, correct):
                ended.append((trial, end))
        yield TileEpoch(number, epochs, ended, training.compact())


def _find_error(step_loss: float, epoch: Epoch) -> NotFiniteError | None:
    """Return the error of a trial whose loss is not finite in this epoch, or None."""
    if not math.isfinite(step_loss):
        return create_loss_error(step_loss)
    if not math.isfinite(epoch.train_loss + epoch.val_loss):
        return create_epoch_error(epoch.number, epoch.train_loss, epoch.val_loss)
    return None


class _FoldTraining:
    """Training of the trials of a tile on one fold."""

    def __init__(self, settings: Sequence[Settings], fold: Fold, head: Head) -> None:
        self.fold = fold
        self.shared = settings[0]  # batch size, seed and head shape are the same in all trials
        network = build_head_network(head, self.shared.seed)
        network.to(fold.train.dtype)
        smoothing = [trial.label_smoothing for trial in settings]
        self.head = FusedHead(network, [trial.dropout for trial in settings], smoothing)
        self.batches = split_into_batches(len(fold.train), self.shared.batch_size)
        self.optimizer = VectorizedOptimizer(
            settings, self.head.parameters, self.head.gradients, steps=len(self.batches)
        )

    def run_epoch(self, number: int, heartbeat: Heartbeat) -> FoldEpoch:
        """Train one epoch and evaluate the heads."""
        losses = self._train_epoch(number, heartbeat)
        train = evaluate_head(self.head, self.fold.train, heartbeat, keep_images=False)
        validation = evaluate_head(self.head, self.fold.validation, heartbeat, keep_images=True)
        return FoldEpoch(losses, self.optimizer.lr.tolist(), train, validation)

    def _train_epoch(self, number: int, heartbeat: Heartbeat) -> list[float]:
        """Train one epoch; return `FoldEpoch.step_losses`."""
        examples, seed = self.fold.train, self.shared.seed
        order = shuffle_examples(examples, seed, number)
        get_batch = examples.get_batch_source(number)
        step_losses = torch.zeros(len(self.head.rates), dtype=examples.dtype)
        for batch_slice in send_heartbeats(self.batches, heartbeat):
            indices = order[batch_slice]
            noise = create_dropout_noise(seed, number, examples.keys[indices])
            batch = get_batch(indices)
            losses = self.head.train_step(batch.features, batch.labels, noise)
            self.optimizer.step()
            step_losses = torch.where(step_losses.isfinite(), losses, step_losses)
        return [float(loss) for loss in step_losses]

    def select_trials(self, indices: Tensor) -> None:
        """Remove all trials except those at `indices`."""
        self.head.select_trials(indices)
        self.optimizer.keep_trials(indices, self.head.parameters, self.head.gradients)


class _TileTraining:
    """Training of a tile; entry i of every fold belongs to the trial of `states[i]`."""

    def __init__(self, tile: Tile, folds: Sequence[Fold], classes: int) -> None:
        self.shape, self.classes = folds[0].train.shape, classes
        settings, head = [trial.settings for trial in tile], self._describe_head(tile[0])
        self.folds = [_FoldTraining(settings, fold, head) for fold in folds]
        self.states = [TrialState(trial) for trial in tile]
        self._failed = set[str]()

    def find_active_indices(self) -> list[int]:
        """Return the indices of the trials that have not ended."""
        return [
            index
            for index, state in enumerate(self.states)
            if state.end_reason is None and state.trial.id not in self._failed
        ]

    def mark_failed(self, index: int) -> None:
        """End the trial at `index`, whose loss is not finite."""
        self._failed.add(self.states[index].trial.id)

    def add_epoch(self, index: int, epoch: Epoch, correct: BoolArray) -> End | None:
        """Add an epoch of the trial at `index`; return the finished trial if it ended."""
        state = self.states[index]
        state.add_epoch(epoch, correct, lambda: self.folds[0].head.copy_trial(index))
        if state.end_reason is None:
            return None
        with torch.device("meta"):  # `state.finish` loads the weights
            network = HeadNetwork(self._describe_head(state.trial))
        return state.finish(network)

    def compact(self) -> list[Trial] | None:
        """Remove ended trials once at most `COMPACTION_FRACTION` of all trials are active.

        Returns:
            The remaining trials, or None if no trial was removed.
        """
        active = self.find_active_indices()
        if not active or len(active) > COMPACTION_FRACTION * len(self.states):
            return None
        for fold in self.folds:
            fold.select_trials(torch.tensor(active))
        self.states = [self.states[index] for index in active]
        return [state.trial for state in self.states]

    def _describe_head(self, trial: Trial) -> Head:
        return describe_head(trial.settings, self.shape[0], self.classes)
