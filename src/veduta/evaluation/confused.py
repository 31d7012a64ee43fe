"""What a model confuses, in words: the pairs of classes that share most of its errors."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

STANDS_OUT = 0.2  # share of all errors from which a pair is named
HALF = 0.5  # of all errors: pairs that hold as many are what is confused


def confused_pairs(confusion: pd.DataFrame) -> pd.DataFrame:
    """Each pair of classes that is confused, the one with most errors first.

    Args:
        confusion: counts, a row a true class, a column a predicted one, in the same order.

    Returns:
        first, second (names), first_as_second and second_as_first (errors of each direction),
        errors (both) and share (of all errors).

    >>> counts = pd.DataFrame([[9, 3, 0], [1, 8, 0], [0, 1, 9]], index=[*"abc"], columns=[*"abc"])
    >>> confused_pairs(counts).to_numpy().tolist()
    [['a', 'b', 3, 1, 4, 0.8], ['b', 'c', 0, 1, 1, 0.2]]
    """
    counts, names = confusion.to_numpy(), list(confusion.index)
    firsts, seconds = np.triu_indices(len(names), 1)
    there, back = counts[firsts, seconds], counts[seconds, firsts]
    both = there + back
    total = max(1, int(both.sum()))
    order = [place for place in np.argsort(-both, kind="stable") if both[place]]
    return pd.DataFrame(
        {
            "first": [names[firsts[place]] for place in order],
            "second": [names[seconds[place]] for place in order],
            "first_as_second": there[order],
            "second_as_first": back[order],
            "errors": both[order],
            "share": both[order] / total,
        }
    )


def in_words(pairs: pd.DataFrame) -> tuple[Sequence[tuple[str, str]], str]:
    """The pairs that a sentence names, and how the sentence goes on after them.

    A pair that holds a fifth of all errors is named; where none does, the largest one is, and that
    errors are spread is said.

    >>> table = pd.DataFrame({"first": ["a"], "second": ["b"], "errors": [4], "share": [0.8]})
    >>> in_words(table)
    ([('a', 'b')], 'are what is confused: 4 of 5 errors (80%).')
    """
    if not len(pairs):
        return [], "No image was taken for one of another class."
    total = round(pairs["errors"].iloc[0] / pairs["share"].iloc[0])
    named = pairs[pairs["share"] >= STANDS_OUT]
    if not len(named):
        named = pairs.head(1)
    errors = int(named["errors"].sum())
    held = f"{errors:,} of {total:,} errors ({errors / total:.0%})"
    told = list(zip(named["first"], named["second"], strict=True))
    if errors >= HALF * total:
        return told, f"are what is confused: {held}."
    return told, f"are confused most often, {held}; the others are spread over more pairs."
