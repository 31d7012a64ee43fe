"""A small but complete search: journal, checkpoints, scores, tables, model, summary, resume.

It uses the code of the product. Only the features are random numbers, the heads are tiny, and the
clock stands still, so that tables are equal to the last byte. Trials run one after the other in the
main thread, because strace counts the calls of each thread separately.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.faults.forks import Report, run_attempt
from tests.support.journals import make_run_started, make_summary
from tests.support.manifests import MANIFEST
from veduta.config.settings import Settings
from veduta.runs.artifact import find_model, write_artifact
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import (
    OutputPath,
    RunDirectory,
    create_run_directory,
    remove_temporary_files,
)
from veduta.runs.events import RunFinished, RunResumed, WinnerSelected
from veduta.runs.journal import Journal, read_journal
from veduta.runs.scores import load_validation_scores
from veduta.runs.summary import write_summary
from veduta.runs.tables import write_table
from veduta.runtime.disk import explain_write_errors
from veduta.tracking.tables import build_epochs_table, build_trials_table
from veduta.training.examples import Examples
from veduta.training.folds import Fold, create_single_fold
from veduta.training.loop import StepListener, Training
from veduta.tuning import study as study_module
from veduta.tuning.executors.pool import run_tiles
from veduta.tuning.executors.protocol import Executor, TileResult, always_continue
from veduta.tuning.previous_trials import reload_trials
from veduta.tuning.recorder import Recorder, StudyPaths
from veduta.tuning.study import ExecutionConfig, Study
from veduta.tuning.trials import checkpointing as checkpointing_module
from veduta.tuning.trials.selection import find_ties
from veduta.tuning.trials.space import Tile, Trial, build_trials, expand_grid
from veduta.types import ignore_progress

CLASSES, FEATURES, IMAGES = 3, 4, 12
BASE = Settings(freeze="all", clip=1.0, batch_size=16, epochs=2)  # `clip`: each trains alone
TABLES = ("trials.csv", "epochs.csv")
RESUMED = RunResumed(pid=1, versions={}, backbones={})
LISTENERS: list[Report] = []
"""Called at the end of each epoch, also of one that was trained again after a kill."""


def prepare() -> None:
    """Stop the clock, save at every step, and report epochs; called once per process."""
    time.perf_counter = lambda: 0.0
    checkpointing_module.TIME_RATIO = 0
    finish_epoch = Training.finish_epoch

    def report_and_finish(training: Training, on_step: StepListener) -> float:
        for report in LISTENERS:
            report(f"done: epoch {training.settings.lr} {training.epoch}")
        return finish_epoch(training, on_step)

    Training.finish_epoch = report_and_finish  # type: ignore[method-assign,assignment]


def make_trials(count: int, epochs: int) -> list[Trial]:
    """Return trials that differ in their learning rates."""
    rates = tuple(10.0 ** -(1 + number / 4) for number in range(count))
    return build_trials(expand_grid(BASE.model_copy(update={"epochs": epochs}), {"lr": rates}))


SMALL = make_trials(2, 2)


def make_folds() -> tuple[Fold]:
    """Return training and validation examples with random features."""

    def make_examples(seed: int) -> Examples:
        generator = np.random.default_rng(seed)
        labels = np.arange(IMAGES) % CLASSES
        features = generator.normal(0, 1, (IMAGES, FEATURES))
        features[np.arange(IMAGES), labels] += 0.7
        tensors = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)
        return Examples(*tensors, np.arange(IMAGES, dtype=np.uint64) + np.uint64(100 * seed))

    return create_single_fold(make_examples(1), make_examples(2))


def run_tiles_inline(
    tiles: Sequence[Tile], executor: Executor, *, workers: int, threads: int, hang_seconds: float
) -> Generator[tuple[Tile, TileResult], None, None]:
    """Do the same as `run_tiles` without threads."""
    for tile in tiles:
        yield tile, None
        with closing(executor(tile, always_continue)) as epochs:
            for epoch in epochs:
                yield tile, epoch


def search(
    path: Path, trials: Sequence[Trial], report: Report, *, threads: bool = False, warn: Report
) -> None:
    """Run a search in the directory `path`, or resume it, and report every epoch."""
    LISTENERS[:] = [report]
    study_module.run_tiles = run_tiles if threads else run_tiles_inline  # type: ignore
    directory = RunDirectory(path)
    with explain_write_errors(path), open_journal(directory) as journal:
        journal.append(RESUMED if journal.events else make_run_started())
        previous = reload_trials(journal.events, trials, scores=directory.scores, ages={})
        paths = StudyPaths(directory.tensorboard, directory.scores, directory.checkpoints)
        recorder = Recorder(trials, journal, paths)
        config = ExecutionConfig(CLASSES, memory_limit=1, checkpoint_seconds=0.0, warn=warn)
        try:
            Study(recorder, config, previous).run(lambda _: make_folds(), ignore_progress)
        except BaseException:
            with suppress(OSError):
                write_tables(directory, journal)
            raise
        finish_run(directory, recorder)


def open_journal(directory: RunDirectory) -> Journal:
    """Open the journal; a run that ended before its first event is started again."""
    if directory.journal.is_file() and read_journal(directory.journal):
        journal = Journal.reopen(directory.journal)
        remove_temporary_files(directory)
        return journal
    if directory.path.is_dir():
        directory.journal.unlink(missing_ok=True)
    else:
        create_run_directory(OutputPath(directory.path))
    return Journal(directory.journal)


def write_tables(directory: RunDirectory, journal: Journal) -> None:
    """Write the tables of the journal."""
    write_table(directory.epochs, build_epochs_table(journal.events))
    write_table(directory.trials, build_trials_table(journal.events))


def finish_run(directory: RunDirectory, recorder: Recorder) -> None:
    """Select the winner and write tables, model and summary."""
    assert recorder.best is not None
    winner = recorder.best.outcome.trial
    ties = find_ties(recorder.outcomes)
    recorder.journal.append(WinnerSelected(winner=winner, tied_trials=ties))
    write_tables(directory, recorder.journal)
    manifest = MANIFEST.model_copy(update={"trial": winner})
    write_artifact(directory.model, manifest, recorder.best.network.state_dict())
    selected = make_summary().winner.model_copy(update={"trial": winner})
    summary = make_summary(winner=selected, tied_trials=tuple(ties))
    recorder.journal.append(RunFinished(summary=summary))
    write_summary(directory.summary, summary)


def read_results(path: Path) -> dict[str, str]:
    """Return what no interruption may change: tables, winner and weights."""
    files = [*TABLES, "summary.json", "model/model.safetensors"]
    return {name: (path / name).read_bytes().hex() for name in files}


def find_broken_files(path: Path) -> list[str]:
    """Return the files of a run that exist but are incomplete."""
    directory, faults = RunDirectory(path), list[str]()
    if directory.journal.is_file():
        read_journal(directory.journal)
    tables = [path / name for name in TABLES if (path / name).is_file()]
    faults += [file.name for file in tables if not file.read_bytes().endswith(b"\n")]
    for file in directory.scores.glob("[!.]*.npz"):
        load_validation_scores(file)
    saved_trials = {file.name.split(".")[0] for file in directory.checkpoints.glob("[!.]*")}
    for trial in saved_trials:
        Checkpoints(directory.checkpoints, trial, faults.append).load_newest()
    if directory.model.is_dir() and find_model(path) is None:
        faults.append("model")
    return faults


def list_leftovers(path: Path) -> list[str]:
    """Return the temporary files that only a killed process leaves."""
    return [str(file.relative_to(path)) for file in path.rglob(".*")]


def expect_none(warning: str) -> None:
    """Fail: a kill must not damage a checkpoint."""
    raise AssertionError(f"a kill must not damage a checkpoint: {warning}")


def find_resume_faults(path: Path, whole: dict[str, str], call: str) -> list[str]:
    """Resume a run after a fault and return what differs from the results of a whole run."""
    attempt = run_attempt(partial(search_small, path))
    if attempt.code:
        return [f"{call}: the run cannot be resumed: {attempt.output}"]
    faults = [f"{call}: {name} remains" for name in list_leftovers(path)]
    return faults + ([] if read_results(path) == whole else [f"{call}: other results"])


def search_in_child(path: Path, trials: Sequence[Trial]) -> dict[str, str]:
    """Return the results of a search without interruption."""
    attempt = run_attempt(partial(search, path, trials, warn=expect_none))
    assert attempt.code == 0, attempt.output
    return read_results(path)


def search_small(path: Path, report: Report) -> None:
    """Run the search whose calls are hit one by one."""
    search(path, SMALL, report, warn=lambda _: None)
