"""The index is complete, all checks pass and detect wrong functions, all errata are confirmed."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from veduta import foundations
from veduta.foundations import (
    activations,
    batch_norm,
    checks,
    losses,
    pooling,
    regularization,
)
from veduta.foundations.arrays import Array
from veduta.foundations.checks import Check
from veduta.foundations.equations import CHECKS, INDEX, Equation, find_equations, run_checks
from veduta.foundations.errata import ERRATA, Erratum, find_errata

PARTS = {6: "ab", 7: "ab", 31: "ab", 38: "ab"}
EXPECTED = [f"{n}{part}" for n in range(1, 42) for part in PARTS.get(n, [""])]
EXPECTED += ["A1", "A2", "S1", "S2"]


def test_index_and_checks_contain_every_equation() -> None:
    assert sorted(INDEX) == sorted(EXPECTED)
    assert set(CHECKS) == set(INDEX)
    assert len({equation.function for equation in INDEX.values()}) == len(INDEX)


@pytest.mark.parametrize("equation", INDEX.values(), ids=INDEX)
def test_every_equation_has_title_formula_symbols_and_a_passing_doctest(equation: Equation) -> None:
    kinds = {"A": "Algorithm", "S": "Size of a"}
    kind = kinds.get(equation.number[0])
    assert equation.title.startswith(kind or f"Equation {equation.number}")
    assert any(sign in equation.tex for sign in ("=", "\\approx", "\\leftarrow"))
    assert set(equation.symbols) == set(inspect.signature(equation.function).parameters)
    assert all(equation.symbols.values())
    module = importlib.import_module(equation.function.__module__)
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(equation.function, globs=vars(module))
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


@pytest.mark.parametrize("number", INDEX)
def test_every_check_passes(number: str) -> None:
    outcomes = run_checks(number)
    assert outcomes
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def perturb(value: Any) -> Any:
    """Change every number in a result slightly."""
    if isinstance(value, np.ndarray):
        return value * 1.01 + 0.001
    if hasattr(value, "_fields"):
        return type(value)(*map(perturb, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(perturb, value))
    if isinstance(value, dict):
        return {name: perturb(part) for name, part in value.items()}
    return value + 1 if isinstance(value, int) else value * 1.01


@pytest.mark.parametrize("equation", INDEX.values(), ids=INDEX)
def test_a_perturbed_function_fails_its_checks(
    equation: Equation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: object, **kwargs: object) -> object:
        return perturb(equation.function(*args, **kwargs))

    module = importlib.import_module(equation.function.__module__)
    monkeypatch.setattr(module, equation.function.__name__, wrong)
    assert not all(outcome.passed for outcome in run_checks(equation.number))


DERIVATIVES = {
    **{
        number: (activations, f"{name}_derivative")
        for number, name in (("3", "sigmoid"), ("4", "tanh"))
    },
    "19": (losses, "mean_squared_error_gradient"),
    "24": (losses, "cross_entropy_gradient"),
    "26": (losses, "softmax_backward"),
    "27": (losses, "negative_log_likelihood_delta"),
    "31a": (pooling, "max_pool_backward"),
    "31b": (pooling, "l2_pool_backward"),
    "38a": (regularization, "l2_gradient"),
    "38b": (regularization, "l1_gradient"),
    "40": (batch_norm, "batch_norm_backward"),
}


@pytest.mark.parametrize("number", DERIVATIVES)
def test_a_perturbed_derivative_fails_its_checks(
    number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = DERIVATIVES[number]
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: perturb(original(*args, **kwargs)))
    assert not all(outcome.passed for outcome in run_checks(number))


def test_a_result_that_is_not_finite_has_infinite_error() -> None:
    assert Check("nan", lambda: (np.nan, 1.0)).error() == np.inf


def test_refused_arguments_have_infinite_error() -> None:
    check = Check("two lengths", lambda: (losses.mean_squared_error(np.ones(2), np.ones(3)), 1.0))
    assert check.error() == np.inf


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 1e-6])
def test_another_epsilon_fails_the_checks_of_batch_norm(
    epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_norm, "EPSILON", epsilon)
    assert not all(outcome.passed for outcome in run_checks("40"))


def test_formula_of_algorithm_2_contains_all_steps() -> None:
    (algorithm,) = find_equations("A2")
    for part in ("\\delta^L &=", "\\delta^l &=", "W^l &\\leftarrow", "b^l &\\leftarrow"):
        assert part in algorithm.tex


def test_find_equations_by_number() -> None:
    assert [equation.number for equation in find_equations("(14)")] == ["14"]
    assert [equation.number for equation in find_equations("6")] == ["6a", "6b"]
    assert find_equations("a2")[0].title == "Algorithm 2"
    assert find_equations("S1")[0].name == "convolution.output_size"
    assert find_equations("6b")[0].symbols == {
        "psi": "\\psi, the activation function.",
        "z_j": "z_j^l, the pre-activation of neuron j, (N,).",
    }
    with pytest.raises(ValueError, match=r"must be one of A1, 1, .*; got '42'"):
        find_equations("42")


@pytest.mark.parametrize("erratum", ERRATA.values(), ids=ERRATA)
def test_every_erratum_is_confirmed_by_its_evidence(erratum: Erratum) -> None:
    printed, corrected = erratum.evidence()
    assert corrected <= erratum.limit < printed
    assert erratum.is_confirmed
    assert not Erratum("", "", "", "", lambda: (corrected, printed), erratum.limit).is_confirmed


def test_errata_measure_the_known_errors() -> None:
    known = {
        "Equation 4": 1.0,
        "Equation 31b, average": 2.0,
        "Equations 38a, 38b": 9.0,
        "Section 1.2.2, ReLU": 0.5,
        "Section 4.3, scale": 0.5,
    }
    for location, printed in known.items():
        assert ERRATA[location].evidence().printed == pytest.approx(printed, abs=1e-3)
    assert 0.01 < ERRATA["Algorithm 2"].evidence().printed < 0.06
    assert ERRATA["Equation 37"].evidence().printed > 100
    assert ERRATA["Equation 40"].evidence().printed == np.inf


def test_errata_of_algorithm_1_state_the_correct_results() -> None:
    for part in ("(0.370367, 1.296285)", "1.185184", "10.999913", "1.50977"):
        assert part in ERRATA["Algorithm 1"].corrected
    for part in ("0.206", "0.311", "0.021", "0.048"):
        assert f"${part}$" in ERRATA["Algorithm 1, 5 epochs"].corrected


def test_errata_are_found_by_equation_number() -> None:
    known = {erratum.location: erratum.numbers for erratum in ERRATA.values()}
    assert known["Equations 38a, 38b"] == ["38a", "38b"]
    assert known["Algorithm 1, 15 epochs"] == ["A1"]
    assert known["Output sizes S1, S2"] == ["S1", "S2"]
    assert known["Section 1.2.2, ReLU"] == []
    named = {number for numbers in known.values() for number in numbers}
    assert named < set(INDEX)
    assert {number for number in INDEX if find_errata(number)} == named


def test_numerical_gradient_and_relative_error() -> None:
    def cube(x: Array) -> float:
        return float((x**3).sum())

    x = np.array([[1.0, -2.0], [0.5, 0.0]])
    assert checks.numerical_gradient(cube, x) == pytest.approx(3 * x**2, abs=1e-9)
    assert checks.relative_error(np.zeros(2), np.zeros(2)) == 0
    assert checks.relative_error(np.array([1.0]), np.array([3.0])) == 0.5
    with pytest.raises(ValueError, match=r"must have the same shape; got \(2,\) and \(3,\)"):
        checks.relative_error(np.zeros(2), np.zeros(3))


def import_modules() -> list[ModuleType]:
    folder = Path(inspect.getfile(foundations)).parent
    names = [path.stem for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    return [importlib.import_module(f"veduta.foundations.{name}") for name in names]


def test_functions_have_at_most_40_lines() -> None:
    for module in import_modules():
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 40, f"{module.__name__}.{node.name}: {lines} lines"


def test_functions_have_docstrings_and_at_most_6_parameters() -> None:
    for module in import_modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__:
                continue
            assert function.__doc__, f"{module.__name__}.{name}"
            parameters = inspect.signature(function).parameters.values()
            assert len(parameters) <= 6, f"{module.__name__}.{name}"
