"""The files that a run writes at its start and at its end."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from importlib.metadata import version

from veduta.config.parsing import to_json, to_json_value
from veduta.data.checks.findings import CONFLICT, LEAK, count_problems
from veduta.data.splits import assign_folds
from veduta.evaluation.winner_assessment import WinnerAssessment, write_label_issues
from veduta.experiment.checked_data import CheckedData
from veduta.experiment.feature_pipeline import FeaturePipeline
from veduta.experiment.plan import Plan
from veduta.experiment.recovery.derived_files import IMAGE_LISTS, format_config
from veduta.experiment.recovery.previous_run import PreviousRun
from veduta.experiment.trial_search import Selection
from veduta.experiment.winner import SelectedModel
from veduta.metrics.intervals import compute_wilson_interval
from veduta.runs.directory import RunDirectory
from veduta.runs.events import (
    HalvingRoundFinished,
    ImageListsWritten,
    RunFinished,
    RunResumed,
    RunStarted,
    events_of_type,
    last_event,
    run_start,
)
from veduta.runs.journal import Journal
from veduta.runs.provenance import (
    Configuration,
    DataSummary,
    Provenance,
    SplitSizes,
)
from veduta.runs.scores import load_validation_scores
from veduta.runs.summary import (
    CorrectedAccuracy,
    Estimate,
    Halving,
    HalvingRound,
    Summary,
    TestResult,
    Winner,
    write_summary,
)
from veduta.runs.tables import REJECTED, SPLITS, write_rows, write_table
from veduta.runs.test_set import compute_fingerprint
from veduta.runtime.disk import write_atomically
from veduta.tracking.tables import build_epochs_table, build_trials_table
from veduta.tuning.halving import plan_halving_rounds
from veduta.tuning.study import Study
from veduta.tuning.trials.selection import correct_accuracy
from veduta.tuning.trials.space import find_varied_settings

LIBRARIES = (
    "veduta",
    "nncf",
    "numpy",
    "openvino",
    "pandas",
    "pillow",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)


# start of a run


def list_versions() -> dict[str, str]:
    """Return machine type and versions of Python and libraries, which numbers may depend on."""
    versions = {
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except ModuleNotFoundError:
            versions[library] = "not installed"
    return versions


def build_provenance(plan: Plan, data: CheckedData, features: FeaturePipeline) -> Provenance:
    """Return what the results of a run depend on besides its configuration.

    Args:
        plan: plan of the run.
        data: its images.
        features: computes their features.
    """
    problems = count_problems(data.findings)
    return Provenance(
        command=plan.command,
        root=str(plan.folder.root),
        layout=plan.folder.layout,
        data=DataSummary(
            classes=plan.folder.classes,
            split_sizes=SplitSizes(
                train=len(data.splits["train"]),
                validation=len(data.splits["validation"]),
                test=len(data.splits["test"]),
            ),
            rejected_files=len(data.unreadable),
            dropped_images=len(data.dropped),
            images_in_two_splits=problems.get(LEAK, 0),
            images_in_two_classes=problems.get(CONFLICT, 0),
            problems=problems,
            errors=sum(finding.severity == "error" for finding in data.findings),
        ),
        data_fingerprint=compute_fingerprint(
            [image.digest for image in data.images],
            [str(image.sample.label) for image in data.images],
        ),
        engine=features.engine,
        versions=list_versions(),
        backbones=dict(features.backbone_digests),
    )


def build_configuration(plan: Plan) -> Configuration:
    """Return resolved settings and grid: what `--config` takes to run the same again.

    If models or heads are in the grid, the settings that presets determine cell by cell are left
    out, so that presets determine them again.
    """
    left_out = {*plan.grid, *plan.preset_settings}
    settings = {k: v for k, v in plan.settings.model_dump().items() if k not in left_out}
    return Configuration.model_validate(
        {
            "settings": to_json(settings),
            "grid": {
                name: [to_json_value(value) for value in values]
                for name, values in plan.grid.items()
            },
        }
    )


def journal_start(
    journal: Journal, plan: Plan, provenance: Provenance, previous: PreviousRun | None
) -> Provenance:
    """Journal that a run starts or is resumed; return the provenance with which it started."""
    configuration = build_configuration(plan)
    if previous is None:
        journal.append(
            RunStarted(
                pid=os.getpid(),
                data_path=str(plan.data_path),
                provenance=provenance,
                configuration=configuration,
            )
        )
        return provenance
    changed = configuration != previous.configurations[-1]
    journal.append(
        RunResumed(
            pid=os.getpid(),
            versions=provenance.versions,
            backbones=provenance.backbones,
            configuration=configuration if changed else None,
        )
    )
    return previous.start.provenance


def write_start(
    directory: RunDirectory, plan: Plan, data: CheckedData, provenance: Provenance
) -> None:
    """Write `config.yaml`, `splits.csv` and `rejected.csv`."""
    write_atomically(directory.config, format_config(build_configuration(plan), provenance))
    write_splits(directory, plan, data)
    rejected = [*data.unreadable, *data.dropped]
    write_rows(directory.rejected, REJECTED, map(astuple, rejected))


def write_splits(directory: RunDirectory, plan: Plan, data: CheckedData) -> None:
    """Write `splits.csv`: the split of each image and, with folds, the fold that held it out.

    Images that were dropped have no row.
    """
    settings = plan.settings
    split_by_name = {
        image.sample.name: split for split, images in data.splits.items() for image in images
    }
    fold_by_digest = (
        assign_folds(data.splits["train"], settings.folds, settings.seed) if settings.folds else {}
    )
    rows = []
    for image in data.images:
        if (split := split_by_name.get(image.sample.name)) is None:
            continue
        row = [image.sample.name, image.sample.label, split, image.digest]
        if settings.folds:
            row.append(str(fold_by_digest[image.digest]) if split == "train" else "")
        rows.append(row)
    write_rows(directory.splits, SPLITS if settings.folds else SPLITS[:-1], rows)


def journal_image_lists(directory: RunDirectory, journal: Journal) -> None:
    """Journal the lists of images as written, so that they can be restored without the images.

    Lists that did not change since the run started are not journaled again.
    """
    files = {
        name: (directory.path / name).read_bytes().decode("utf-8", "surrogateescape")
        for name in IMAGE_LISTS
    }
    written = last_event(journal.events, ImageListsWritten)
    if written is None or written.files != files:
        journal.append(ImageListsWritten(files=files))


# end of a run


@contextmanager
def write_tables_at_exit(directory: RunDirectory, journal: Journal) -> Iterator[None]:
    """Write the tables when the block ends, also after an error or an interruption."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first error is the one that is reported
            write_tables(directory, journal)
        raise
    write_tables(directory, journal)


