"""Output of commands at their end: leaderboard, scores, and where the files are."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from veduta.tracking.console import Console
from veduta.tracking.text import format_estimate

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    from veduta.results.run import Run
    from veduta.runs.summary import Abstention, Calibration, HalvingRound, Metrics, TestResult

PARTLY_DONE = 3  # exit code
MAX_TIED_TRIALS = 8  # that are named


def finish_run(run: "Run", console: Console, *, as_json: bool) -> None:
    """Print the results of a search or a training; exit with code 3 if it is only partly done."""
    summary = run.summary
    if summary.trial_count > 1:
        console.table(run.leaderboard(), f"best of {summary.trial_count} trials, by validation")
    if summary.halving is not None:
        console.say(f"halving     {describe_halving(summary.halving.rounds)}")
    winner = summary.winner
    refit = "; refit for as many epochs on all images except the test images"
    console.say(
        f"winner      {winner.trial}, best epoch {winner.best_epoch}{refit if winner.refit else ''}"
    )
    folds = f", pooled over {summary.folds} folds" if summary.folds else ""
    console.say(f"validation  {format_estimate(summary.validation_accuracy)}{folds}")
    if summary.corrected_accuracy is not None and summary.trial_count > 1:
        console.say(
            f"corrected   {format_estimate(summary.corrected_accuracy)}, validation accuracy "
            "without the optimism of the selection"
        )
    if summary.tied_trials:
        console.say(f"ties        {describe_ties(summary.tied_trials)}")
    _print_test(summary.test, console)
    print_calibration(summary.calibration, summary.abstention, console)
    if summary.label_issue_count:
        console.say(
            f"labels      {summary.label_issue_count:,} suspicious ones, in "
            f"{run.directory.label_issues}"
        )
    console.say(f"run         {run.directory.path}\nreport      {run.directory.report}")
    if as_json:
        print_json(summary)
    fails_strict = run.strict and summary.data.errors > 0
    if fails_strict:
        warn_of_data_errors(summary.data.errors, console)
    if summary.failed_trials or not summary.test.accuracy.images or fails_strict:
        raise typer.Exit(PARTLY_DONE)


def describe_halving(rounds: Sequence["HalvingRound"]) -> str:
    """Return the rounds of successive halving in words.

    >>> from veduta.runs.summary import HalvingRound
    >>> rounds = [HalvingRound(trials=n, epochs=e) for n, e in ((16, 3), (4, 12), (1, 48))]
    >>> describe_halving(rounds)
    '16 trials up to epoch 3, 4 up to epoch 12, 1 up to epoch 48'
    """
    first, *others = rounds
    if not others:
        return f"too few trials or epochs, so all {first.trials} trials were trained to the end"
    parts = [f"{first.trials} trials up to epoch {first.epochs}"]
    return ", ".join([*parts, *(f"{one.trials} up to epoch {one.epochs}" for one in others)])


def describe_ties(trials: Sequence[str]) -> str:
    """Return the number of trials that tie with the winner, and the names of the first ones.

    >>> describe_ties(["t1"])
    '1 trial does not differ significantly from the winner: t1'
    >>> describe_ties("abcdefghi")
    '9 trials do not differ significantly from the winner: a, b, c, d, e, f, g, h and 1 more'
    """
    count = "1 trial does" if len(trials) == 1 else f"{len(trials)} trials do"
    more = f" and {len(trials) - MAX_TIED_TRIALS} more" if len(trials) > MAX_TIED_TRIALS else ""
    names = ", ".join(trials[:MAX_TIED_TRIALS])
    return f"{count} not differ significantly from the winner: {names}{more}"


def _print_test(test: "TestResult", console: Console) -> None:
    """Print the test accuracy and the number of evaluations on the test set."""
    if not test.accuracy.images:
        console.warn("no test image could be decoded, so there is no test accuracy")
        return
    times = "once" if test.evaluations == 1 else f"{test.evaluations} times"
    previous = (
        f"; earlier evaluations on this machine: {test.previous_evaluations}"
        if test.previous_evaluations
        else ""
    )
    console.say(
        f"test        {format_estimate(test.accuracy)}{describe_tta(test)}, evaluated {times}"
        f"{previous}"
    )
    if test.accuracy_without_conflicts is not None:
        console.say(
            "            without images that have an identical image with another label: "
            f"{format_estimate(test.accuracy_without_conflicts)}"
        )


def describe_tta(test: "TestResult") -> str:
    """Return the test-time augmentation in words; an empty text without it."""
    return ", averaged with the horizontal flip" if test.tta == "flip" else ""


def print_calibration(
    calibration: "Calibration", abstention: "Abstention", console: Console
) -> None:
    """Print the calibration error, and coverage and error when the model may abstain."""
    if calibration.before is not None and calibration.after is not None:
        before = calibration.before["calibration_error"]
        after = calibration.after["calibration_error"]
        scaled = calibration.reason or (
            f"{after.value:.3f} after scaling with temperature {calibration.temperature:.3g}"
        )
        console.say(
            f"calibration error {format_interval(before.value, before.low, before.high)}; {scaled}"
        )
    if abstention.test is not None:
        coverage, error = abstention.test.coverage, abstention.test.error
        errors = (
            f", {error.value:.1%} of them incorrect ({error.low:.1%} to {error.high:.1%})"
            if error.value is not None
            else ""
        )
        console.say(
            f"abstention  for an error of at most {100 * abstention.max_error:g} %, accept "
            f"confidences of at least {abstention.threshold:g}: {coverage.value:.1%} of the images"
            f"{errors}"
        )
    elif abstention.reason:
        console.say(f"abstention  {abstention.reason}")


def warn_of_data_errors(errors: int, console: Console) -> None:
    """Print why `--strict` makes the command exit with code 3."""
    console.warn(f"the data checks found {errors:,} errors, and --strict was given")


def merge_intervals(table: "pd.DataFrame", digits: int = 3) -> "pd.DataFrame":
    """Return a table in which each metric and its interval, `x x_low x_high`, are one column."""
    merged = table.copy()
    for name in [name for name in table if f"{name}_low" in table]:
        rows = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        merged[name] = [format_interval(*row, digits=digits) for row in rows]
        merged = merged.drop(columns=[f"{name}_low", f"{name}_high"])
    return merged


def tabulate_metrics(metrics: "Metrics") -> "pd.DataFrame":
    """Return metrics as a table for people."""
    import pandas as pd

    rows = [
        (
            name.replace("_", " "),
            format_interval(metric.value, metric.low, metric.high),
            metric.images,
        )
        for name, metric in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["metric", "with 95 % interval", "images"])


def format_interval(
    value: float | None, low: float | None, high: float | None, *, digits: int = 3
) -> str:
    """Return a value with its interval; an empty text if nothing was measured.

    >>> format_interval(0.5, 0.25, 0.75), format_interval(1.0, None, None)
    ('0.500 (0.250 to 0.750)', '1.000')
    """
    if value is None or math.isnan(value):
        return ""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_json(content: "BaseModel | Mapping[str, object]") -> None:
    """Print JSON for programs, last on standard output."""
    mapping = content if isinstance(content, Mapping) else content.model_dump(mode="json")
    sys.stdout.write(json.dumps(mapping, indent=2) + "\n")
