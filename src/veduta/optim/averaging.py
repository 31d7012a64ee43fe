"""The exponential moving average of weights: measured and kept in place of the last ones.

Weights at the end of a noisy descent wander around a minimum; their mean lies nearer to it. The
average is a network of its own, so that measuring it disturbs nothing in training.
"""

import copy

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float) -> float:
    r"""d_t = \min(d, (1 + t) / (10 + t)): short of memory at first, or the start would stay in.

    Source: TensorFlow's `ExponentialMovingAverage` with `num_updates`.

    Args:
        step: t, number of the update, from 1.
        decay: d, in [0, 1).

    >>> [round(decay_at(step, 0.9), 3) for step in (1, 2, 80, 200)]
    [0.182, 0.25, 0.9, 0.9]
    """
    return min(decay, (1 + step) / (10 + step))


class Average:
    r"""The running average of a network: a = d_t a + (1 - d_t) w, from the network's own start.

    Buffers, the statistics of batch normalisation among them, are means already and are copied.

    Attributes:
        network: the average, ready to be measured; it does not train.
        steps: updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the weights that `network` has now.

        Args:
            network: what is averaged; looked at by every `update`.
            decay: d, how much of the average remains, in [0, 1).
        """
        self._source, self._decay = network, decay
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the network has become; to be called after each step."""
        self.steps += 1
        share = 1 - decay_at(self.steps, self._decay)
        averaged, trained = self.network, self._source
        for a, w in zip(averaged.parameters(), trained.parameters(), strict=True):
            a.lerp_(w, share)
        for mean, now in zip(averaged.buffers(), trained.buffers(), strict=True):
            mean.copy_(now)

    def state(self) -> dict[str, Tensor]:
        """Weights and buffers of the average, by name; with `steps`, all that goes on from here."""
        return dict(self.network.state_dict())

    def load(self, state: dict[str, Tensor], steps: int) -> None:
        """Go on from what `state` and `steps` gave earlier."""
        self.network.load_state_dict(state)
        self.steps = steps
