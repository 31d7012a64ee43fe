"""The page of `veduta equations --html`: equations, checks, figures and errata."""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from latex2mathml.converter import convert
from markupsafe import Markup, escape

from veduta.foundations.checks import Outcome
from veduta.foundations.equations import INDEX, Equation
from veduta.foundations.errata import ERRATA, Erratum, find_errata
from veduta.reporting.figures.equation_plots import draw_image_figures, draw_network_figures
from veduta.reporting.figures.plots import format_number
from veduta.reporting.figures.training_plots import draw_training_figures
from veduta.reporting.pages import page

TITLE = "Equations, computed and checked"
SECTIONS = {
    "1.2.1": "One neuron",
    "1.2.2": "Feed-forward networks",
    "2": "Convolution and pooling",
    "2.1": "Backpropagation through a convolution",
    "3": "Overfitting and underfitting",
    "4.1": "Momentum",
    "4.2": "L1 and L2 penalties",
    "4.3": "Dropout",
    "4.7": "Batch normalization",
    "5": "Hyperparameter search space",
}


def write_equations_page(path: Path, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Write the page to a new file.

    Args:
        path: the file, which must not exist, in a folder that exists.
        outcomes: results of the checks, by equation number.

    Raises:
        InputError: the file exists, or its folder does not exist or is not writable.
    """
    page.check_output_path(path)
    page.write_page(path, render_equations_page(outcomes))


def render_equations_page(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Return the HTML of the page, which depends only on the code and the results of the checks."""
    sections = [
        {
            "number": number,
            "slug": number.replace(".", "-"),
            "title": title,
            "equations": [
                _describe_equation(equation, outcomes[equation.number])
                for equation in INDEX.values()
                if equation.section == number
            ],
        }
        for number, title in SECTIONS.items()
    ]
    all_outcomes = [outcome for checks in outcomes.values() for outcome in checks]
    counts = {
        "equations": len(INDEX),
        "checks": len(all_outcomes),
        "failed": sum(not outcome.passed for outcome in all_outcomes),
    }
    return page.render_page(
        "equations.html",
        title=TITLE,
        sections=sections,
        drawings=[*draw_network_figures(), *draw_image_figures(), *draw_training_figures()],
        counts=counts,
        errata=[_describe_erratum(erratum) for erratum in ERRATA.values()],
    )


def render_math(tex: str, *, block: bool = False) -> Markup:
    """Convert TeX to MathML."""
    return Markup(convert(tex, display="block" if block else "inline"))  # noqa: S704


def render_text(text: str) -> Markup:
    """Convert text that contains TeX between dollar signs to HTML."""
    parts = text.split("$")
    return Markup("").join(render_math(part) if i % 2 else part for i, part in enumerate(parts))


def render_symbol(meaning: str) -> Markup:
    """Convert the meaning of an argument to HTML; a symbol before its first comma is TeX."""
    match = re.match(r"(\([^()]*\)|[^,(])*", meaning)  # up to the first comma outside parentheses
    head = match[0] if match else ""
    letters = re.sub(r"\\[a-zA-Z]+|\{[^}]*\}", "", head)  # without commands and subscripts
    is_symbol = len(head) == 1 or (
        re.search(r"[\\^_]", head) and not re.search(r"[a-zA-Z]{2}", letters)
    )
    return render_math(head) + meaning[len(head) :] if is_symbol else escape(meaning)


def _describe_equation(equation: Equation, checks: Sequence[Outcome]) -> dict[str, object]:
    return {
        "number": equation.number,
        "title": equation.title,
        "name": equation.name,
        "formula": render_math(equation.tex, block=True),
        "symbols": [
            {"name": name, "meaning": render_symbol(meaning)}
            for name, meaning in equation.symbols.items()
        ],
        "misprints": [render_text(erratum.printed) for erratum in find_errata(equation.number)],
        "checks": checks,
        "source": inspect.getsource(equation.function),
    }


def _describe_erratum(erratum: Erratum) -> dict[str, object]:
    printed, corrected = erratum.evidence()
    return {
        "location": erratum.location,
        "printed": render_text(erratum.printed),
        "corrected": render_text(erratum.corrected),
        "measured": render_text(erratum.measured),
        "evidence": f"{format_number(printed)} as printed, {format_number(corrected)} as corrected",
    }
