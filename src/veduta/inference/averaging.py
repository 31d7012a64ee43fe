"""Test-time augmentation: what a model says of an image is the mean over some views of it.

It is logits that are averaged, not probabilities: the mean is still logits, which are kept as such
and which one softmax makes probabilities of; it is the geometric mean of the views' probabilities.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from veduta.models.heads import HeadNetwork
from veduta.training.step import logits_of


def mean_logits(network: HeadNetwork, views: Iterable[Iterable[Tensor]]) -> Tensor:
    """Logits (N, classes), the mean over the views of N images.

    Args:
        network: the head.
        views: features of the images in each view, part by part, in the same order.
    """
    return torch.stack([logits_of(network, parts) for parts in views]).mean(0)
