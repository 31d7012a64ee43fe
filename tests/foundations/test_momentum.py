"""Momentum (37), Adagrad, RMSprop, Adam: paths worked out by hand or known in closed form."""

import numpy as np
import pytest

from tests.foundations.drawing import assert_same, normal
from veduta.foundations import adaptive, momentum
from veduta.foundations.adaptive import Moments


def test_eq_37_two_steps_by_hand() -> None:
    w, v = momentum.momentum_step(np.array([1.0]), np.zeros(1), gradient=np.array([1.0]), lr=0.1)
    assert (w.item(), v.item()) == pytest.approx((0.9, -0.1))
    w, v = momentum.momentum_step(w, v, gradient=w, lr=0.1)
    assert (w.item(), v.item()) == pytest.approx((0.72, -0.18))  # 0.9 (-0.1) - 0.1 (0.9)


def test_eq_37_descends_and_its_print_climbs() -> None:
    ends = []
    for sign in (1.0, -1.0):
        w, v = np.ones(1), np.zeros(1)
        for _ in range(50):
            w, v = momentum.momentum_step(w, v, gradient=sign * w, lr=0.01)
        ends.append(float(w.item() ** 2 / 2))
    assert ends[0] < 0.01
    assert ends[1] > 100


def test_nesterov_looks_one_step_ahead() -> None:
    w, v = momentum.nesterov_step(np.array([1.0]), np.zeros(1), gradient=np.array([1.0]), lr=0.1)
    assert (w.item(), v.item()) == pytest.approx((0.81, -0.1))  # 1 + 0.9 (-0.1) - 0.1
    plain, _ = momentum.nesterov_step(w, v, gradient=w, lr=0.1, mu=0.0)
    assert_same(plain, w - 0.1 * w)


def test_steps_of_the_adaptive_methods_by_hand() -> None:
    g, zero = np.array([3.0, -0.5]), np.zeros(2)
    w, total = adaptive.adagrad_step(zero, zero, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.1, 0.1])
    w, total = adaptive.adagrad_step(w, total, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.1 - 0.1 / 2**0.5, 0.1 + 0.1 / 2**0.5])
    w, square = adaptive.rmsprop_step(zero, zero, gradient=g, lr=0.1, alpha=0.75)
    assert w == pytest.approx([-0.2, 0.2])
    assert square == pytest.approx(0.25 * g**2)


def test_adam_moves_by_eta_at_first_whatever_the_gradient() -> None:
    start = Moments(np.zeros(3), np.zeros(3))
    g = np.array([1e-3, -5.0, 1e6])
    w, moments = adaptive.adam_step(np.zeros(3), start, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.1, 0.1, -0.1], rel=1e-4)
    w, moments = adaptive.adam_step(w, moments, gradient=g, lr=0.1)
    assert w == pytest.approx([-0.2, 0.2, -0.2], rel=1e-4)
    assert moments.steps == 2


def test_bad_input() -> None:
    w = normal(0, 3)
    with pytest.raises(ValueError, match=r"mu lies in \[0, 1\); got 1"):
        momentum.momentum_step(w, w, gradient=w, lr=0.1, mu=1)
    with pytest.raises(ValueError, match="w and its gradient have one shape"):
        momentum.momentum_step(w, w, gradient=w[:2], lr=0.1)
    with pytest.raises(ValueError, match="w and v have one shape"):
        momentum.momentum_step(w, w[:2], gradient=w, lr=0.1)
    for call, state in (
        (lambda: adaptive.adagrad_step(w, w[:1], gradient=w), "total"),
        (lambda: adaptive.rmsprop_step(w, np.ones((2, 3)), gradient=w, lr=0.1), "square"),
        (lambda: adaptive.adam_step(w, Moments(np.ones((2, 3)), w), gradient=w), "the mean"),
        (lambda: adaptive.adam_step(w, Moments(w, w[:1]), gradient=w), "the square"),
    ):
        with pytest.raises(ValueError, match=rf"w and {state} have one shape; got \(3,\) and"):
            call()
    with pytest.raises(ValueError, match="alpha lies in"):
        adaptive.rmsprop_step(w, w, gradient=w, lr=0.1, alpha=1.5)
    with pytest.raises(ValueError, match="betas lie in"):
        adaptive.adam_step(w, Moments(w, w), gradient=w, betas=(0.9, 1.0))
