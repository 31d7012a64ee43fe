"""What curves say of over- and underfitting, in the words of the report's section 3."""

from collections.abc import Sequence

import pandas as pd

from veduta.foundations.generalization import (
    find_overfitting_epoch,
    generalization_gap,
    overfits,
    underfits,
)
from veduta.foundations.stopping import optimal_epoch

LIMIT = 0.1  # the gap from which section 3 speaks of overfitting


def reading(epochs: pd.DataFrame, best_epoch: int) -> Sequence[str]:
    """Sentences about a training, from its epochs.

    Args:
        epochs: of one trial: epoch, and losses and accuracies of training and validation.
        best_epoch: the one that was kept.
    """
    best = epochs[epochs["epoch"] == best_epoch]
    train, validation = best["train_accuracy"].to_numpy()[0], best["val_accuracy"].to_numpy()[0]
    apart = generalization_gap(train, validation)
    told = [
        f"At epoch {best_epoch} of {len(epochs)}, which was kept, {train:.1%} of the training "
        f"images are right and {validation:.1%} of those that validate: "
        + (f"{100 * apart:.1f} points apart." if apart >= 0 else "training shows no advantage.")
    ]
    if underfits(train):
        told.append(
            "It underfits: not even the images that it learned from are described. A network that "
            "can do more, a higher rate or more epochs may help."
        )
    elif overfits(train, validation, limit=LIMIT):
        told.append(
            f"It overfits: validation is considerably lower, by more than {100 * LIMIT:.0f} points."
            " More images, augmentation, a penalty or dropout may help."
        )
    else:
        told.append(
            f"That is less than the {100 * LIMIT:.0f} points from which validation counts as "
            "considerably lower here, and the net as overfitted (section 3)."
        )
    return [*told, *_course(epochs)]


def _course(epochs: pd.DataFrame) -> Sequence[str]:
    """What the losses say of how long the training was."""
    losses = epochs["train_loss"].tolist(), epochs["val_loss"].tolist()
    if not epochs[["train_loss", "val_loss"]].notna().to_numpy().all():
        return []
    least, last = optimal_epoch(losses[1]), len(epochs)
    turned = find_overfitting_epoch(*losses)
    if turned is not None:
        told = f"After epoch {turned} only the training loss improves: the rest is memorised."
        return [told]
    if least == last and last > 1:
        return ["The validation loss was still falling when it ended: more epochs may help."]
    return []
