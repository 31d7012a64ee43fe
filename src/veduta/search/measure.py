"""Figures of all trials of a tile after an epoch: in evaluation mode, on every image."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.search.fused_head import FusedHead
from veduta.search.progress import Beat, beating
from veduta.training.state import Examples
from veduta.training.step import EVALUATION_BATCH


@dataclass(frozen=True, slots=True)
class Measured:
    """One entry a slot: mean losses and accuracies; hits (T, images), logits (T, classes, images).

    The last two hold no image where they were not kept.
    """

    losses: list[float]
    accuracies: list[float]
    hits: NDArray[np.bool_]
    logits: Tensor


def measure(head: FusedHead, examples: Examples, beat: Beat, *, keep: bool) -> Measured:
    """Mean cross entropy in nats, summed in float64, and the share of right labels.

    Args:
        head: T trials.
        examples: N images.
        beat: told of every block of them.
        keep: whether hits and logits of every image are wanted.

    Raises:
        LeftError: `beat` says not to go on.
    """
    losses = torch.zeros(len(head.rates), dtype=torch.float64)
    right = torch.zeros(len(head.rates), dtype=torch.int64)
    count = len(examples) if keep else 0
    hits = torch.empty(len(head.rates), count, dtype=torch.bool)
    logits = losses.new_empty(len(head.rates), head.head.classes, count, dtype=examples.dtype)
    start = 0
    for z in head.logits(beating(examples.parts(EVALUATION_BATCH), beat)):
        part = slice(start, start + z.shape[2])
        labels = examples.labels[part]
        start = part.stop
        exact = z.double()
        of_label = exact.gather(1, labels.expand(len(z), 1, -1)).squeeze(1)
        losses += (exact.logsumexp(1) - of_label).sum(1)
        found = z.max(1).indices == labels
        right += found.sum(1)
        if keep:
            hits[:, part], logits[:, :, part] = found, z
    means = losses / len(examples), right.double() / len(examples)
    return Measured(means[0].tolist(), means[1].tolist(), hits.numpy(), logits)
