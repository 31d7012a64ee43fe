"""Every optimizer takes the steps of the foundations.

Where PyTorch's convention differs from the report's:

- Weight decay is coupled in all but AdamW: lambda / n times w joins the gradient, which is (39) for
  plain descent, but in Adam, RMSprop and Adagrad is divided by the root of the squares as well.
- SGD's momentum keeps the sum of past gradients, not the velocity of (37), and multiplies by the
  learning rate at the end: the same path until the learning rate changes.
- epsilon is added to the root, sqrt(s) + epsilon, as in the foundations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.foundations.helpers import assert_same, draw_normal
from veduta.config.settings import Settings
from veduta.foundations import optimizers, regularization
from veduta.foundations.arrays import Array
from veduta.foundations.optimizers import Moments
from veduta.optim.optimizers import OPTIMIZERS, build_optimizer

LR, DECAY, STEPS = 0.05, 0.1, 4
Step = Callable[[Array, Any, Array], tuple[Array, Any]]


def add_penalty(w: Array, gradient: Array) -> Array:
    """Return the gradient with that of the penalty; lambda / n is PyTorch's weight_decay."""
    return gradient + regularization.l2_gradient(w, lam=DECAY, n=1)


def step_sgd(w: Array, v: Array, gradient: Array) -> tuple[Array, Array]:
    return optimizers.momentum_step(w, v, gradient=add_penalty(w, gradient), lr=LR, mu=0.8)


def step_nesterov(w: Array, v: Array, gradient: Array) -> tuple[Array, Array]:
    return optimizers.nesterov_step(w, v, gradient=add_penalty(w, gradient), lr=LR, mu=0.8)


def step_plain(w: Array, state: Array, gradient: Array) -> tuple[Array, Array]:
    return regularization.weight_decay_step(w, gradient, lr=LR, lam=DECAY, n=1), state


def step_adagrad(w: Array, total: Array, gradient: Array) -> tuple[Array, Array]:
    return optimizers.adagrad_step(w, total, gradient=add_penalty(w, gradient), lr=LR)


def step_rmsprop(w: Array, square: Array, gradient: Array) -> tuple[Array, Array]:
    return optimizers.rmsprop_step(w, square, gradient=add_penalty(w, gradient), lr=LR)


def step_adam(w: Array, moments: Moments, gradient: Array) -> tuple[Array, Moments]:
    return optimizers.adam_step(
        w, moments, gradient=add_penalty(w, gradient), lr=LR, betas=(0.8, 0.9)
    )


def step_adamw(w: Array, moments: Moments, gradient: Array) -> tuple[Array, Moments]:
    decayed = regularization.weight_decay_step(w, 0 * gradient, lr=LR, lam=DECAY, n=1)
    return optimizers.adam_step(decayed, moments, gradient=gradient, lr=LR, betas=(0.8, 0.9))


CASES: dict[str, tuple[dict[str, Any], Step]] = {
    "sgd": ({"momentum": 0.8}, step_sgd),
    "sgd, nesterov": ({"momentum": 0.8, "nesterov": True}, step_nesterov),
    "sgd, plain": ({"momentum": 0.0}, step_plain),
    "adagrad": ({}, step_adagrad),
    "rmsprop": ({}, step_rmsprop),
    "adam": ({"betas": (0.8, 0.9)}, step_adam),
    "adamw": ({"betas": (0.8, 0.9)}, step_adamw),
}


def test_every_optimizer_has_a_case() -> None:
    assert {name.partition(",")[0] for name in CASES} == set(OPTIMIZERS)


@pytest.mark.parametrize(("values", "step"), CASES.values(), ids=CASES)
def test_steps_are_those_of_the_foundations(
    values: dict[str, Any], step: Step, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id.partition(",")[0]
    settings = Settings(optimizer=name, lr=LR, weight_decay=DECAY, **values)
    w = draw_normal(0, 3, 4)
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = build_optimizer([(1.0, [parameter])], settings)
    zeros = np.zeros_like(w)
    state: Any = Moments(zeros, zeros) if name.startswith("adam") else zeros
    for number in range(STEPS):
        gradient = draw_normal(number + 1, 3, 4)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        w, state = step(w, state, gradient)
        assert_same(w, parameter)


def test_biases_have_no_weight_decay() -> None:
    bias = torch.nn.Parameter(torch.ones(3).double())
    settings = Settings(optimizer="sgd", lr=LR, momentum=0.0, weight_decay=DECAY)
    optimizer = build_optimizer([(1.0, [bias])], settings)
    bias.grad = torch.zeros(3).double()
    optimizer.step()
    assert_same(np.ones(3), bias)


def test_momentum_differs_once_the_learning_rate_changes() -> None:
    """PyTorch rescales the whole velocity, (37) the new gradient only; converted, they agree."""
    w, v, gradients = draw_normal(0, 3), np.zeros(3), (draw_normal(1, 3), draw_normal(2, 3))
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer = build_optimizer(
        [(1.0, [parameter])], Settings(optimizer="sgd", lr=0.1, momentum=0.8)
    )
    for lr, gradient in zip((0.1, 0.01), gradients, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        w, v = optimizers.momentum_step(w, v, gradient=gradient, lr=lr, mu=0.8)
    expected = -0.1 * gradients[0] - 0.01 * (0.8 * gradients[0] + gradients[1])
    assert_same(parameter, draw_normal(0, 3) + expected)
    # factor of the first gradient in the velocity: 0.8 x 0.1 here, 0.8 x 0.01 in PyTorch
    assert_same(w - parameter.detach().numpy(), -0.8 * (0.1 - 0.01) * gradients[0])
