"""L1 and L2 penalties (38)-(39) and dropout (section 4.3)."""

import numpy as np
import pytest

from tests.foundations.helpers import assert_gradient, assert_same, draw_distinct, draw_normal
from veduta.foundations import regularization


def test_penalties_and_their_gradients() -> None:
    w, other = draw_distinct(0, 4, 3), draw_distinct(1, 5)
    l2 = regularization.l2_cost(2.0, [w, other], lam=0.4, n=5)
    assert l2 == pytest.approx(2 + 0.04 * ((w**2).sum() + (other**2).sum()))
    l1 = regularization.l1_cost(2.0, [w, other], lam=0.4, n=5)
    assert l1 == pytest.approx(2 + 0.04 * (np.abs(w).sum() + np.abs(other).sum()))
    assert_gradient(
        regularization.l2_gradient(w, lam=0.4, n=5),
        lambda at: regularization.l2_cost(0.0, [at], lam=0.4, n=5),
        w,
    )
    assert_gradient(
        regularization.l1_gradient(w, lam=0.4, n=5),
        lambda at: regularization.l1_cost(0.0, [at], lam=0.4, n=5),
        w,
    )


def test_weight_decay_is_a_step_on_the_l2_cost() -> None:
    w, g = draw_normal(0, 6), draw_normal(1, 6)
    updated = regularization.weight_decay_step(w, g, lr=0.1, lam=2.0, n=4)
    assert_same(updated, w - 0.1 * (g + regularization.l2_gradient(w, lam=2.0, n=4)))
    without_gradient = regularization.weight_decay_step(w, 0 * g, lr=0.1, lam=2.0, n=4)
    assert_same(without_gradient, 0.95 * w)


def test_l1_gradient_does_not_depend_on_the_size_of_a_weight() -> None:
    gradient = regularization.l1_gradient(np.array([1e-6, 1e6, -1.0, 0.0]), lam=1.0, n=1)
    assert gradient.tolist() == [0.5, 0.5, -0.5, 0.0]


@pytest.mark.parametrize(("lam", "n"), [(-0.1, 1), (0.1, 0)])
def test_invalid_penalties_are_refused(lam: float, n: int) -> None:
    with pytest.raises(
        ValueError, match=f"lam must be 0 or more and n 1 or more; got {lam} and {n}"
    ):
        regularization.l2_gradient(np.ones(2), lam=lam, n=n)


def test_dropout_in_training_and_evaluation() -> None:
    a = np.ones((200, 200))
    dropped, scale = regularization.dropout(a, 0.8, rng=np.random.default_rng(0))
    assert set(np.unique(dropped)) == {0.0, 1.25}
    assert (dropped > 0).mean() == pytest.approx(0.8, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    assert regularization.dropout_in_evaluation(a) is a
    assert np.array_equal(regularization.dropout(a, 1.0, rng=np.random.default_rng(0))[0], a)
    z, g = draw_normal(0, 4, 5), draw_normal(1, 4, 5)
    _, scale = regularization.dropout(z, 0.5, rng=np.random.default_rng(0))
    assert_gradient(regularization.dropout_backward(g, scale), lambda at: g * at * scale, z)
    with pytest.raises(ValueError, match="delta and scale must have the same shape"):
        regularization.dropout_backward(g, scale[:1])
    for keep in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"keep must lie in \(0, 1\]"):
            regularization.dropout(a, keep, rng=np.random.default_rng(0))
