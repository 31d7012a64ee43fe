r"""Where the report errs: as printed, as it should be, and the number that shows it.

Each entry's `measure` computes two numbers now: how far off the printed form is, and how far the
corrected one. TeX stands between dollar signs.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from veduta.foundations import misprints_images as images
from veduta.foundations import misprints_learning as learning


class Evidence(NamedTuple):
    """How far off each form is, in the unit that `Erratum.shows` names."""

    printed: float
    corrected: float


class Erratum(NamedTuple):
    """One place where the report says something that does not hold."""

    where: str
    printed: str
    truth: str
    shows: str
    measure: Callable[[], tuple[float, float]]
    limit: float = 1e-6

    def evidence(self) -> Evidence:
        """Both numbers, computed now.

        >>> ERRATA["Equation 31b, average"].evidence()
        Evidence(printed=2.0, corrected=0.0)
        """
        printed, corrected = self.measure()
        return Evidence(float(printed), float(corrected))

    @property
    def numbers(self) -> list[str]:
        """The equations that `where` names, as `equations.INDEX` spells them.

        >>> ERRATA["Equations 38a, 38b"].numbers, ERRATA["Algorithm 1, 5 epochs"].numbers
        (['38a', '38b'], ['A1'])
        """
        if algorithm := re.match(r"Algorithm (\d)", self.where):
            return [f"A{algorithm[1]}"]
        kind = re.match(r"(Equations?|Output sizes) ", self.where)
        return re.findall(r"\bS?\d+[ab]?\b", self.where) if kind else []

    @property
    def holds(self) -> bool:
        """Whether the printed form fails and the corrected one does not."""
        evidence = self.evidence()
        return evidence.corrected <= self.limit < evidence.printed


AFTER_5 = [f"${number:.3f}$" for number in learning.five_epochs()]

ERRATA: dict[str, Erratum] = {
    erratum.where: erratum
    for erratum in (
        Erratum(
            "Algorithm 1",
            "$x = (2, 7)$, $b^{(0)} = 1$ ends at $w = (0.215681, 1.50976)$, $b = 0.21568$",
            "those figures belong to $x = (1, 7)$, $b^{(0)} = 0$, where $w_2$ rounds to $1.50977$; "
            f"the problem as printed ends at {learning.printed_end()}",
            "largest distance of a parameter", learning.algorithm_1_figures, 1e-5),
        Erratum(
            "Algorithm 1, 15 epochs", "the error is of the order $10^{-5}$",
            "the figures shown are $2.5 \\times 10^{-4}$ off",
            "orders of magnitude", learning.order_after_15_epochs, 0.5),
        Erratum(
            "Algorithm 1, 5 epochs", "the error is of the order $10^{-2}$",
            f"$|z - 11|$ is {AFTER_5[0]}, or {AFTER_5[1]} where the figures belong; "
            f"the cost is what is near $10^{{-2}}$: {AFTER_5[2]} and {AFTER_5[3]}",
            "orders of magnitude", learning.order_after_5_epochs, 0.01),
        Erratum(
            "Equation 4", "$\\tanh x = 1 / (1 + e^{-2x})$",
            "$\\tanh x = 2 / (1 + e^{-2x}) - 1$; the printed form is $\\sigma(2x)$",
            "largest difference from tanh", learning.tanh_as_printed),
        Erratum(
            "Section 1.2.2, ReLU", "positive, with a positive derivative, everywhere",
            "only for $x > 0$; both are 0 for $x \\le 0$",
            "share of $[-1, 1]$ where the claim fails", learning.relu_claim),
        Erratum(
            "Algorithm 2", "$W^L$ moves before $\\delta^{L-1}$ is computed through it",
            "every $\\delta^l$ needs the weights of the forward pass",
            "relative error of the first layer's gradient", learning.algorithm_2_order),
        Erratum(
            "Equation 21", "$\\sum_{i=1}^M \\nabla C^{(i)}$ in place of the sum over $N_p$",
            "times $N_p / M$",
            "relative error of the average over all batches", learning.mini_batch_factor),
        Erratum(
            "Equation 27", "$C = -\\ln \\gamma(z_i^L)$, without saying what $i$ is",
            "$i$ is the true class, not the likeliest",
            "difference from the cross entropy with the label", learning.likelihood_index),
        Erratum(
            "Output sizes S1, S2", "$(W - p) / S + 1$, not rounded",
            "rounded down, as the report's own pooling needs",
            "pixels, for 146, 44 and 10 pixels, $p = S = 3$", images.size_without_floor),
        Erratum(
            "Equation 31a", "one index $n$ for row and column",
            "two indices; with one, only the diagonal is seen",
            "largest difference from the maximum", images.max_over_diagonal),
        Erratum(
            "Equation 31b", "both sums run over $n$",
            "$n$ and $m$; with one, the diagonal counts $p$ times",
            "largest difference from the norm", images.norm_over_diagonal),
        Erratum(
            "Equation 31b, average", "an L2 average",
            "a norm; the root mean square is $1/p$ of it",
            "difference from 1, on a map of ones", images.norm_called_average),
        Erratum(
            "Equation 33", "the first step has no sum over $x', y'$",
            "$z_{x,y}$ enters many $z_{x',y'}$; their errors add up",
            "relative error of the gradient", images.one_term_of_the_sum),
        Erratum(
            "Equation 36", "$\\partial C / \\partial b = \\delta$",
            "for an untied bias; a tied one sums over $x, y$",
            "relative error for a tied bias", images.tied_bias_unsummed),
        Erratum(
            "Equation 37", "$v = \\mu v + \\eta \\nabla C$, then $w = w + v$",
            "$v = \\mu v - \\eta \\nabla C$",
            "$C = w^2 / 2$ after 50 steps from $w = 1$", learning.momentum_upwards, 0.5),
        Erratum(
            "Equations 38a, 38b", "$\\lambda / 2n$ in one, $\\lambda / 2$ in the other",
            "one scale for both, $\\lambda / 2n$ here",
            "penalty on $w = 1$, (38b) over (38a), less 1", learning.penalty_scales),
        Erratum(
            "Equation 39", "the gradient is written as that of $C$",
            "that of $C_0$; the decay already stands for the penalty",
            "relative error of the step", learning.decay_twice),
        Erratum(
            "Section 4.2", "$z^l = \\psi(W^l a^{l-1} + b^l)$",
            "that is $a^l$; $z^l = W^l a^{l-1} + b^l$",
            "relative error against (8)", learning.output_called_activation),
        Erratum(
            "Section 4.3, scale", "nodes are dropped, nothing more",
            "kept ones are divided by $p$, or evaluation differs",
            "difference of the mean from evaluation's, $p = 0.5$", learning.dropout_unscaled),
        Erratum(
            "Section 4.3, when", "nodes are drawn in each epoch",
            "for each batch",
            "share of nodes idle for a whole epoch of 20 batches", learning.dropout_by_epoch, 0.01),
        Erratum(
            "Equation 40", "divided by $\\sigma$",
            "by $\\sqrt{\\sigma^2 + \\epsilon}$",
            "distance from 0 of a constant feature", images.division_by_zero),
        Erratum(
            "Section 4.7", "mean and deviation are those of the layer's values",
            "in training; evaluation needs running ones",
            "relative error for one image alone", images.statistics_of_one, 0.01),
    )
}  # fmt: skip
"""In the report's order, by the place they stand in."""


def misprints(number: str) -> list[Erratum]:
    """What the report misprints of one equation.

    >>> [erratum.where for erratum in misprints("31b")]
    ['Equation 31b', 'Equation 31b, average']
    """
    return [erratum for erratum in ERRATA.values() if number in erratum.numbers]