def write_tables(directory: RunDirectory, journal: Journal) -> None:
    """Write `epochs.csv` and `trials.csv` from the journal."""
    write_table(directory.epochs, build_epochs_table(journal.events))
    write_table(directory.trials, build_trials_table(journal.events))


def build_summary(
    model: SelectedModel,
    study: Study,
    selection: Selection,
    test: TestResult,
    assessment: WinnerAssessment,
) -> Summary:
    """Write `label_issues.csv`, and return the summary of a run; `write_end` completes it."""
    plan, recorder = model.plan, study.recorder
    events, outcome = recorder.journal.events, selection.finished.outcome
    provenance = run_start(events).provenance
    correct, images = int(outcome.correct.sum()), len(outcome.correct)
    low, high = compute_wilson_interval(correct, images)
    timings = model.features.pixels.timings
    varied = find_varied_settings(plan.trials)
    hyperparameters = to_json(selection.trial.hyperparameters)
    return Summary(
        command="train" if plan.command == "train" else "search",
        winner=Winner(
            trial=selection.trial.id,
            hyperparameters=hyperparameters,
            varied={name: hyperparameters[name] for name in varied},
            best_epoch=outcome.best_epoch,
            refit=plan.settings.refits_winner,
        ),
        folds=plan.settings.folds,
        halving=_summarize_halving(plan, study),
        validation_accuracy=Estimate(value=outcome.val_accuracy, low=low, high=high, images=images),
        corrected_accuracy=_correct_accuracy(model.directory, study, plan.settings.seed),
        tied_trials=selection.tied_trials,
        trial_count=len(plan.trials),
        grid_cells=plan.cell_count,
        failed_trials=len(recorder.failures),
        strict=plan.settings.strict,
        resume_count=len(events_of_type(events, RunResumed)),
        test=test,
        metrics=assessment.estimate_metrics(seed=plan.settings.seed),
        calibration=assessment.summarize_calibration(seed=plan.settings.seed),
        abstention=assessment.summarize_abstention(),
        label_issue_count=write_label_issues(model.directory, assessment),
        data=provenance.data,
        engine=provenance.engine,
        engine_agreement=model.features.get_agreement(selection.trial.settings),
        rows_from_cache=timings.rows_from_cache,
        rows_computed=timings.rows_computed,
        seconds=timings.summarize(training=study.seconds, total=0.0),
    )


def write_end(
    model: SelectedModel, study: Study, summary: Summary, *, total_seconds: float
) -> None:
    """Complete the summary, journal it as the last event of the run, and write `summary.json`."""
    timings = model.features.pixels.timings
    summary = summary.model_copy(
        update={
            "engine_agreement": model.features.get_agreement(model.trial.settings),
            "rows_from_cache": timings.rows_from_cache,
            "rows_computed": timings.rows_computed,
            "seconds": timings.summarize(training=study.seconds, total=total_seconds),
        }
    )
    study.recorder.journal.append(RunFinished(summary=summary))
    write_summary(model.directory.summary, summary)


def _summarize_halving(plan: Plan, study: Study) -> Halving | None:
    """Return the rounds of successive halving: their number of trials, and the last epoch."""
    if (factor := plan.settings.halving) is None:
        return None
    finished_rounds = {
        event.round: event
        for event in events_of_type(study.recorder.journal.events, HalvingRoundFinished)
    }
    rounds, trials = [], list(plan.trials)
    for planned in plan_halving_rounds(plan.trials, factor):
        epochs = max(map(planned.find_last_epoch, trials), default=0)
        rounds.append(HalvingRound(trials=len(trials), epochs=epochs))
        finished = finished_rounds.get(planned.number)
        promoted = finished.promoted if finished else []
        trials = [trial for trial in trials if trial.id in promoted]
    return Halving(reduction_factor=factor, rounds=tuple(rounds))


def _correct_accuracy(directory: RunDirectory, study: Study, seed: int) -> CorrectedAccuracy | None:
    """Return the accuracy of the winner corrected for the selection; cheaper trials come first."""
    outcomes = sorted(study.recorder.outcomes, key=lambda outcome: outcome.cost)
    correct = [
        load_validation_scores(directory.validation_scores(outcome.trial)).correct
        for outcome in outcomes
    ]
    return correct_accuracy(correct, seed)
