r"""What a step descends: cross entropy, with smoothed or mixed labels, and weights for classes."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Where images are mixed, image i is `shares[i]` of its own and the rest of an image of the class
    `partner_labels[i]`; both are there, or neither is.

    features (B, ...), labels (B,) int64, partner_labels (B,) int64, shares (B,) from 0 to 1.
    """

    features: Tensor
    labels: Tensor
    partner_labels: Tensor | None = None
    shares: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Technique:
    r"""How the steps of a trial are made, beside its optimiser; built once a trial.

    Attributes:
        label_smoothing: \epsilon; the target is 1 - \epsilon for the label, and \epsilon / classes
            more for every class (Szegedy et al., "Rethinking the Inception architecture", 2016).
        class_weights: (classes,), of each class in the loss; None: all alike.
        clip: the longest gradient; a longer one is shortened to it. None: any length will do.
        autocast: the type that products are computed in; None: that of the weights.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    clip: float | None = None
    autocast: torch.dtype | None = None


def technique_of(
    settings: Settings, labels: Tensor, *, classes: int, autocast: torch.dtype | None = None
) -> Technique:
    """The technique that `settings` ask for.

    Args:
        settings: of the trial.
        labels: (N,) of its training images, for the weights of classes.
        classes: how many.
        autocast: what `training.precision` has settled.
    """
    balanced = settings.class_weights == "balanced"
    return Technique(
        label_smoothing=settings.label_smoothing,
        class_weights=balanced_weights(labels, classes) if balanced else None,
        clip=settings.clip,
        autocast=autocast,
    )


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights (classes,) under which all classes weigh the same: N / (classes x images of it).

    Counted are the classes that occur; one without images, as a fold may have it, has no weight.

    Source: scikit-learn, `class_weight="balanced"`.

    >>> balanced_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000], dtype=torch.float64)
    """
    counts = torch.bincount(labels, minlength=classes).double()
    weights = len(labels) / (torch.count_nonzero(counts) * counts)
    return torch.where(counts > 0, weights, 0.0)


def batch_loss(logits: Tensor, batch: Batch, technique: Technique) -> Tensor:
    r"""The mean loss of a batch in nats (report, equation 27), smoothed, mixed and weighted.

    With l_i(y) the cross entropy of image i against the smoothed label y, in which class c counts
    u_c times, s_i the share of the image itself, y_i its label and p_i its partner's:

        L = \sum_i [s_i l_i(y_i) + (1 - s_i) l_i(p_i)] / \sum_i [s_i u_{y_i} + (1 - s_i) u_{p_i}]

    Without weights u = 1, and L is the plain mean; unmixed, s = 1, and L is torch's weighted mean.

    Args:
        logits: (B, classes).
        batch: their labels.
        technique: label smoothing and weights u of classes.
    """
    weights = technique.class_weights
    weights = None if weights is None else weights.to(logits.dtype)
    smoothing = technique.label_smoothing
    if batch.partner_labels is None or batch.shares is None:
        return cross_entropy(logits, batch.labels, weights, label_smoothing=smoothing)
    shares = batch.shares.to(logits.dtype)
    ours, theirs = (
        cross_entropy(logits, labels, weights, reduction="none", label_smoothing=smoothing)
        for labels in (batch.labels, batch.partner_labels)
    )
    losses = shares * ours + (1 - shares) * theirs
    if weights is None:
        return losses.mean()
    counted = shares * weights[batch.labels] + (1 - shares) * weights[batch.partner_labels]
    return losses.sum() / counted.sum()
