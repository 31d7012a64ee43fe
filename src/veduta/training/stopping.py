"""When training stops: the rules of `foundations.stopping`, as production uses them."""

from veduta.foundations.stopping import should_stop


class Patience:
    """Stops after `patience` epochs without a better validation loss; never where it is None.

    >>> patience = Patience(2)
    >>> [patience.exhausted(loss) for loss in (0.9, 0.8, 0.85, 0.81)]
    [False, False, False, True]
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.losses: list[float] = []

    def exhausted(self, validation_loss: float) -> bool:
        """Take the loss of one more epoch, and say whether to stop."""
        self.losses.append(validation_loss)
        return self.patience is not None and should_stop(self.losses, self.patience)
