"""When training stops: the rules of `foundations.stopping`, as production uses them."""

from veduta.config.settings import Settings
from veduta.foundations.stopping import gap_exceeds, reaches_threshold, should_stop


class Stopping:
    """Says after each epoch whether a trial stops, and by which rule; one that is unset never.

    `stop_at` validation accuracy has reached its value; `stop_gap` training accuracy is further
    above it than that, the gap of the shares of wrong answers; `patience` so many epochs went by
    without a better validation loss.

    Attributes:
        losses: validation loss after each epoch so far, all there is to remember: a trial that goes
            on after an interruption starts with those it had.

    >>> stopping = Stopping(Settings(patience=2))
    >>> for loss in (0.9, 0.8, 0.85, 0.81):
    ...     print(stopping.exhausted(val_loss=loss, train_accuracy=0.7, val_accuracy=0.6))
    None
    None
    None
    patience
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.losses: list[float] = []

    def exhausted(
        self, *, val_loss: float, train_accuracy: float, val_accuracy: float
    ) -> str | None:
        """Take the figures of one more epoch; the name of the first rule that it stops by, if any.

        Args:
            val_loss: on validation images.
            train_accuracy: share of right answers on training images, plain, in evaluation mode.
            val_accuracy: likewise on validation images.
        """
        self.losses.append(val_loss)
        at, gap, patience = (
            getattr(self._settings, n) for n in ("stop_at", "stop_gap", "patience")
        )
        if at is not None and reaches_threshold(val_accuracy, at):
            return "stop_at"
        if gap is not None and gap_exceeds(1 - train_accuracy, 1 - val_accuracy, gap):
            return "stop_gap"
        if patience is not None and should_stop(self.losses, patience):
            return "patience"
        return None
