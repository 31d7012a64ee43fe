"""Write the report of a run or an evaluation from its directory."""

import shlex
from pathlib import Path

import pandas as pd
import yaml
from markupsafe import Markup

from veduta.errors import InputError
from veduta.evaluation.winner_assessment import WinnerAssessment, assess_winner
from veduta.reporting.figures.plots import render_svg
from veduta.reporting.figures.run_plots import draw_intervals
from veduta.reporting.pages.facts import (
    list_rows,
    load_evaluation_facts,
    load_rejected_files,
    load_run_facts,
)
from veduta.reporting.pages.page import check_output_path, render_page, write_page
from veduta.reporting.pages.sections import build_evaluation_sections, build_selection_sections
from veduta.reporting.pictures.media import MAX_LABEL_ISSUES, MediaFolder
from veduta.runs.directory import RunDirectory, format_resume_command
from veduta.runs.events import run_start
from veduta.runs.journal import read_journal
from veduta.runs.scores import find_test_scores
from veduta.runs.summary import (
    CorrectedAccuracy,
    Estimate,
    EvaluationSummary,
    Summary,
    read_summary,
)
from veduta.runs.tables import read_splits
from veduta.runtime.disk import explain_write_errors, write_atomically
from veduta.tracking.text import format_interval, make_visible


def write_report(path: Path, *, out: Path | None = None) -> Path:
    """Write the report of a directory, from the files in it alone, and return its path.

    Args:
        path: directory of a search, a training or an evaluation.
        out: a new file; by default report.html in the directory, which is replaced if it exists.

    Raises:
        InputError: the directory has no finished run or evaluation, a file is missing or damaged,
            or `out` exists.
    """
    directory = RunDirectory(path)
    if out is not None:
        check_output_path(out)
    html = render_report(directory)
    if out is not None:
        write_page(out, html)
        return out
    with explain_write_errors(directory.path):
        write_atomically(directory.report, html)
    return directory.report


def render_report(directory: RunDirectory) -> str:
    """Return the report of a directory as HTML. Raises as `write_report`."""
    summary = read_summary(directory.summary)
    if isinstance(summary, EvaluationSummary):
        return render_evaluation_page(directory, summary)
    if isinstance(summary, Summary):
        return render_run_page(directory, summary)
    raise InputError(
        "a report shows a directory of search, train or evaluate; "
        f"{directory.path} was written by `veduta {summary.command}`: give such a directory"
    )


def render_evaluation_page(directory: RunDirectory, summary: EvaluationSummary) -> str:
    """Return the report of an evaluation, which depends only on the files in its directory.

    Raises:
        InputError: a file is missing or damaged.
    """
    return render_page(
        "evaluation.html",
        title="Evaluation of the model on other images",
        summary=summary,
        **build_evaluation_sections(load_evaluation_facts(directory, summary)),
        **load_rejected_files(directory),
    )


SPLITS = ("train", "validation", "test")


def render_run_page(directory: RunDirectory, summary: Summary) -> str:
    """Return the report of a run, which depends only on the files in its directory.

    Raises:
        InputError: a file is missing or damaged, or belongs to another winner.
    """
    _check_test_scores(directory, summary)
    seed, configuration = _read_config(directory)
    assessment = assess_winner(directory, winner=summary.winner.trial, classes=summary.data.classes)
    facts = load_run_facts(directory, summary, assessment, seed=seed)
    return render_page(
        "run.html",
        title="Report of the image classifier",
        summary=summary,
        scores=draw_scores(summary),
        **build_evaluation_sections(facts),
        **build_selection_sections(directory, summary),
        label_issues=_list_label_issues(assessment, facts.media),
        data=_count_images(directory, facts.classes),
        reproduction=_describe_reproduction(directory, summary, configuration),
    )


def _check_test_scores(directory: RunDirectory, summary: Summary) -> None:
    """Check that the test scores are those of the winner.

    Raises:
        InputError: they are missing or those of another trial, as after an interrupted extension.
    """
    path, winner = directory.test_scores, summary.winner.trial
    if not summary.test.accuracy.images:
        return
    scores = find_test_scores(path)
    if path.is_file() and (scores is None or scores.trial == winner):
        return  # if the file is damaged, loading it says why
    problem = f"it is of {scores.trial}" if scores else "it is missing"
    command = format_resume_command(summary.command, directory.path)
    raise InputError(
        f"a report shows one winner; {path} must have the scores of {winner}, as in the summary; "
        f"{problem}: write them again with `{command}`"
    )


def _read_config(directory: RunDirectory) -> tuple[int, str]:
    """Return the random seed and the text of `config.yaml` without provenance.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        content = yaml.safe_load(directory.config.read_text(encoding="utf-8"))
        content.pop("run", None)
        return int(content["seed"]), yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise InputError(
            f"a report needs the configuration of its run; {directory.config} cannot be read "
            f"({error}): restore it, or let `veduta rebuild` write it again"
        ) from error


def draw_scores(summary: Summary) -> Markup:
    """Draw validation, corrected and test accuracy with their intervals."""
    estimates: dict[str, Estimate | CorrectedAccuracy] = {"validation": summary.validation_accuracy}
    if summary.corrected_accuracy and summary.trial_count > 1:
        estimates["corrected"] = summary.corrected_accuracy
    if summary.test.accuracy.images:
        estimates["test"] = summary.test.accuracy
    description = "; ".join(
        f"{name} {estimate.value:.1%}, {format_interval(estimate)}"
        for name, estimate in estimates.items()
    )
    return render_svg(draw_intervals(estimates), name="scores", title=f"Accuracy: {description}")


def _list_label_issues(
    assessment: WinnerAssessment, media: MediaFolder
) -> dict[str, object] | None:
    """Return the most suspicious labels with their pictures; None without folds."""
    images = assessment.find_label_issues()
    if images is None:
        return None
    rows = [
        {**row, "thumbnail": media.find_thumbnail(str(row["path"]))}
        for row in list_rows(images[images["issue"]].head(MAX_LABEL_ISSUES))
    ]
    return {"rows": rows, "count": int(images["issue"].sum()), "images": len(images)}


def _count_images(directory: RunDirectory, classes: tuple[str, ...]) -> dict[str, object]:
    """Return the number of images by class and split, and the rejected files."""
    table = read_splits(directory.splits)
    counts = pd.crosstab(table["label"], table["split"])
    splits = [split for split in SPLITS if split in counts]
    counts = counts.reindex(index=list(classes), columns=splits, fill_value=0)
    return {
        "splits": splits,
        "rows": [(name, *row) for name, row in zip(classes, counts.to_numpy(), strict=True)],
        "sums": counts.sum().tolist(),
        **load_rejected_files(directory),
    }


def _describe_reproduction(
    directory: RunDirectory, summary: Summary, configuration: str
) -> dict[str, object]:
    """Return the command that repeats the run, and what its results depend on."""
    start = run_start(read_journal(directory.journal))
    data_path = shlex.quote(make_visible(start.data_path))
    return {
        "command": f"veduta {summary.command} {data_path} --config config.yaml",
        "provenance": start.provenance,
        "seconds": summary.seconds.model_dump(),
        "configuration": configuration,
    }
