"""Momentum (37), Nesterov, Adagrad, RMSprop and Adam: steps computed by hand."""

import numpy as np
import pytest

from tests.foundations.helpers import assert_same, draw_normal
from veduta.foundations import optimizers
from veduta.foundations.optimizers import Moments


def test_two_momentum_steps_by_hand() -> None:
    w, v = optimizers.momentum_step(np.array([1.0]), np.zeros(1), gradient=np.array([1.0]), lr=0.1)
    assert (w.item(), v.item()) == pytest.approx((0.9, -0.1))
    w, v = optimizers.momentum_step(w, v, gradient=w, lr=0.1)
    assert (w.item(), v.item()) == pytest.approx((0.72, -0.18))  # 0.9 (-0.1) - 0.1 (0.9)


def test_momentum_descends_and_the_printed_sign_ascends() -> None:
    costs = []
    for sign in (1.0, -1.0):
        w, v = np.ones(1), np.zeros(1)
        for _ in range(50):
            w, v = optimizers.momentum_step(w, v, gradient=sign * w, lr=0.01)
        costs.append(float(w.item() ** 2 / 2))
    assert costs[0] < 0.01
    assert costs[1] > 100


def test_nesterov_step_by_hand() -> None:
    w, v = optimizers.nesterov_step(np.array([1.0]), np.zeros(1), gradient=np.array([1.0]), lr=0.1)
    assert (w.item(), v.item()) == pytest.approx((0.81, -0.1))  # 1 + 0.9 (-0.1) - 0.1
    plain, _ = optimizers.nesterov_step(w, v, gradient=w, lr=0.1, mu=0.0)
    assert_same(plain, w - 0.1 * w)


def test_adagrad_and_rmsprop_steps_by_hand() -> None:
    g, zero = np.array([3.0, -0.5]), np.zeros(2)
    w, total = optimizers.adagrad_step(zero, zero, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.1, 0.1])
    w, total = optimizers.adagrad_step(w, total, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.1 - 0.1 / 2**0.5, 0.1 + 0.1 / 2**0.5])
    w, square = optimizers.rmsprop_step(zero, zero, gradient=g, lr=0.1, alpha=0.75)
    assert w == pytest.approx([-0.2, 0.2])
    assert square == pytest.approx(0.25 * g**2)


def test_first_adam_steps_have_the_size_of_the_learning_rate() -> None:
    start = Moments(np.zeros(3), np.zeros(3))
    g = np.array([1e-3, -5.0, 1e6])
    w, moments = optimizers.adam_step(np.zeros(3), start, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.1, 0.1, -0.1], rel=1e-4)
    w, moments = optimizers.adam_step(w, moments, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.2, 0.2, -0.2], rel=1e-4)
    assert moments.steps == 2


def test_invalid_arguments_are_refused() -> None:
    w = draw_normal(0, 3)
    with pytest.raises(ValueError, match=r"mu must lie in \[0, 1\); got 1"):
        optimizers.momentum_step(w, w, gradient=w, lr=0.1, mu=1)
    with pytest.raises(ValueError, match="w and its gradient must have the same shape"):
        optimizers.momentum_step(w, w, gradient=w[:2], lr=0.1)
    with pytest.raises(ValueError, match="w and v must have the same shape"):
        optimizers.momentum_step(w, w[:2], gradient=w, lr=0.1)
    for call, state in (
        (lambda: optimizers.adagrad_step(w, w[:1], gradient=w), "total"),
        (lambda: optimizers.rmsprop_step(w, np.ones((2, 3)), gradient=w, lr=0.1), "square"),
        (lambda: optimizers.adam_step(w, Moments(np.ones((2, 3)), w), gradient=w), "moments.mean"),
        (lambda: optimizers.adam_step(w, Moments(w, w[:1]), gradient=w), "moments.square"),
    ):
        with pytest.raises(
            ValueError, match=rf"w and {state} must have the same shape; got \(3,\) and"
        ):
            call()
    with pytest.raises(ValueError, match="alpha must lie in"):
        optimizers.rmsprop_step(w, w, gradient=w, lr=0.1, alpha=1.5)
    with pytest.raises(ValueError, match="betas must lie in"):
        optimizers.adam_step(w, Moments(w, w), gradient=w, betas=(0.9, 1.0))
