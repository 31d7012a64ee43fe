"""`veduta equations --html`: the index, its checks, the errata and the figures on one page."""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markupsafe import Markup, escape

from veduta.foundations.checks import Outcome
from veduta.foundations.equations import INDEX, Equation
from veduta.foundations.errata import ERRATA, Erratum, misprints
from veduta.report import page
from veduta.report.equation_plots import dense_drawings
from veduta.report.image_plots import image_drawings
from veduta.report.numbers import as_written
from veduta.report.training_plots import training_drawings

TITLE = "Every equation runs"
SECTIONS = {
    "1.2.1": "One neuron",
    "1.2.2": "Feed-forward networks",
    "2": "Convolution and pooling",
    "2.1": "Back-propagation through a convolution",
    "3": "Over- and underfitting",
    "4.1": "Momentum",
    "4.2": "Penalties on weights",
    "4.3": "Dropout",
    "4.7": "Batch normalisation",
    "5": "The space of hyper-parameters",
}


def write_equations_page(path: Path, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Write the page as a new file.

    Args:
        path: the file; it must not exist, its folder must.
        outcomes: what came of the checks, by the equation's number.

    Raises:
        InputError: the file exists, or its folder does not or cannot be written to.
    """
    page.require_new(path)
    page.write(path, equations_page(outcomes))


def equations_page(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """The page's HTML, a function of the code and the outcomes alone."""
    sections = [
        {
            "number": number,
            "slug": number.replace(".", "-"),
            "title": title,
            "equations": [
                _shown(equation, outcomes[equation.number])
                for equation in INDEX.values()
                if equation.section == number
            ],
        }
        for number, title in SECTIONS.items()
    ]
    checks = [outcome for of_this in outcomes.values() for outcome in of_this]
    counts = {
        "equations": len(INDEX),
        "checks": len(checks),
        "failed": sum(not outcome.passed for outcome in checks),
    }
    errata = [_erratum(erratum) for erratum in ERRATA.values()]
    return page.render(
        "equations.html",
        title=TITLE,
        sections=sections,
        drawings=[*dense_drawings(), *image_drawings(), *training_drawings()],
        counts=counts,
        errata=errata,
    )


def math(tex: str, *, block: bool = False) -> Markup:
    """TeX as MathML."""
    return Markup(convert(tex, display="block" if block else "inline"))  # noqa: S704


def mixed(text: str) -> Markup:
    """Words with TeX between dollar signs."""
    parts = text.split("$")
    return Markup("").join(math(part) if i % 2 else part for i, part in enumerate(parts))


def symbol(meaning: str) -> Markup:
    """What an argument stands for; where it begins with a symbol, that as MathML."""
    before = re.match(r"(\([^()]*\)|[^,(])*", meaning)  # up to the first comma outside brackets
    head = before[0] if before else ""
    bare = re.sub(r"\\[a-zA-Z]+|\{[^}]*\}", "", head)  # without commands and subscripts
    is_symbol = len(head) == 1 or (
        re.search(r"[\\^_]", head) and not re.search(r"[a-zA-Z]{2}", bare)
    )
    return math(head) + meaning[len(head) :] if is_symbol else escape(meaning)


def _shown(equation: Equation, checks: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "number": equation.number,
        "title": equation.title,
        "name": equation.name,
        "formula": math(equation.tex, block=True),
        "symbols": [
            {"name": name, "meaning": symbol(meaning)} for name, meaning in equation.symbols.items()
        ],
        "misprints": [mixed(erratum.printed) for erratum in misprints(equation.number)],
        "checks": checks,
        "source": inspect.getsource(equation.function),
    }


def _erratum(erratum: Erratum) -> dict[str, Any]:
    printed, corrected = erratum.evidence()
    return {
        "where": erratum.where,
        "printed": mixed(erratum.printed),
        "truth": mixed(erratum.truth),
        "shows": mixed(erratum.shows),
        "evidence": f"{as_written(printed)} as printed, {as_written(corrected)} as corrected",
    }
