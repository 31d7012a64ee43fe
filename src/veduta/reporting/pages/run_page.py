"""The pages of a run and of an evaluation."""

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd
import yaml

from veduta.errors import InputError
from veduta.experiment.judgement import read_splits, seed_of, trial_of_test
from veduta.experiment.messages import way_on
from veduta.reporting.figures.plots import render_svg
from veduta.reporting.figures.run_plots import intervals
from veduta.reporting.pages import page
from veduta.reporting.pages.facts import facts_of_evaluation, facts_of_run, records, rejected_of
from veduta.reporting.pages.sections import chosen_sections, judged_sections
from veduta.reporting.pictures.embedding import Pictures
from veduta.results.run import Run
from veduta.runs.directory import RunDirectory
from veduta.runs.journal import read_journal
from veduta.tracking.html import visible


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


PARTS = ("train", "validation", "test")
MOST_DOUBTED = 24
NEEDED = (
    *("command", "winner", "folds", "validation", "ties", "trials", "failed", "test", "corrected"),
    *("calibration", "abstain", "figures", "classes", "in_two_splits", "in_two_classes"),
    *("engine", "precision", "seconds"),
)
"""What summary.json must say for a page."""


def run_page(run: Run) -> str:
    """The page's HTML, a function of the files in the run's directory alone.

    Raises:
        InputError: a file is missing, damaged, of an older version, or of another winner.
    """
    _expect_said(run)
    _expect_of_winner(run)
    facts = facts_of_run(run, seed=seed_of(run.directory))
    return page.render(
        "run.html",
        title="What the model is worth",
        summary=run.summary,
        scores=scores_of(run.summary),
        **judged_sections(facts),
        **chosen_sections(run),
        doubted=_doubted(run, facts.pictures),
        data=_data(run.directory, facts.classes),
        made=_made(run),
    )


def _expect_said(run: Run) -> None:
    """The summary must say what a page shows.

    Raises:
        InputError: it does not, as those of older versions.
    """
    if missing := [name for name in NEEDED if name not in run.summary]:
        raise InputError(
            f"a page shows what the summary of a run says; {run.directory.summary} has no "
            f"{', '.join(missing)}, as it is of an older version, or was edited: draw it with the "
            "version that wrote it, or start a new run"
        )


def _expect_of_winner(run: Run) -> None:
    """The scores on the test must be those of the winner that the summary names.

    Raises:
        InputError: they are not, as where an extension was interrupted.
    """
    winner, test = run.summary["winner"]["trial"], run.directory.test
    if not run.summary["test"]["images"]:
        return
    if not test.is_file():
        came = "it is missing"
    elif (whose := trial_of_test(run.directory)) in {None, winner}:
        return  # where it cannot be read, reading it says why
    else:
        came = f"it is of {whose}"
    raise InputError(
        f"a page shows one winner; {test} must have the scores of {winner}, as the summary says; "
        f"{came}: let `{way_on(run.summary['command'], run.directory.path)}` make them again"
    )


def scores_of(summary: Mapping[str, Any]) -> Any:  # noqa: ANN401 - markup, or None
    """The scores with their intervals as a figure; None where there is one alone."""
    found = {"validation": summary["validation"]}
    if summary["corrected"] and summary["trials"] > 1:
        found["corrected"] = summary["corrected"]
    if summary["test"]["images"]:
        found["test"] = summary["test"]
    said = "; ".join(
        f"{name} {score['accuracy']:.1%}, interval {score['low']:.1%} to {score['high']:.1%}"
        for name, score in found.items()
    )
    return render_svg(intervals(found), name="scores", title=f"Accuracy with 95% intervals: {said}")


def _doubted(run: Run, pictures: Pictures) -> dict[str, Any] | None:
    """Labels that models doubt which have not seen the image; None without folds."""
    issues = run.judgement.label_issues()
    if issues is None:
        return None
    found = records(issues[issues["issue"]].head(MOST_DOUBTED))
    rows = [{**row, "address": pictures.thumbnail(str(row["path"]))} for row in found]
    return {"rows": rows, "all": int(issues["issue"].sum()), "images": len(issues)}


def _data(directory: RunDirectory, classes: tuple[str, ...]) -> dict[str, Any]:
    """Images of each class in each part, and what was left out."""
    splits = read_splits(directory)
    counts = pd.crosstab(splits["label"], splits["split"])
    parts = [part for part in PARTS if part in counts]
    counts = counts.reindex(index=list(classes), columns=parts, fill_value=0)
    return {
        "parts": parts,
        "rows": [(name, *row) for name, row in zip(classes, counts.to_numpy(), strict=True)],
        "sums": counts.sum().tolist(),
        **rejected_of(directory),
    }


def _made(run: Run) -> dict[str, Any]:
    """Configuration, versions, seconds, and the command that does it again."""
    text = run.directory.config.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    stood_on = content.pop("run", {})
    given = str(read_journal(run.directory.journal)[0]["given"])
    command = f"veduta {run.summary['command']} {shlex.quote(visible(given))} --config config.yaml"
    return {
        "config": yaml.safe_dump(content, sort_keys=False, allow_unicode=True),
        "versions": stood_on.get("versions", {}),
        "backbones": stood_on.get("backbones", {}),
        "engine": run.summary["engine"],
        "precision": run.summary["precision"],
        "fingerprint": stood_on.get("data_fingerprint", ""),
        "seconds": run.summary["seconds"],
        "command": command,
    }
