"""`veduta evaluate`: evaluate the model of a run on labeled images."""

from pathlib import Path
from typing import Annotated

import typer

from veduta.cli.options import Json, Out, RunDirectory

MAX_CLASSES = 20  # of a confusion matrix that is printed
MAX_MISTAKES = 5


def evaluate(
    run: RunDirectory,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Labeled images; a test/ split is used if there is one."
        ),
    ],
    *,
    max_error: Annotated[
        float,
        typer.Option(metavar="NUMBER", help="Maximum error among accepted images."),
    ] = 0.02,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy, per-class metrics, confusion matrix and calibration, with 95 % intervals.

    Example: veduta evaluate runs/search-1 photos/test
    """
    from veduta import api
    from veduta.cli.printing import (
        PARTLY_DONE,
        describe_tta,
        merge_intervals,
        print_calibration,
        print_json,
        tabulate_metrics,
    )
    from veduta.tracking.console import Console
    from veduta.tracking.text import format_estimate

    console = Console(stderr=as_json)
    evaluation = api.evaluate(run, data, max_error=max_error, out=out, console=console)
    summary = evaluation.summary
    console.table(merge_intervals(evaluation.per_class), "by class, with 95 % intervals")
    if len(evaluation.confusion) <= MAX_CLASSES:
        confusion = evaluation.confusion.reset_index(names="label", allow_duplicates=True)
        console.table(confusion, "confusion matrix; rows: labels, columns: predictions")
    else:
        console.say(f"confusion   {evaluation.directory}/confusion.csv")
    console.table(tabulate_metrics(evaluation.metrics), "over all classes")
    if len(evaluation.mistakes):
        console.table(evaluation.mistakes.head(MAX_MISTAKES), "mistakes with the most confidence")
    console.say(f"accuracy    {format_estimate(summary.test.accuracy)}{describe_tta(summary.test)}")
    print_calibration(summary.calibration, summary.abstention, console)
    if summary.images_seen_in_training:
        console.warn(
            f"{summary.images_seen_in_training:,} of these images were used to train or to select "
            "this model"
        )
    if previous := summary.test.previous_evaluations:
        console.say(f"test set    earlier evaluations on this machine: {previous}")
    console.say(
        f"evaluation  {evaluation.directory}\nreport      {evaluation.directory}/report.html"
    )
    if as_json:
        print_json(summary)
    if evaluation.rejected:
        console.warn(
            f"{len(evaluation.rejected)} files could not be decoded; "
            f"{evaluation.directory}/rejected.csv"
        )
        raise typer.Exit(PARTLY_DONE)
