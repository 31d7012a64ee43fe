r"""Errors of the printed report: the printed form, the correction, and a number that proves it.

For each erratum, `measure` computes two numbers: the error of the printed form and that of the
corrected form. Texts contain TeX between dollar signs.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from veduta.foundations import misprints


class Evidence(NamedTuple):
    """Errors of the printed and the corrected form, in the unit given by `Erratum.measured`."""

    printed: float
    corrected: float


class Erratum(NamedTuple):
    """One statement of the report that does not hold."""

    location: str
    printed: str
    corrected: str
    measured: str
    measure: Callable[[], tuple[float, float]]
    limit: float = 1e-6

    def evidence(self) -> Evidence:
        """Compute the errors of both forms.

        >>> ERRATA["Equation 31b, average"].evidence()
        Evidence(printed=2.0, corrected=0.0)
        """
        printed, corrected = self.measure()
        return Evidence(float(printed), float(corrected))

    @property
    def numbers(self) -> list[str]:
        """Numbers of the equations named in `location`, as in `equations.INDEX`.

        >>> ERRATA["Equations 38a, 38b"].numbers, ERRATA["Algorithm 1, 5 epochs"].numbers
        (['38a', '38b'], ['A1'])
        """
        if algorithm := re.match(r"Algorithm (\d)", self.location):
            return [f"A{algorithm[1]}"]
        kind = re.match(r"(Equations?|Output sizes) ", self.location)
        return re.findall(r"\bS?\d+[ab]?\b", self.location) if kind else []

    @property
    def is_confirmed(self) -> bool:
        """Whether only the printed form has an error above the limit."""
        evidence = self.evidence()
        return evidence.corrected <= self.limit < evidence.printed


AFTER_5_EPOCHS = [f"${number:.3f}$" for number in misprints.measure_after_5_epochs()]

ERRATA: dict[str, Erratum] = {
    erratum.location: erratum
    for erratum in (
        Erratum(
            "Algorithm 1",
            "$x = (2, 7)$, $b^{(0)} = 1$ gives $w = (0.215681, 1.50976)$, $b = 0.21568$",
            "this result belongs to $x = (1, 7)$, $b^{(0)} = 0$, where $w_2$ rounds to $1.50977$; "
            f"the problem as printed gives {misprints.format_algorithm_1_result()}",
            "largest difference of a parameter", misprints.measure_algorithm_1_result, 1e-5),
        Erratum(
            "Algorithm 1, 15 epochs", "the error is of the order $10^{-5}$",
            "the error of the printed result is $2.5 \\times 10^{-4}$",
            "orders of magnitude", misprints.measure_order_after_15_epochs, 0.5),
        Erratum(
            "Algorithm 1, 5 epochs", "the error is of the order $10^{-2}$",
            f"$|z - 11|$ is {AFTER_5_EPOCHS[0]} for the problem as printed and "
            f"{AFTER_5_EPOCHS[1]} for that of the printed result; the costs, "
            f"{AFTER_5_EPOCHS[2]} and {AFTER_5_EPOCHS[3]}, are of the order $10^{{-2}}$",
            "orders of magnitude", misprints.measure_order_after_5_epochs, 0.01),
        Erratum(
            "Equation 4", "$\\tanh x = 1 / (1 + e^{-2x})$",
            "$\\tanh x = 2 / (1 + e^{-2x}) - 1$; the printed form is $\\sigma(2x)$",
            "largest difference from tanh", misprints.measure_tanh),
        Erratum(
            "Section 1.2.2, ReLU", "ReLU and its derivative are positive everywhere",
            "only for $x > 0$; both are 0 for $x \\le 0$",
            "fraction of $[-1, 1]$ where the statement fails", misprints.measure_relu_claim),
        Erratum(
            "Algorithm 2", "$W^L$ is updated before $\\delta^{L-1}$ is computed from it",
            "every $\\delta^l$ needs the weights of the forward pass",
            "relative error of the first layer's gradient", misprints.measure_algorithm_2_order),
        Erratum(
            "Equation 21", "the sum over $N_p$ is approximated by $\\sum_{i=1}^M \\nabla C^{(i)}$",
            "the sum over the batch has to be multiplied by $N_p / M$",
            "relative error of the average over all batches",
            misprints.measure_mini_batch_factor),
        Erratum(
            "Equation 27", "$C = -\\ln \\gamma(z_i^L)$, where $i$ is not defined",
            "$i$ is the true class, not the most likely class",
            "difference from the cross-entropy with the label",
            misprints.measure_likelihood_index),
        Erratum(
            "Output sizes S1, S2", "$(W - p) / S + 1$ without rounding",
            "rounded down, as the report's own network requires",
            "difference in pixels, for $W$ of 146, 44 and 10 and $p = S = 3$",
            misprints.measure_output_size_rounding),
        Erratum(
            "Equation 31a", "one index $n$ for rows and columns",
            "two indices; one index only covers the diagonal of a region",
            "largest difference from the maximum", misprints.measure_max_pool_indices),
        Erratum(
            "Equation 31b", "both sums run over $n$",
            "they run over $n$ and $m$; with one index the diagonal is counted $p$ times",
            "largest difference from the norm", misprints.measure_l2_pool_indices),
        Erratum(
            "Equation 31b, average", "the pooling is called an L2 average",
            "it is a norm; the root mean square is $1/p$ of it",
            "difference from 1, on a map of ones", misprints.measure_l2_pool_as_average),
        Erratum(
            "Equation 33", "the first step has no sum over $x', y'$",
            "$z_{x,y}$ contributes to several $z_{x',y'}$, whose errors are summed",
            "relative error of the gradient", misprints.measure_missing_sum),
        Erratum(
            "Equation 36", "$\\partial C / \\partial b = \\delta$",
            "true for an untied bias; for a tied bias, the errors are summed over $x, y$",
            "relative error for a tied bias", misprints.measure_tied_bias_gradient),
        Erratum(
            "Equation 37", "$v = \\mu v + \\eta \\nabla C$, then $w = w + v$",
            "$v = \\mu v - \\eta \\nabla C$",
            "$C = w^2 / 2$ after 50 steps from $w = 1$", misprints.measure_momentum_sign, 0.5),
        Erratum(
            "Equations 38a, 38b", "$\\lambda / 2n$ in one equation, $\\lambda / 2$ in the other",
            "both need the same scale; here it is $\\lambda / 2n$",
            "ratio of the penalties (38b) and (38a) for $w = 1$, minus 1",
            misprints.measure_penalty_scales),
        Erratum(
            "Equation 39", "the gradient is that of $C$",
            "it is that of $C_0$; the decay factor already includes the penalty",
            "relative error of the step", misprints.measure_double_weight_decay),
        Erratum(
            "Section 4.2", "$z^l = \\psi(W^l a^{l-1} + b^l)$",
            "this is $a^l$; $z^l = W^l a^{l-1} + b^l$",
            "relative error against (8)", misprints.measure_pre_activation),
        Erratum(
            "Section 4.3, scale", "nodes are dropped without rescaling the others",
            "the kept nodes are divided by $p$; otherwise the mean changes in evaluation",
            "difference between the means in training and evaluation, $p = 0.5$",
            misprints.measure_dropout_scale),
        Erratum(
            "Section 4.3, frequency", "nodes are drawn once per epoch",
            "nodes are drawn once per batch",
            "fraction of nodes not trained in an epoch of 20 batches",
            misprints.measure_dropout_per_epoch, 0.01),
        Erratum(
            "Equation 40", "divided by $\\sigma$",
            "divided by $\\sqrt{\\sigma^2 + \\epsilon}$",
            "difference from 0 of a constant feature", misprints.measure_division_by_zero),
        Erratum(
            "Section 4.7", "mean and standard deviation are those of the layer's values",
            "true in training; evaluation needs running statistics",
            "relative error for a single image", misprints.measure_single_image_statistics, 0.01),
    )
}  # fmt: skip
"""All errata in report order, by their location."""


def find_errata(number: str) -> list[Erratum]:
    """Return the errata of one equation, by its number in `equations.INDEX`.

    >>> [erratum.location for erratum in find_errata("31b")]
    ['Equation 31b', 'Equation 31b, average']
    """
    return [erratum for erratum in ERRATA.values() if number in erratum.numbers]
