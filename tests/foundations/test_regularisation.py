import numpy as np
import pytest

from tests.foundations.drawing import assert_gradient, assert_same, normal, spaced
from veduta.foundations import regularisation


def test_eq_38_and_their_gradients() -> None:
    w, other = spaced(0, 4, 3), spaced(1, 5)
    l2 = regularisation.l2_cost(2.0, [w, other], lam=0.4, n=5)
    assert l2 == pytest.approx(2 + 0.04 * ((w**2).sum() + (other**2).sum()))
    l1 = regularisation.l1_cost(2.0, [w, other], lam=0.4, n=5)
    assert l1 == pytest.approx(2 + 0.04 * (np.abs(w).sum() + np.abs(other).sum()))
    assert_gradient(
        regularisation.l2_gradient(w, lam=0.4, n=5),
        lambda at: regularisation.l2_cost(0.0, [at], lam=0.4, n=5),
        w,
    )
    assert_gradient(
        regularisation.l1_gradient(w, lam=0.4, n=5),
        lambda at: regularisation.l1_cost(0.0, [at], lam=0.4, n=5),
        w,
    )


def test_eq_39_is_a_step_down_38a_and_shrinks_at_rest() -> None:
    w, g = normal(0, 6), normal(1, 6)
    stepped = regularisation.weight_decay_step(w, g, lr=0.1, lam=2.0, n=4)
    assert_same(stepped, w - 0.1 * (g + regularisation.l2_gradient(w, lam=2.0, n=4)))
    at_rest = regularisation.weight_decay_step(w, 0 * g, lr=0.1, lam=2.0, n=4)
    assert_same(at_rest, 0.95 * w)


def test_l1_pulls_small_weights_as_hard_as_large_ones() -> None:
    pull = regularisation.l1_gradient(np.array([1e-6, 1e6, -1.0, 0.0]), lam=1.0, n=1)
    assert pull.tolist() == [0.5, 0.5, -0.5, 0.0]


@pytest.mark.parametrize(("lam", "n"), [(-0.1, 1), (0.1, 0)])
def test_bad_input(lam: float, n: int) -> None:
    with pytest.raises(ValueError, match=f"lam is 0 or more and n a number.*got {lam} and {n}"):
        regularisation.l2_gradient(np.ones(2), lam=lam, n=n)
