"""The trials of a run: how they are executed, the study that trains them, the winner, its refit.

The weights of a trained backbone depend on the number of threads and on the autocast dtype. Both
are chosen for the machine, so they are journaled before the first trial, and a resumed run keeps
them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from veduta.errors import VedutaError
from veduta.experiment.checked_data import Splits
from veduta.experiment.examples import ExampleLoader
from veduta.experiment.plan import Plan
from veduta.experiment.recovery.previous_run import PreviousRun
from veduta.networks.heads import HeadNetwork
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory
from veduta.runs.events import ExecutionConfigured, WinnerSelected, last_event
from veduta.runs.journal import Journal
from veduta.runtime.environment import count_cores
from veduta.runtime.process import use_torch_threads
from veduta.tracking.console import Console, Leaderboard
from veduta.training.step import choose_autocast_dtype, measure_step_seconds
from veduta.tuning.executors.serial import TrainingContext, build_network
from veduta.tuning.memory_plan import (
    DataSizes,
    MemoryPlan,
    announce_memory_plan,
    find_memory_limit,
    plan_memory,
)
from veduta.tuning.previous_trials import PreviousTrials
from veduta.tuning.recorder import ProgressMeter, Recorder, StudyPaths
from veduta.tuning.refit import create_refit, run_refit
from veduta.tuning.study import ExecutionConfig, Study
from veduta.tuning.trials.checkpointing import Checkpointer
from veduta.tuning.trials.selection import find_ties
from veduta.tuning.trials.space import Trial, describe_differences, uses_fused_executor
from veduta.tuning.trials.state import FinishedTrial

AUTOCAST_DTYPES = {"f32": None, "bf16": torch.bfloat16}


@final
@dataclass(frozen=True, slots=True)
class Selection:
    """The winner of a study, and the trials that do not differ significantly from it."""

    trial: Trial
    finished: FinishedTrial
    tied_trials: tuple[str, ...]


def create_study(
    plan: Plan,
    splits: Splits,
    examples: ExampleLoader,
    directory: RunDirectory,
    journal: Journal,
    previous: PreviousRun | None,
    console: Console,
) -> Study:
    """Return the study of all trials of a plan; trials of a previous run are taken over.

    The first features are computed here, so that the progress of training starts after them.
    """
    memory_plan = _plan_memory(plan, splits)  # free memory is measured before anything is loaded
    previous_trials = previous.load_trials(plan.trials, console) if previous else PreviousTrials()
    examples.load_folds(plan.trials[0])
    announce_memory_plan(memory_plan, journal, console)
    config = configure_execution(
        plan, examples, journal, memory_limit=memory_plan.allowed, warn=console.warn
    )
    recorder = Recorder(
        plan.trials,
        journal,
        StudyPaths(directory.tensorboard, directory.scores, directory.checkpoints),
        Leaderboard(describe_differences(plan.trials)),
        show_epoch=console.say,
        max_failures=plan.settings.max_failures,
    )
    return Study(recorder, config, previous_trials)


def run_study(study: Study, examples: ExampleLoader, console: Console) -> None:
    """Train every trial of a study."""
    unit = "images" if study.config.units_per_epoch > 1 else "epochs"
    with console.stage("training", unit, study.recorder.leaderboard) as advance:
        study.run(examples.load_folds, advance, find_tail=examples.build_tail)


def select_winner(study: Study) -> Selection:
    """Select the best trial on the validation images, and journal it.

    Raises:
        VedutaError: all trials failed.
    """
    recorder = study.recorder
    if (best := recorder.best) is None:
        reasons = "; ".join(f"{trial}: {reason}" for trial, reason in recorder.failures.items())
        raise VedutaError(f"a run needs one trial that does not fail; all failed: {reasons}")
    winner = next(trial for trial in recorder.trials if trial.id == best.outcome.trial)
    tied_trials = find_ties(recorder.outcomes)
    recorder.journal.append(WinnerSelected(winner=winner.id, tied_trials=tied_trials))
    return Selection(winner, best, tuple(tied_trials))


def refit_winner(
    study: Study, selection: Selection, examples: ExampleLoader, console: Console
) -> HeadNetwork:
    """Train the winner again on training and validation images, up to its best epoch."""
    config, trial = study.config, selection.trial
    epochs = selection.finished.outcome.best_epoch
    train = examples.load_all(trial)
    checkpoints = Checkpoints(
        study.recorder.paths.checkpoints, f"{trial.id}.refit-{epochs}", config.warn
    )
    refit = create_refit(
        trial,
        train,
        context=TrainingContext(
            config.classes, examples.build_tail(trial), autocast=config.autocast
        ),
        epochs=epochs,
        checkpointer=Checkpointer(checkpoints, interval_seconds=config.checkpoint_seconds),
    )
    unit, unit_count = ("images", len(train)) if config.units_per_epoch > 1 else ("epochs", 1)
    with console.stage("training the winner again", unit) as advance:
        return run_refit(refit, config, ProgressMeter({trial.id: epochs}, advance, unit_count))


def configure_execution(
    plan: Plan,
    examples: ExampleLoader,
    journal: Journal,
    *,
    memory_limit: int,
    warn: Callable[[str], None],
) -> ExecutionConfig:
    """Return how the trials of a plan are executed: as journaled before, or chosen now.

    A trial that trains a backbone alone uses all cores; several trials side by side use one each.
    With halving they train one after the other, since only one trial is left in the last round.
    """
    settings = plan.settings
    backbone_trials = [trial for trial in plan.trials if trial.settings.trains_backbone]
    configured = last_event(journal.events, ExecutionConfigured)
    if configured is None:
        configured = _choose_execution(plan, backbone_trials, examples)
        journal.append(configured)
    return ExecutionConfig(
        len(plan.folder.classes),
        memory_limit=memory_limit,
        threads=configured.threads,
        autocast=AUTOCAST_DTYPES[configured.autocast],
        checkpoint_seconds=settings.checkpoint_seconds,
        hang_seconds=settings.hang_seconds,
        units_per_epoch=examples.images_per_epoch if backbone_trials else 1,
        warn=warn,
    )


def _choose_execution(
    plan: Plan, backbone_trials: Sequence[Trial], examples: ExampleLoader
) -> ExecutionConfigured:
    """Choose threads and autocast dtype of trials that train a backbone."""
    serial_trials = [t for t in plan.trials if not uses_fused_executor(t.settings)]
    one_at_a_time = plan.settings.uses_halving or len(serial_trials) == 1
    threads = count_cores() if backbone_trials and one_at_a_time else 1
    if not backbone_trials:
        return ExecutionConfigured(threads=threads, autocast="f32")

    def measure_step() -> dict[str, float]:
        trial = backbone_trials[0]
        train = examples.load_folds(trial)[0].train
        context = TrainingContext(len(plan.folder.classes), examples.build_tail(trial))
        network = build_network(trial.settings, train, context)
        batch = np.arange(min(trial.settings.batch_size, len(train)))
        with use_torch_threads(threads):
            return measure_step_seconds(network, train.get_batch_source(1)(batch), trial.settings)

    dtype, step_seconds = choose_autocast_dtype(plan.settings.amp, measure_step)
    return ExecutionConfigured(
        threads=threads,
        autocast="f32" if dtype is None else "bf16",
        step_seconds=step_seconds,
    )


def _plan_memory(plan: Plan, splits: Splits) -> MemoryPlan:
    """Return how much memory training will need, and how much it may use."""
    settings, classes = plan.settings, len(plan.folder.classes)
    train, validation = len(splits["train"]), len(splits["validation"])
    if settings.uses_folds:
        train = validation = train + validation  # every image is trained on, and validated once
    sizes = DataSizes(train, validation, classes, settings.fold_count)
    limit = find_memory_limit(settings.memory)
    return plan_memory(plan.trials, sizes, limit)
