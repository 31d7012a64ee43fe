"""The serial executor: trains one trial at a time with PyTorch's autograd.

It trains every trial that the fused executor cannot, such as trials that train a backbone, and it
is the reference: the fused executor must give the same results, up to rounding.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from veduta.config.settings import Settings
from veduta.networks.freezing import Tail, TailNetwork
from veduta.networks.heads import HeadNetwork, build_head_network, describe_head
from veduta.training.examples import Examples
from veduta.training.folds import Fold, pool_epochs, pool_values
from veduta.training.loop import Epoch, Training, fit
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.protocol import (
    CancelledError,
    End,
    Heartbeat,
    TileEpoch,
    TileEpochs,
    always_continue,
)
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import Tile, Trial
from veduta.tuning.trials.state import TrialState
from veduta.types import BoolArray


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What the training of a trial depends on besides its settings and images.

    Attributes:
        classes: number of classes.
        tail: the backbone stages that train with the head, with their initial weights; None where
            the head alone trains.
        autocast: autocast dtype; None for none.
        pause_epoch: epoch after which the trial pauses; None for never.
        ends_at_pause: whether the trial ends at the pause, not promoted by successive halving.
    """

    classes: int
    tail: Tail | None = None
    autocast: torch.dtype | None = None
    pause_epoch: int | None = None
    ends_at_pause: bool = False


def run_serial(
    tile: Tile,
    folds: Sequence[Fold],
    *,
    context: TrainingContext,
    checkpointer: Checkpointer | None = None,
    heartbeat: Heartbeat = always_continue,
) -> TileEpochs:
    """Train a tile of one trial, once per fold, and yield the results of each epoch.

    A trial that was interrupted or paused continues from its newest checkpoint: earlier epochs are
    yielded again, and the results are those of a trial that was never interrupted, bit for bit.

    Args:
        tile: the trial.
        folds: training and validation images: features, or the inputs of `context.tail`.
        context: what else the training depends on.
        checkpointer: writes and reads checkpoints; None for none.
        heartbeat: called between steps; when it asks to stop, the training is saved and ends.
    """
    (trial,) = tile
    training = _TrialTraining(trial, folds, context, checkpointer or Checkpointer(), heartbeat)
    try:
        for epoch in training.run_epochs():
            result = training.build_result(epoch)
            yield result
            if result.ended or result.paused:
                return
    except GeneratorExit:  # closed between two epochs
        if training.state.end_reason is None:  # else it is saved, with the weights of the best
            training.save()
        raise
    except CancelledError:
        return
    except NotFiniteError as error:
        yield TileEpoch(len(training.state.epochs) + 1, [], [(trial, error)])


@dataclass(slots=True)
class _TrialTraining:
    """Training of one trial, once per fold."""

    trial: Trial
    folds: Sequence[Fold]
    context: TrainingContext
    checkpointer: Checkpointer
    heartbeat: Heartbeat
    state: TrialState = field(init=False)
    trainings: list[Training] = field(init=False)

    def __post_init__(self) -> None:
        self.state = TrialState(self.trial)
        self.trainings = [
            build_training(self.trial.settings, fold.train, self.context) for fold in self.folds
        ]
        self.checkpointer.load(self.state, self.trainings)

    def run_epochs(self) -> Iterator[Epoch]:
        """Yield all epochs; those before a resume come first, without logits."""
        yield from list(self.state.epochs)
        fits = [
            fit(training, fold.validation, self.handle_step)
            for training, fold in zip(self.trainings, self.folds, strict=True)
        ]
        network = self.trainings[0].evaluated_network
        for epochs in zip(*fits, strict=True):
            correct = [
                _find_correct(epoch, fold) for epoch, fold in zip(epochs, self.folds, strict=True)
            ]
            pooled = pool_values(correct, self.folds)
            epoch = pool_epochs(epochs, self.folds, pooled)
            self.state.add_epoch(epoch, pooled, lambda: copy.deepcopy(network.state_dict()))
            if self.checkpointer.is_due:
                self.save()
            yield epoch

    def handle_step(self, images: int) -> None:
        """Send a heartbeat after a step and save the training where a checkpoint is due.

        With folds, checkpoints are written between epochs only.

        Raises:
            CancelledError: the heartbeat asked to stop; the training was saved.
        """
        is_undivided = len(self.folds) == 1
        if not self.heartbeat(images):
            if is_undivided:
                self.save()
            raise CancelledError
        if is_undivided and self.checkpointer.is_due:
            self.save()

    def build_result(self, epoch: Epoch) -> TileEpoch:
        """Return an epoch with the end of the trial, or its pause, if the epoch is the last."""
        ended: list[tuple[Trial, End]] = []
        paused = []
        if epoch.number == len(self.state.epochs):
            pause_epoch = self.context.pause_epoch
            pauses = pause_epoch is not None and epoch.number >= pause_epoch
            if pauses and self.context.ends_at_pause and self.state.end_reason is None:
                self.state.end_reason = "halving"
            if self.state.end_reason is not None:
                self.save()
                self.checkpointer.finish()
                ended = [(self.trial, self.state.finish(self.trainings[0].evaluated_network))]
            elif pauses:
                self.save()
                paused = [self.state.build_outcome(self.trainings[0].network.trained_parameters)]
        return TileEpoch(epoch.number, [(self.trial, epoch)], ended, paused=paused)

    def save(self) -> None:
        """Write a checkpoint if all weights are finite; otherwise keep the one before."""
        networks = [training.network for training in self.trainings]
        if all(p.isfinite().all() for network in networks for p in network.parameters()):
            self.checkpointer.save(self.state, self.trainings)


def build_network(settings: Settings, like: Examples, context: TrainingContext) -> HeadNetwork:
    """Return the network of a trial before training: a new head behind a copy of the tail.

    Args:
        settings: settings of the trial.
        like: examples of the shape and dtype of its inputs.
        context: what else the network depends on.
    """
    tail = context.tail
    features = like.shape[0] if tail is None else tail.features
    network = build_head_network(describe_head(settings, features, context.classes), settings.seed)
    if tail is not None:
        network = TailNetwork(network, tail)
    return network.to(like.dtype)


def build_training(settings: Settings, train: Examples, context: TrainingContext) -> Training:
    """Return the training of that network before its first step."""
    network = build_network(settings, train, context)
    return Training(network, train, settings, autocast=context.autocast)


def _find_correct(epoch: Epoch, fold: Fold) -> BoolArray:
    """Return (validation images of the fold,) whether the prediction is correct."""
    correct: BoolArray = (epoch.val_logits.argmax(1) == fold.validation.labels).numpy()
    return correct
