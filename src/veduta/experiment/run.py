"""One run, from a checked plan to a model and its report. The file to read first.

data        decode every image once, check and split them; the test set is held out
features    compute frozen features once, for all trials
trials      train every trial of the plan, once or fold by fold
selection   select the winner on validation images alone, and the trials that tie with it
test        evaluate the winner on the test set, once
artifact    write the winner as files that predict
report      draw the page that shows all of it
"""

import time

from veduta.evaluation.winner_assessment import assess_winner
from veduta.experiment import messages, run_files, trial_search, winner
from veduta.experiment.checked_data import check_data
from veduta.experiment.examples import ExampleLoader
from veduta.experiment.feature_pipeline import PixelLoader, create_feature_pipeline
from veduta.experiment.plan import Plan
from veduta.experiment.recovery.consistency import expect_same_backbones, expect_same_images
from veduta.experiment.recovery.previous_run import PreviousRun, open_run
from veduta.experiment.report_media import write_run_media
from veduta.reporting.report import write_report
from veduta.runs.directory import RunDirectory, format_resume_command
from veduta.runtime.environment import open_cache
from veduta.runtime.interruption import announce_resume_command
from veduta.tracking.console import Console


def run(plan: Plan, previous: PreviousRun | None = None, *, console: Console) -> RunDirectory:
    """Carry out a plan; return the directory that holds the results of the run.

    Args:
        plan: plan of the run.
        previous: the run that is resumed, if there is one.
        console: shows progress and messages.

    Raises:
        InputError: the images or the weights cannot be used; nothing was written.
        VedutaError: every trial failed; the tables contain the reasons.
    """
    started = time.perf_counter()
    is_complete = previous is not None and previous.is_complete(plan.trials)
    if previous is not None and is_complete and not previous.compare_images:
        return _restore(plan, previous, console)
    with open_cache(console.warn) as cache:
        pixels = PixelLoader(cache, console)
        data = check_data(plan, pixels)
        settings = [trial.settings for trial in plan.trials]
        features = create_feature_pipeline(plan.engine, settings, data.splits["train"], pixels)
        provenance = run_files.build_provenance(plan, data, features)
        if previous is not None:
            expect_same_images(previous, data.splits, provenance.data_fingerprint)
            expect_same_backbones(previous, provenance.backbones)
            if is_complete:
                return _restore(plan, previous, console)
        messages.announce_plan(plan, provenance, previous, console)
        messages.warn_about_disk_space(plan, data.splits, console)

        with open_run(plan.output, previous, command=plan.command) as (directory, journal):
            provenance = run_files.journal_start(journal, plan, provenance, previous)
            run_files.write_start(directory, plan, data, provenance)
            run_files.journal_image_lists(directory, journal)

            examples = ExampleLoader(plan, data.splits, features)
            with run_files.write_tables_at_exit(directory, journal):
                study = trial_search.create_study(
                    plan, data.splits, examples, directory, journal, previous, console
                )
                trial_search.run_study(study, examples, console)
                selection = trial_search.select_winner(study)

            network = selection.finished.network
            if plan.settings.refits_winner:
                network = trial_search.refit_winner(study, selection, examples, console)
            model = winner.SelectedModel(directory, plan, selection.trial, network, features)

            test_images = data.splits["test"]
            test_set = winner.hold_out(test_images, data.conflicting, journal, cache)
            test = winner.score_test(model, test_set, test_images)
            assessment = assess_winner(
                directory, winner=selection.trial.id, classes=plan.folder.classes
            )
            summary = run_files.build_summary(model, study, selection, test, assessment)
            winner.write_model(model, assessment, summary)
            write_run_media(model, assessment, data.used_images)
            winner.write_training_pictures(model, examples, console)
            total_seconds = time.perf_counter() - started
            run_files.write_end(model, study, summary, total_seconds=total_seconds)
    _write_report(plan, directory)
    return directory


def _restore(plan: Plan, previous: PreviousRun, console: Console) -> RunDirectory:
    """Restore missing files of a run that is complete, its report included."""
    directory = previous.restore(console)
    if not directory.report.is_file():
        _write_report(plan, directory)
    return directory


def _write_report(plan: Plan, directory: RunDirectory) -> None:
    """Draw the report of a finished run; if this is interrupted, a resumed run draws it."""
    with announce_resume_command(format_resume_command(plan.command, directory.path)):
        write_report(directory.path)
