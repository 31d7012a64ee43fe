"""The refit of the winner on training and validation images together.

Its training can be interrupted, saved and continued like that of a trial.
"""

from contextlib import closing
from dataclasses import dataclass

from veduta.networks.heads import HeadNetwork
from veduta.training.examples import Examples
from veduta.training.loop import Training
from veduta.tuning.executors.pool import run_tiles
from veduta.tuning.executors.protocol import (
    CancelledError,
    Heartbeat,
    TileEpoch,
    TileEpochs,
    always_continue,
)
from veduta.tuning.executors.serial import TrainingContext, build_training
from veduta.tuning.recorder import ProgressMeter
from veduta.tuning.study import ExecutionConfig
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import TrialState


@dataclass(slots=True)
class Refit:
    """A training for a fixed number of epochs.

    Attributes:
        trial: the trial whose settings it has; the schedule is that of the whole trial, so each
            epoch has the learning rate that it had in the trial.
        training: the training, continued from the newest checkpoint.
        epochs: number of epochs.
        checkpointer: writes and reads checkpoints.
    """

    trial: Trial
    training: Training
    epochs: int
    checkpointer: Checkpointer

    def run(self, heartbeat: Heartbeat = always_continue) -> TileEpochs:
        """Train the remaining epochs and yield after each of them, without metrics."""
        try:
            while self.training.epoch <= self.epochs:
                self.training.finish_epoch(lambda images: self.handle_step(images, heartbeat))
                self.training.start_next_epoch()
                yield TileEpoch(self.training.epoch - 1, [], [])
        except GeneratorExit:
            self.save()
            raise
        except CancelledError:
            return
        self.save()
        self.checkpointer.finish()

    def handle_step(self, images: int, heartbeat: Heartbeat) -> None:
        """Send a heartbeat after a step and save the training where a checkpoint is due.

        Raises:
            CancelledError: the heartbeat asked to stop; the training was saved.
        """
        cancelled = not heartbeat(images)
        if cancelled or self.checkpointer.is_due:
            self.save()
        if cancelled:
            raise CancelledError

    def save(self) -> None:
        """Write a checkpoint."""
        self.checkpointer.save(TrialState(self.trial), [self.training])


def create_refit(
    trial: Trial,
    examples: Examples,
    *,
    context: TrainingContext,
    epochs: int,
    checkpointer: Checkpointer | None = None,
) -> Refit:
    """Return the refit of `trial` on `examples`, continued from its newest checkpoint if any."""
    training = build_training(trial.settings, examples, context)
    checkpointer = checkpointer or Checkpointer()
    checkpointer.load(TrialState(trial), [training])
    return Refit(trial, training, epochs, checkpointer)


def run_refit(refit: Refit, config: ExecutionConfig, meter: ProgressMeter) -> HeadNetwork:
    """Train a refit in a thread and return the network; an interruption saves the training.

    Raises:
        VedutaError: the training hangs, or a loss is not finite.
    """
    trial_id = refit.trial.id
    meter.finish_epoch(trial_id, refit.training.epoch - 1, repeated=True)
    results = run_tiles(
        [(refit.trial,)],
        lambda _, heartbeat: refit.run(heartbeat),
        workers=1,
        threads=config.threads,
        hang_seconds=config.hang_seconds,
    )
    with closing(results):
        for _, result in results:
            if isinstance(result, Exception):
                raise result
            if isinstance(result, TileEpoch):
                meter.finish_epoch(trial_id, result.number)
            elif result:
                meter.add_images(trial_id, result)
    return refit.training.evaluated_network
