r"""Penalties on weights: which numbers they act on, and L1, which torch's optimisers do not have.

L2 is the `weight_decay` of an optimiser. Both are strengths a weight feels: with the report's
\lambda and n samples, weight_decay is \lambda / n (38a), l1 is \lambda / 2n (38b).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn


def penalised(
    parameters: Iterable[nn.Parameter], penalise: Literal["weights", "all"] = "weights"
) -> list[nn.Parameter]:
    """What penalties act on among the parameters of a network.

    With "weights" matrices and kernels: not biases, nor the scale and shift of batch normalisation;
    those too with "all".
    """
    return [one for one in parameters if penalise == "all" or one.dim() > 1]


def penalise_l1(
    optimizer: torch.optim.Optimizer, weights: Sequence[nn.Parameter], l1: float
) -> None:
    r"""Have each step of `optimizer` descend C + l1 \sum_w \|w\|_1 instead of C.

    The subgradient of equation (38b), l1 sign(w), which is 0 at the kink, joins the gradient of
    every weight just before the step; in adamw too, where L2 does not.
    """

    def add(*_: Any) -> None:  # noqa: ANN401
        for weight in weights:
            if weight.grad is not None:
                weight.grad.add_(weight.detach().sign(), alpha=l1)

    optimizer.register_step_pre_hook(add)
