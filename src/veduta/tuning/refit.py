"""The last training of a winner, on all its images: what was held back to choose it, too.

It is left, saved and gone on with as a trial is.
"""

from contextlib import closing
from dataclasses import dataclass

from veduta.networks.heads import HeadNetwork
from veduta.training.loop import Training
from veduta.training.state import Examples
from veduta.tuning.executors.fused.executor import TileEpoch
from veduta.tuning.executors.pool import Epochs, side_by_side
from veduta.tuning.executors.serial import Way, fresh_training
from veduta.tuning.study import Means
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.progress import Beat, LeftError, Meter, unheard
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.state import Course


@dataclass(slots=True)
class Refit:
    """A training of exactly so many epochs, from a fresh start.

    Attributes:
        trial: whose settings it has; the schedule is that of the whole trial, so the epochs have
            the learning rates that they had in it.
        training: on its way; from where the newest checkpoint stands.
        epochs: after how many it ends.
        keeper: of its checkpoints.
    """

    trial: Trial
    training: Training
    epochs: int
    keeper: Keeper

    def run(self, beat: Beat = unheard) -> Epochs:
        """Train on; after each epoch, that it was made."""
        try:
            while self.training.epoch <= self.epochs:
                self.training.finish_epoch(lambda images: self.pulse(images, beat))
                self.training.next_epoch()
                yield TileEpoch(self.training.epoch - 1, [], [])
        except GeneratorExit:
            self.save()
            raise
        except LeftError:
            return
        self.save()
        self.keeper.ended()

    def pulse(self, images: int, beat: Beat) -> None:
        """Between two steps.

        Raises:
            LeftError: whoever listens does not wait any more; it was saved.
        """
        left = not beat(images)
        if left or self.keeper.due:
            self.save()
        if left:
            raise LeftError

    def save(self) -> None:
        """Write a checkpoint now."""
        self.keeper.save(Course(self.trial), [self.training])


def refit_of(
    trial: Trial, examples: Examples, *, way: Way, epochs: int, keeper: Keeper | None = None
) -> Refit:
    """The network of `trial`, to be trained on `examples` so many epochs; where it stands now."""
    training, keeper = fresh_training(trial.settings, examples, way), keeper or Keeper()
    keeper.load(Course(trial), [training])
    return Refit(trial, training, epochs, keeper)


def finished(refit: Refit, means: Means, meter: Meter) -> HeadNetwork:
    """Train to the end, in a thread that is left at the end of a step where this one is.

    Raises:
        VedutaError: it hangs, or a loss is not finite.
    """
    name = refit.trial.id
    meter.epoch(name, refit.training.epoch - 1, fresh=False)
    trained = side_by_side(
        [(refit.trial,)],
        lambda _, beat: refit.run(beat),
        workers=1,
        threads=means.threads,
        hang_seconds=means.hang_seconds,
    )
    with closing(trained) as seen:
        for _, came in seen:
            if isinstance(came, Exception):
                raise came
            if isinstance(came, TileEpoch):
                meter.epoch(name, came.number)
            elif came:
                meter.images(name, came)
    return refit.training.measured
