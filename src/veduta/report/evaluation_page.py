"""`report.html` of an evaluation: how a model does on other labelled images."""

from collections.abc import Mapping
from typing import Any

from veduta.report import page
from veduta.report.facts import facts_of_evaluation
from veduta.report.judged_sections import judged_sections
from veduta.report.left_out import rejected_of
from veduta.runs.directory import RunDirectory


def evaluation_page(directory: RunDirectory, summary: Mapping[str, Any]) -> str:
    """The page's HTML, a function of the files in the directory alone.

    Raises:
        InputError: a file is missing or damaged.
    """
    return page.render(
        "evaluation.html",
        title="What the model is worth elsewhere",
        summary=summary,
        **judged_sections(facts_of_evaluation(directory, summary)),
        **rejected_of(directory),
    )
