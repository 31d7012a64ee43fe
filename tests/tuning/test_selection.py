"""Selection: the rule for the winner, and who ties with it."""

import numpy as np

from veduta.tuning.trials.selection import Outcome, best_first, tied


def outcome(name: str, right: int, *, cost: int = 1, images: int = 400) -> Outcome:
    hits = np.arange(images) < right
    return Outcome(name, 1, 1, cost, 0.0, 0.0, 0.0, right / images, 0.0, hits)


def test_accuracy_then_cost_then_canonical_order() -> None:
    given = [outcome("a", 300), outcome("b", 350, cost=9), outcome("c", 350), outcome("d", 350)]
    assert [o.trial for o in best_first(given)] == ["c", "d", "b", "a"]


def test_a_clear_loser_does_not_tie_and_an_equal_does() -> None:
    given = [outcome("best", 360), outcome("near", 358, cost=5), outcome("far", 300)]
    assert tied(given) == ["near"]


def test_ties_are_listed_cheapest_first() -> None:
    given = [outcome("best", 360, cost=9), outcome("b", 359, cost=7), outcome("c", 359, cost=2)]
    assert tied(given) == ["c", "b"]


def test_one_trial_has_no_ties() -> None:
    assert tied([outcome("only", 5)]) == []


def test_many_comparisons_are_corrected_for() -> None:
    # 7 images lost and none won: p = 2 / 2^7 = 0.016, below 0.05 alone, above it among ten
    rivals = [outcome(f"r{i}", 353) for i in range(10)]
    assert tied([outcome("best", 360), *rivals[:1]]) == []
    assert len(tied([outcome("best", 360), *rivals])) == 10
