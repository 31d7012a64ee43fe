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
    """Inputs of the training of a trial other than its settings and images.

    Attributes:
        classes: number of classes.
        tail: the backbone stages that train with the head, with their initial weights; None if
            only the head trains.
        autocast: autocast dtype; None disables autocast.
        pause_epoch: epoch after which the trial pauses; None if it does not pause.
        ends_at_pause: whether the trial ends at the pause because successive halving does not
            promote it.
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
        context: other inputs of the training.
        checkpointer: writes and reads checkpoints; None disables checkpoints.
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
        if training.state.end_reason is None:  # a trial that has ended is already saved
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
        has_one_fold = len(self.folds) == 1
        if not self.heartbeat(images):
            if has_one_fold:
                self.save()
            raise CancelledError
        if has_one_fold and self.checkpointer.is_due:
            self.save()

    def build_result(self, epoch: Epoch) -> TileEpoch:
        """Return the result of an epoch, with the end or pause of the trial after its last one."""
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
        """Write a checkpoint if all weights are finite; otherwise keep the previous one."""
        networks = [training.network for training in self.trainings]
        if all(p.isfinite().all() for network in networks for p in network.parameters()):
            self.checkpointer.save(self.state, self.trainings)


def build_network(settings: Settings, like: Examples, context: TrainingContext) -> HeadNetwork:
    """Return the network of a trial before training: a new head behind a copy of the tail.

    Args:
        settings: settings of the trial.
        like: examples with the shape and dtype of the inputs of the network.
        context: other inputs of the training.
    """
    tail = context.tail
    features = like.shape[0] if tail is None else tail.features
    network = build_head_network(describe_head(settings, features, context.classes), settings.seed)
    if tail is not None:
        network = TailNetwork(network, tail)
    return network.to(like.dtype)


def build_training(settings: Settings, train: Examples, context: TrainingContext) -> Training:
    """Return the training of a new network on the examples `train`, before its first step."""
    network = build_network(settings, train, context)
    return Training(network, train, settings, autocast=context.autocast)


def _find_correct(epoch: Epoch, fold: Fold) -> BoolArray:
    """Return whether each prediction is correct, of shape (validation images of the fold,)."""
    correct: BoolArray = (epoch.val_logits.argmax(1) == fold.validation.labels).numpy()
    return correct
