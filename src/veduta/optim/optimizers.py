r"""The optimizers of torch.optim by name, the penalties, and the moving average of weights.

A setting that an optimizer does not use is not a hyperparameter of trials with that optimizer: for
adam, a grid over `optimizer` and `momentum` has one trial and not one per value of `momentum`.

Penalties are given as the strength that acts on each weight. With \lambda and n samples as in the
report, `weight_decay` is \lambda / n (equation 38a) and `l1` is \lambda / 2n (equation 38b).

Weights at the end of training fluctuate around a minimum, and their exponential moving average
(EMA) is closer to it. The average is a separate network that is evaluated and saved instead of the
trained one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from veduta.config.settings import Settings

ParamGroup = dict[str, Any]

ScaledGroup = tuple[float, Sequence[nn.Parameter]]
"""A factor of the learning rate, and the parameters that it applies to."""


@dataclass(frozen=True, slots=True)
class OptimizerSpec:
    """How an optimizer is built, and which settings it uses besides lr and weight_decay."""

    build: Callable[[list[ParamGroup], Settings], torch.optim.Optimizer]
    uses: frozenset[str] = field(default_factory=frozenset)


def _build_sgd(groups: list[ParamGroup], settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, settings.lr, momentum=settings.momentum, nesterov=settings.nesterov
    )


OPTIMIZERS: dict[str, OptimizerSpec] = {
    "adagrad": OptimizerSpec(lambda groups, s: torch.optim.Adagrad(groups, s.lr)),
    "adam": OptimizerSpec(
        lambda groups, s: torch.optim.Adam(groups, s.lr, betas=s.betas), frozenset({"betas"})
    ),
    "adamw": OptimizerSpec(
        lambda groups, s: torch.optim.AdamW(groups, s.lr, betas=s.betas), frozenset({"betas"})
    ),
    "rmsprop": OptimizerSpec(lambda groups, s: torch.optim.RMSprop(groups, s.lr)),
    "sgd": OptimizerSpec(_build_sgd, frozenset({"momentum", "nesterov"})),
}

OPTIMIZER_SETTINGS: frozenset[str] = frozenset().union(*(spec.uses for spec in OPTIMIZERS.values()))
"""The settings that only some optimizers use."""


def build_optimizer(groups: Sequence[ScaledGroup], settings: Settings) -> torch.optim.Optimizer:
    """Build the optimizer that `settings` name, for parameter groups with scaled learning rates.

    `weight_decay` is the L2 penalty of equation (38a) of the report. It acts on the parameters that
    `select_penalized` returns. Its gradient is added to that of the loss, except for adamw, which
    decays the weights directly. `l1` is the penalty of equation (38b) on the same parameters; its
    gradient is added to that of the loss for all optimizers.

    Args:
        groups: pairs of a scale and parameters; their learning rate is the scale times `lr`.
        settings: settings of the trial.

    Returns:
        An optimizer whose parameter groups, in the order of `groups`, have an entry `scale`.
    """
    all_penalized: list[nn.Parameter] = []
    param_groups: list[ParamGroup] = []
    for scale, parameters in groups:
        penalized = select_penalized(parameters, settings.penalize)
        ids = {id(parameter) for parameter in penalized}
        others = [parameter for parameter in parameters if id(parameter) not in ids]
        rate = {"lr": settings.lr * scale, "scale": scale}
        param_groups.append({"params": penalized, "weight_decay": settings.weight_decay, **rate})
        param_groups.append({"params": others, "weight_decay": 0.0, **rate})
        all_penalized += penalized
    spec = OPTIMIZERS[settings.optimizer]
    optimizer = spec.build([group for group in param_groups if group["params"]], settings)
    if settings.l1:
        add_l1_penalty(optimizer, all_penalized, settings.l1)
    return optimizer


def select_penalized(
    parameters: Iterable[nn.Parameter], penalize: Literal["weights", "all"] = "weights"
) -> list[nn.Parameter]:
    """Select the parameters that penalties act on.

    With "weights" these are matrices and kernels, but neither biases nor the scale and shift of
    batch normalization; with "all" they are all parameters.
    """
    return [parameter for parameter in parameters if penalize == "all" or parameter.dim() > 1]


def add_l1_penalty(
    optimizer: torch.optim.Optimizer, weights: Sequence[nn.Parameter], l1: float
) -> None:
    r"""Make each step of `optimizer` minimize C + l1 \sum_w \|w\|_1, which torch.optim cannot.

    The subgradient l1 sign(w), which is 0 for w = 0, is added to the gradient of each weight before
    the step. This holds for adamw as well, which does not add the L2 penalty to the gradient.
    """

    def add_subgradient(*_: object) -> None:
        for weight in weights:
            if weight.grad is not None:
                weight.grad.add_(weight.detach().sign(), alpha=l1)

    optimizer.register_step_pre_hook(add_subgradient)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of each parameter group to `lr` times the scale of the group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def find_optimizer_errors(settings: Settings) -> list[str]:
    """Return error messages for invalid combinations of the optimizer's settings."""
    if settings.optimizer == "sgd" and settings.nesterov and settings.momentum == 0:
        return ["nesterov needs momentum above 0; got momentum 0: set momentum to 0.9, for example"]
    return []


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
