"""One run, from a checked plan to a model that can be trusted. The file to read first.

gate       decode every image once; what is wrong is listed; the test is set apart and sealed
study      frozen features once, then every trial on them, once or fold by fold
selection  by validation alone; the trials that tie with the winner
test       opened once, for the winner
artefact   the winner as files that predict
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from veduta.errors import VedutaError
from veduta.experiment import record as records
from veduta.experiment.examples import Data
from veduta.experiment.execution import alone, means_of
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.feature_spec import recipe_of
from veduta.experiment.gate import Gate, Parts, gate_of
from veduta.experiment.judgement import judge, write_judgement
from veduta.experiment.messages import announce_plan, warn_of_room, way_on
from veduta.experiment.plan import Plan
from veduta.experiment.record import corrected_of, summary_of, write_end, write_tables
from veduta.experiment.recovery.consistency import expect_same_backbones, expect_same_images
from veduta.experiment.recovery.previous_run import begun
from veduta.experiment.report_media import picture_run
from veduta.experiment.winner import Made, score_test, write_model, write_winner
from veduta.networks.heads import HeadNetwork
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import RunDirectory
from veduta.runs.files import expect_room
from veduta.runs.journal import Journal
from veduta.runs.test_set import SealedTest
from veduta.runtime.interruption import goes_on_with
from veduta.runtime.process import crash_log, threads_of
from veduta.tracking.console import Console
from veduta.tracking.leaderboard import Leaderboard
from veduta.tuning.memory_plan import Residency, Sizes, allowed_bytes, announce, residency
from veduta.tuning.previous_trials import Past
from veduta.tuning.recorder import Places, Record
from veduta.tuning.refit import finished, refit_of
from veduta.tuning.study import Study
from veduta.tuning.trials.checkpointing import Keeper
from veduta.tuning.trials.progress import Meter
from veduta.tuning.trials.selection import tied
from veduta.tuning.trials.space import Trial, differences
from veduta.tuning.trials.state import Finished


def run(plan: Plan, *, cache: Path, console: Console) -> RunDirectory:
    """Carry out a plan; the run directory holds everything that came of it.

    Raises:
        InputError: the images or the weights do not do; nothing was written.
        VedutaError: every trial failed; the tables say why.
    """
    earlier = plan.earlier
    done = earlier is not None and earlier.covers(plan.trials)
    if earlier is not None and done and not earlier.compare:
        return earlier.concluded(console)
    started = time.perf_counter()
    settings = plan.settings
    materials = Materials(plan.engine, settings.seed, cache, console, precision=settings.precision)
    plan, gate, start = _settled(plan, materials)
    parts = gate.parts
    if earlier is not None:
        expect_same_images(earlier, parts, start["data_fingerprint"])
        expect_same_backbones(earlier, start["backbones"])
        if done:
            return earlier.concluded(console)
    announce_plan(plan, start, console)
    warn_of_room(plan, parts, console)

    directory, journal = earlier.reopened() if earlier else begun(plan.place)
    with (
        goes_on_with(way_on(plan.command, directory.path)),
        crash_log(directory.crash),
        expect_room(directory.path),
        journal,
        threads_of(1),
    ):
        start = records.begin(journal, plan, start)
        records.write_start(directory, plan, gate, start=start)
        records.keep_lists(directory, journal)
        data = Data(plan, parts, materials)
        with _tables_written(directory, journal):
            study = _study(plan, data, parts, place=directory, journal=journal, console=console)
            winner, best, ties = _searched(plan, study, data, console=console)

        network = _again(study, winner, best, data, console) if plan.refit else best.network
        made = Made(directory, plan, winner, network, materials)
        sealed = SealedTest(parts["test"], journal, cache, gate.conflicting)
        summary = _judged(made, study, best, ties=ties, sealed=sealed, parts=parts)
        write_winner(made, data, console)
        total = time.perf_counter() - started
        seconds = {**materials.seconds, "training": study.seconds, "total": total}
        write_end(directory, journal, summary, materials=materials, seconds=seconds)
    return directory


def _settled(plan: Plan, materials: Materials) -> tuple[Plan, Gate, dict[str, Any]]:
    """The plan with the engine that it runs on, what the gate found, and how the journal starts."""
    gate = gate_of(plan, materials)
    materials.training = gate.parts["train"]
    backbones = materials.expect_backbones(trial.settings for trial in plan.trials)
    measured = materials.settle_engine(plan.trials[0].settings)
    plan = replace(plan, engine=materials.engine)
    return plan, gate, {**records.start_of(plan, gate), "backbones": backbones, **measured}


@contextmanager
def _tables_written(directory: RunDirectory, journal: Journal) -> Iterator[None]:
    """Write the tables when what is inside ends, however it does."""
    try:
        yield
    except BaseException:
        with suppress(OSError):  # what went wrong first is what is reported
            write_tables(directory, journal)
        raise
    write_tables(directory, journal)


def _study(
    plan: Plan, data: Data, parts: Parts, *, place: RunDirectory, journal: Journal, console: Console
) -> Study:
    """The trials of a plan, those of earlier attempts taken over.

    The first features are made here, so that trials have a progress of their own.
    """
    resident = _residency(plan, parts)
    past = plan.earlier.past(plan.trials, console) if plan.earlier else Past()
    data(plan.trials[0])
    announce(resident, journal, console)
    means = means_of(plan, data, journal, allowed=resident.allowed, warn=console.warn)
    places = Places(place.tensorboard, place.scores, place.checkpoints)
    board = Leaderboard(differences(list(plan.trials)))
    record = Record(
        plan.trials,
        journal,
        places,
        board,
        tell=console.say,
        max_failures=plan.settings.max_failures,
    )
    return Study(record, means, past)


def _searched(
    plan: Plan, study: Study, data: Data, *, console: Console
) -> tuple[Trial, Finished, list[str]]:
    """Run every trial; the winner on validation, and the names of the trials that tie with it."""
    record, unit = study.record, "images" if study.means.unit > 1 else "epochs"
    with console.stage("training", unit, record.board) as advance:
        study.run(data, advance, tails=data.tail)
    if record.best is None:
        reasons = "; ".join(f"{trial}: {why}" for trial, why in record.failed.items())
        raise VedutaError(f"a run needs one trial that ends well; all failed: {reasons}")
    winner = next(trial for trial in plan.trials if trial.id == record.best.outcome.trial)
    ties = tied(record.outcomes)
    record.journal.append("selected", winner=winner.id, tied=ties)
    return winner, record.best, ties


def _judged(
    made: Made,
    study: Study,
    best: Finished,
    *,
    ties: list[str],
    sealed: SealedTest,
    parts: Parts,
) -> dict[str, Any]:
    """Open the test for the winner, write it as files that predict; the run in figures."""
    plan = made.plan
    test = score_test(made, sealed)
    judgement = judge(made.directory, winner=made.winner.id, classes=plan.folder.classes)
    summary = {**summary_of(plan, study.record, best.outcome, ties=ties), "test": test}
    summary["corrected"] = corrected_of(made.directory, study.record, plan.settings.seed)
    summary |= write_judgement(made.directory, judgement, seed=plan.settings.seed)
    start = study.record.journal.events[0]
    told = {**summary, **{name: start.get(name) for name in ("images", "rejected", "dropped")}}
    write_model(made, judgement, told)
    picture_run(made, judgement, [image for part in parts.values() for image in part])
    summary["engine_check"] = made.materials.checks.get(recipe_of(made.winner.settings))
    return summary


def _residency(plan: Plan, parts: Parts) -> Residency:
    """What will be in memory while trials train; free memory is asked once, here."""
    train, chooses, folds = len(parts["train"]), len(parts["validation"]), plan.settings.folds or 1
    if folds > 1:
        train = chooses = train + chooses  # every one of them trains, and chooses once
    sizes = Sizes(train, chooses, len(plan.folder.classes), folds)
    apart = plan.settings.halving is not None
    return residency(plan.trials, sizes, allowed_bytes(plan.settings.memory), apart=apart)


def _again(
    study: Study, winner: Trial, best: Finished, data: Data, console: Console
) -> HeadNetwork:
    """The winner trained anew on all images, for as many epochs as its best one had."""
    means, epochs, examples = study.means, best.outcome.best_epoch, data.together(winner)
    name = f"{winner.id}.again-{epochs}"
    kept = Checkpoints(study.record.places.checkpoints, name, means.warn)
    refit = refit_of(
        winner,
        examples,
        way=alone(means, data, winner),
        epochs=epochs,
        keeper=Keeper(kept, every=means.checkpoint_seconds),
    )
    unit, each = ("images", len(examples)) if means.unit > 1 else ("epochs", 1)
    with console.stage("training the winner again", unit) as advance:
        return finished(refit, means, Meter({winner.id: epochs}, advance, each))
