"""Exponential moving average (EMA) of the weights of a network.

Weights at the end of training fluctuate around a minimum, and their mean is closer to it. The
average is a separate network that is evaluated and saved instead of the trained one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def compute_decay(step: int, decay: float) -> float:
    r"""Compute the decay of an update with warm-up, d_t = \min(d, (1 + t) / (10 + t)).

    A lower decay in the first updates keeps the initial weights from dominating the average.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`.

    Args:
        step: t, number of the update, from 1.
        decay: d, in [0, 1).

    >>> [round(compute_decay(step, 0.9), 3) for step in (1, 2, 80, 200)]
    [0.182, 0.25, 0.9, 0.9]
    """
    return min(decay, (1 + step) / (10 + step))


def create_weight_average(network: nn.Module, decay: float) -> AveragedModel:
    r"""Create the moving average a = d_t a + (1 - d_t) w of the weights w of a network.

    The average starts at the current weights, which count as its first model. Call
    `update_parameters(network)` after every training step. Buffers, such as the statistics of batch
    normalization, are running averages already and are copied.

    Args:
        network: network whose weights are averaged.
        decay: d, in [0, 1); `compute_decay` gives d_t.

    Returns:
        An average whose `module` is in evaluation mode and has no gradients.
    """

    @torch.no_grad()
    def average_parameters(
        averages: Sequence[Tensor], weights: Sequence[Tensor], n_averaged: Tensor | int
    ) -> None:
        # torch's get_ema_multi_avg_fn has a constant decay, without warm-up
        new_weight = 1 - compute_decay(int(n_averaged), decay)
        for average, weight in zip(averages, weights, strict=True):
            average.lerp_(weight, new_weight)

    average = AveragedModel(network, multi_avg_fn=average_parameters)
    average.n_averaged.fill_(1)
    return average.requires_grad_(False).eval()
