"""What commands print when they are done: a leaderboard, the one number, where the files are."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from veduta.tracking.console import Console

if TYPE_CHECKING:
    import pandas as pd

    from veduta.results.run import Run

PARTLY = 3
TIES = 8  # named at most
PERCENT = "{accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}, {images} images)"


def score(figures: Mapping[str, Any]) -> str:
    """An accuracy with its interval and the number of images behind it."""
    return PERCENT.format(**figures)


def rounds(found: Sequence[Mapping[str, int]]) -> str:
    """How trials were halved, in words.

    >>> rounds([{"trials": n, "epochs": e} for n, e in ((16, 3), (4, 12), (1, 48))])
    '4 of 16 trials went on from epoch 3 to 12, 1 to 48'
    """
    first, *others = found
    if not others:
        return f"too few trials or epochs for it: all {first['trials']} were trained to the end"
    told = ", ".join(f"{one['trials']} to {one['epochs']}" for one in others[1:])
    start = (
        f"{others[0]['trials']} of {first['trials']} trials went on from epoch {first['epochs']}"
    )
    return f"{start} to {others[0]['epochs']}" + (f", {told}" if told else "")


def finish_run(run: "Run", console: Console, *, as_json: bool) -> None:
    """The end of a search or a training; exits with 3 where it was done only in part."""
    summary = run.summary
    if summary["trials"] > 1:
        console.table(run.leaderboard(), f"best of {summary['trials']} trials, by validation")
    if halving := summary.get("halving"):
        console.say(f"halving     {rounds(halving['rounds'])}")
    winner = summary["winner"]
    said = f"winner      {winner['trial']}, at epoch {winner['best_epoch']}"
    again = "; trained again for as many epochs on all images but the test's"
    console.say(said + (again if winner["refit"] else ""))
    folds = f"pooled over {summary['folds']} folds, " if summary["folds"] else ""
    console.say(f"validation  {score(summary['validation'])}, {folds}which chose it")
    if (corrected := summary["corrected"]) and summary["trials"] > 1:
        expected = "{accuracy:.1%} ({low:.1%} to {high:.1%})".format(**corrected)
        console.say(f"corrected   {expected}, what such a choice is expected to reach elsewhere")
    if ties := summary["ties"]:
        console.say(f"tied        {tied(ties)}")
    _say_test(summary["test"], console)
    say_calibration(summary, console)
    if summary["label_issues"]:
        console.say(
            f"labels      {summary['label_issues']:,} are doubted; {run.directory.label_issues}"
        )
    console.say(f"run         {run.directory.path}\nreport      {run.directory.report}")
    if as_json:
        print_json(summary)
    fails = run.strict and summary.get("weigh")
    if fails:
        console.warn(f"{summary['weigh']} findings in the data weigh, and --strict was given")
    if summary["failed"] or not summary["test"]["images"] or fails:
        raise typer.Exit(PARTLY)


def _say_test(test: Mapping[str, Any], console: Console) -> None:
    """The one test score, and how often the test was opened for it."""
    if not test["images"]:
        console.warn("no test image could be read, so there is no test score")
        return
    before = test["opened_before"]
    often = f"; opened before on this machine: {before}" if before else ""
    how = ", each with its mirror" if test["tta"] == "flip" else ""
    times = "once" if test["opened"] == 1 else f"{test['opened']} times"
    console.say(f"test        {score(test)}{how}, opened {times}{often}")
    if others := test.get("without_conflicts"):
        left = score(others) if others["images"] else "no image is left"
        console.say(f"            without images whose copies have another label: {left}")


def tied(trials: Sequence[str]) -> str:
    """How many trials tie with the winner, and the first of them.

    >>> tied(["t1"])
    '1 trial cannot be told from it: t1'
    >>> tied([f"t{n}" for n in range(10)])
    '10 trials cannot be told from it: t0, t1, t2, t3, t4, t5, t6, t7 and 2 more'
    """
    many = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    more = f" and {len(trials) - TIES} more" if len(trials) > TIES else ""
    return f"{many} cannot be told from it: {', '.join(trials[:TIES])}{more}"


def say_calibration(summary: Mapping[str, Any], console: Console) -> None:
    """How far confidence may be believed, and what abstaining would bring."""
    found, abstain = summary["calibration"], summary["abstain"]
    if found["after"] is not None:
        before, after = (found[when]["calibration_error"] for when in ("before", "after"))
        kept = found["reason"] or f"{after['value']:.3f} at temperature {found['temperature']:.3g}"
        console.say(
            f"calibration confidence is off by {before['value']:.3f} "
            f"({before['low']:.3f} to {before['high']:.3f}); {kept}"
        )
    if abstain["judged"] is not None:
        coverage, error = abstain["judged"]["coverage"], abstain["judged"]["error"]
        left = (
            ""
            if error["value"] is None
            else (", {value:.1%} of them wrong ({low:.1%} to {high:.1%})".format(**error))
        )
        console.say(
            f"abstain     for an error of at most {100 * abstain['max_error']:g} %, accept "
            f"confidence from {abstain['threshold']:g}: {coverage['value']:.1%} of images{left}"
        )
    elif abstain["reason"]:
        console.say(f"abstain     {abstain['reason']}")


def with_intervals(table: "pd.DataFrame", digits: int = 3) -> "pd.DataFrame":
    """A table in which a figure and both ends of its interval, `x x_low x_high`, are one column."""
    shown = table.copy()
    for name in [name for name in table if f"{name}_low" in table]:
        ends = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
        shown[name] = [interval(*figures, digits=digits) for figures in ends]
        shown = shown.drop(columns=[f"{name}_low", f"{name}_high"])
    return shown


def figures_table(figures: Mapping[str, Mapping[str, Any]]) -> "pd.DataFrame":
    """Figures of summary.json as a person reads them."""
    import pandas as pd

    rows = []
    for name, figure in figures.items():
        value = figure.get("value", figure.get("accuracy"))
        shown = interval(value, figure["low"], figure["high"])
        rows.append((name.replace("_", " "), shown, figure["images"]))
    return pd.DataFrame(rows, columns=["figure", "with 95 % interval", "images"])


def interval(value: float | None, low: float | None, high: float | None, *, digits: int = 3) -> str:
    """A figure with its interval; nothing where nothing was measured.

    >>> interval(0.5, 0.25, 0.75), interval(1.0, None, None), interval(None, None, None)
    ('0.500 (0.250 to 0.750)', '1.000', '')
    """
    if value is None or value != value:  # noqa: PLR0124 - nan
        return ""
    if low is None or high is None or low != low:  # noqa: PLR0124
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_json(content: Mapping[str, Any]) -> None:
    """The machine's copy, last on standard output."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")
