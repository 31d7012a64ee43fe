r"""The loss of a batch: cross entropy with smoothed labels, mixed labels and class weights."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Batch:
    """The images of one step and their labels.

    For mixed images the label of image i has the weight `fractions[i]`, and the label of its
    partner has the rest. `partner_labels` and `fractions` are either both given or both None.

    Attributes:
        features: (B, ...).
        labels: (B,) int64.
        partner_labels: (B,) int64.
        fractions: (B,) in [0, 1]; lambda of MixUp and CutMix.
    """

    features: Tensor
    labels: Tensor
    partner_labels: Tensor | None = None
    fractions: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepOptions:
    r"""Options of the training steps of a trial, besides its optimizer.

    Attributes:
        label_smoothing: \epsilon; the target is 1 - \epsilon for the label, plus \epsilon / classes
            for each class (Szegedy et al., "Rethinking the Inception architecture", 2016).
        class_weights: weight of each class in the loss, (classes,); None for equal weights.
        clip: maximum gradient norm; larger gradients are scaled down to it. None for no maximum.
        autocast: autocast dtype of the forward pass; None to compute in the dtype of the weights.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    clip: float | None = None
    autocast: torch.dtype | None = None


def build_step_options(
    settings: Settings, labels: Tensor, *, classes: int, autocast: torch.dtype | None = None
) -> StepOptions:
    """Build the options of the steps of a trial.

    Args:
        settings: settings of the trial.
        labels: (N,) labels of the training images, for the class weights.
        classes: number of classes.
        autocast: the dtype that `training.step.choose_autocast_dtype` returned.
    """
    is_balanced = settings.class_weights == "balanced"
    return StepOptions(
        label_smoothing=settings.label_smoothing,
        class_weights=compute_balanced_weights(labels, classes) if is_balanced else None,
        clip=settings.clip,
        autocast=autocast,
    )


def compute_balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Compute class weights with which all classes contribute equally to the loss.

    The weight of a class is N / (classes * images of the class). Only classes that occur are
    counted; a class without images, as a fold may have it, has the weight 0.

    Source: scikit-learn, `class_weight="balanced"`.

    >>> compute_balanced_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000], dtype=torch.float64)
    """
    counts = torch.bincount(labels, minlength=classes).double()
    weights = len(labels) / (torch.count_nonzero(counts) * counts)
    return torch.where(counts > 0, weights, 0.0)


def compute_batch_loss(logits: Tensor, batch: Batch, options: StepOptions) -> Tensor:
    r"""Compute the mean loss of a batch in nats (report, equation 27).

    Let l_i(y) be the cross entropy of image i against the smoothed label y, in which class c has
    the weight u_c, s_i the fraction of image i, y_i its label and p_i the label of its partner:

        L = \sum_i [s_i l_i(y_i) + (1 - s_i) l_i(p_i)] / \sum_i [s_i u_{y_i} + (1 - s_i) u_{p_i}]

    Without class weights u = 1, and L is the plain mean; without mixing s = 1, and L is the
    weighted mean of torch.

    Args:
        logits: (B, classes).
        batch: labels of the images.
        options: label smoothing and the class weights u.
    """
    weights = options.class_weights
    weights = None if weights is None else weights.to(logits.dtype)
    smoothing = options.label_smoothing
    if batch.partner_labels is None or batch.fractions is None:
        return cross_entropy(logits, batch.labels, weights, label_smoothing=smoothing)
    fractions = batch.fractions.to(logits.dtype)
    own_losses, partner_losses = (
        cross_entropy(logits, labels, weights, reduction="none", label_smoothing=smoothing)
        for labels in (batch.labels, batch.partner_labels)
    )
    losses = fractions * own_losses + (1 - fractions) * partner_losses
    if weights is None:
        return losses.mean()
    totals = fractions * weights[batch.labels] + (1 - fractions) * weights[batch.partner_labels]
    return losses.sum() / totals.sum()
