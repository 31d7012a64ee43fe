"""Index of the report's numbered equations, both algorithms and both size formulas.

The index maps each number to its section and to the function that computes it. Formulas and symbols
are read from the docstring of that function. `run_checks` runs the checks of an equation.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from veduta.foundations import (
    activations,
    backprop,
    batch_norm,
    checks_dense,
    checks_images,
    checks_losses,
    checks_training,
    conv_backprop,
    convolution,
    descent,
    losses,
    network,
    optimizers,
    pooling,
    regularization,
    search_space,
)
from veduta.foundations.checks import Check, Outcome


class Equation(NamedTuple):
    """One entry of the index."""

    number: str
    section: str
    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """Module and name of the function, such as `backprop.hidden_error`."""
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    @property
    def title(self) -> str:
        """Title in the docstring: 'Equation 14', 'Algorithm 2', 'Size of a convolution'."""
        return self._summary().partition(": ")[0]

    @property
    def tex(self) -> str:
        r"""Formula in TeX.

        >>> find_equations("8")[0].tex
        '\\boldsymbol{z}^l = \\boldsymbol{W}^l \\boldsymbol{a}^{l-1} + \\boldsymbol{b}^l'
        """
        return self._summary().partition(": ")[2].removesuffix(".")

    @property
    def symbols(self) -> dict[str, str]:
        """Meaning of each argument, starting with its symbol in TeX.

        >>> find_equations("8")[0].symbols["w"]
        'W^l, (n, m).'
        """
        section = re.search(r"\nArgs:\n(.*?)(\n\n|$)", self._docstring(), re.DOTALL)
        lines = re.sub(r"\n {8,}", " ", section[1]) if section else ""
        entries = (line.strip().partition(": ") for line in lines.splitlines())
        return {name: meaning for name, _, meaning in entries}

    def _docstring(self) -> str:
        return inspect.getdoc(self.function) or ""

    def _summary(self) -> str:
        return " ".join(self._docstring().partition("\n\n")[0].split())


INDEX: dict[str, Equation] = {
    number: Equation(number, section, function)
    for number, section, function in (
        ("A1", "1.2.1", descent.gradient_descent),
        ("1", "1.2.2", activations.relu),
        ("2", "1.2.2", activations.binary_step),
        ("3", "1.2.2", activations.sigmoid),
        ("4", "1.2.2", activations.tanh),
        ("5", "1.2.2", activations.arctan),
        ("6a", "1.2.2", network.neuron_output),
        ("6b", "1.2.2", network.neuron_activation),
        ("7a", "1.2.2", network.stacked_outputs),
        ("7b", "1.2.2", network.stacked_activations),
        ("8", "1.2.2", network.layer_output),
        ("9", "1.2.2", network.cost),
        ("10", "1.2.2", backprop.error_by_definition),
        ("11", "1.2.2", backprop.neuron_error),
        ("12", "1.2.2", backprop.output_error),
        ("13", "1.2.2", backprop.neuron_hidden_error),
        ("14", "1.2.2", backprop.hidden_error),
        ("15", "1.2.2", backprop.bias_gradient),
        ("16", "1.2.2", backprop.weight_gradient),
        ("A2", "1.2.2", backprop.gradient_descent_step),
        ("17", "1.2.2", losses.training_set),
        ("18", "1.2.2", losses.total_cost),
        ("19", "1.2.2", losses.mean_squared_error),
        ("20", "1.2.2", losses.total_gradient),
        ("21", "1.2.2", losses.mini_batch_gradient),
        ("22", "1.2.2", losses.squared_error_delta),
        ("23", "1.2.2", losses.squared_error_weight_gradient),
        ("24", "1.2.2", losses.cross_entropy),
        ("25", "1.2.2", losses.cross_entropy_weight_gradient),
        ("26", "1.2.2", losses.softmax),
        ("27", "1.2.2", losses.negative_log_likelihood),
        ("28", "2", convolution.convolve_functions),
        ("29", "2", convolution.convolve_discrete),
        ("S1", "2", convolution.output_size),
        ("30", "2", convolution.convolve),
        ("31a", "2", pooling.max_pool),
        ("31b", "2", pooling.l2_pool),
        ("S2", "2", pooling.output_size),
        ("32", "2.1", conv_backprop.error_by_definition),
        ("33", "2.1", conv_backprop.hidden_error_by_sums),
        ("34", "2.1", conv_backprop.hidden_error),
        ("35", "2.1", conv_backprop.kernel_gradient),
        ("36", "2.1", conv_backprop.bias_gradient),
        ("37", "4.1", optimizers.momentum_step),
        ("38a", "4.2", regularization.l2_cost),
        ("38b", "4.2", regularization.l1_cost),
        ("39", "4.2", regularization.weight_decay_step),
        ("40", "4.7", batch_norm.batch_norm),
        ("41", "5", search_space.cartesian_product),
    )
}
"""All equations in report order; A1 and A2 are the algorithms, S1 and S2 the size formulas."""

CHECKS: dict[str, tuple[Check, ...]] = {
    **checks_dense.CHECKS,
    **checks_losses.CHECKS,
    **checks_images.CHECKS,
    **checks_training.CHECKS,
}
"""The checks of each equation, by its number in the index."""


def find_equations(number: str) -> list[Equation]:
    """Return the equations with a number: '14', '(14)', 'a1', or '31' for both 31a and 31b.

    Raises:
        ValueError: the report has no such number.

    >>> [equation.number for equation in find_equations("31")]
    ['31a', '31b']
    """
    wanted = number.strip("() ").lower()
    candidates = {f"{wanted}{letter}" for letter in ("", "a", "b")}
    equations = [equation for key, equation in INDEX.items() if key.lower() in candidates]
    if not equations:
        raise ValueError(f"the number must be one of {', '.join(INDEX)}; got {number!r}")
    return equations


def run_checks(number: str) -> list[Outcome]:
    """Run all checks of one equation, by its number in the index.

    >>> [outcome.passed for outcome in run_checks("14")]
    [True]
    """
    return [Outcome(check.claim, check.error(), check.limit) for check in CHECKS[number]]
