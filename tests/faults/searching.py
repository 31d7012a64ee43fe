"""A search that is small and whole: journal, checkpoints, scores, tables, model, summary, resume.

All of it is the product's own; only the images are numbers, the heads tiny, and the stop-watch
stands still, so that tables are the same to the last byte. Trials run one after the other in the
first thread, for strace counts the calls of each thread by itself.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.faults.forks import attempt
from tests.runs.test_artefact import MANIFEST
from veduta.config.settings import Settings
from veduta.runs.artifact import standing, write_artefact
from veduta.runs.checkpoints import Checkpoints
from veduta.runs.directory import Place, RunDirectory, create, tidy
from veduta.runs.files import expect_room, write_json
from veduta.runs.journal import Journal, read_journal
from veduta.tracking.tables import epochs_table, trials_table, write_csv
from veduta.training.folds import Fold, undivided
from veduta.training.loop import Pulse, Training
from veduta.training.state import Examples
from veduta.tuning import study as studies
from veduta.tuning.executors.pool import Came, Work, side_by_side
from veduta.tuning.previous_trials import reload
from veduta.tuning.recorder import Places, Record
from veduta.tuning.study import Means, Study
from veduta.tuning.trials import checkpointing as rules
from veduta.tuning.trials.groups import Tile
from veduta.tuning.trials.progress import unheard
from veduta.tuning.trials.selection import tied
from veduta.tuning.trials.space import Trial, cells, trials

CLASSES, FEATURES, IMAGES = 3, 4, 12
BASE = Settings(freeze="all", clip=1.0, batch_size=16, epochs=2)  # `clip`: each trains alone
TABLES = ("trials.csv", "epochs.csv")
Tell = Callable[[str], None]
TOLD: list[Tell] = []  # of each epoch when it begins, or goes on after a kill inside of it


def prepare() -> None:
    """Let the stop-watch stand still, save at every step, and tell of epochs. Once in a program."""
    time.perf_counter = lambda: 0.0
    rules.SHARE = 0
    finish = Training.finish_epoch

    def told(training: Training, pulse: Pulse) -> float:
        for tell in TOLD:
            tell(f"done: epoch {training.settings.lr} {training.epoch}")
        return finish(training, pulse)

    Training.finish_epoch = told


def found_trials(count: int, epochs: int) -> list[Trial]:
    rates = tuple(10.0 ** -(1 + number / 4) for number in range(count))
    return trials(cells(BASE.model_copy(update={"epochs": epochs}), {"lr": rates}))


SMALL = found_trials(2, 2)


def folds() -> tuple[Fold]:
    def examples(seed: int) -> Examples:
        drawn = np.random.default_rng(seed)
        labels = np.arange(IMAGES) % CLASSES
        features = drawn.normal(0, 1, (IMAGES, FEATURES))
        features[np.arange(IMAGES), labels] += 0.7
        tensors = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)
        return Examples(*tensors, np.arange(IMAGES, dtype=np.uint64) + np.uint64(100 * seed))

    return undivided(examples(1), examples(2))


def inline(
    tiles: Sequence[Tile], work: Work, *, workers: int, threads: int, hang_seconds: float
) -> Generator[tuple[Tile, Came], None, None]:
    """`side_by_side` without threads."""
    for tile in tiles:
        yield tile, None
        with closing(work(tile, unheard)) as came:
            for epoch in came:
                yield tile, epoch


def search(
    path: Path, found: Sequence[Trial], tell: Tell, *, threads: bool = False, warn: Tell
) -> None:
    """Begin the search in the directory `path`, or go on with it, to its end.

    Tells of every epoch that is trained.
    """
    TOLD[:] = [tell]
    studies.side_by_side = side_by_side if threads else inline
    directory = RunDirectory(path)
    with expect_room(path):
        journal = opened(directory)
        with journal:
            journal.append("resumed" if journal.events else "start")
            past = reload(journal.events, found, scores=directory.scores, ages={})
            places = Places(directory.tensorboard, directory.scores, directory.checkpoints)
            record = Record(found, journal, places)
            means = Means(CLASSES, allowed=1, checkpoint_seconds=0.0, warn=warn)
            try:
                Study(record, means, past).run(lambda _: folds(), lambda *_: None)
            except BaseException:
                with suppress(OSError):
                    write_tables(directory, journal)
                raise
            ends(directory, record)


def opened(directory: RunDirectory) -> Journal:
    """The journal to go on with; a run that ended before its first event is begun anew."""
    if directory.journal.is_file() and read_journal(directory.journal):
        journal = Journal.reopened(directory.journal)
        tidy(directory)
        return journal
    if directory.path.is_dir():
        directory.journal.unlink(missing_ok=True)
    else:
        create(Place(directory.path))
    return Journal(directory.journal)


def write_tables(directory: RunDirectory, journal: Journal) -> None:
    write_csv(directory.epochs, epochs_table(journal.events))
    write_csv(directory.trials, trials_table(journal.events))


def ends(directory: RunDirectory, record: Record) -> None:
    """Choose, write tables and the model, say so."""
    assert record.best is not None
    winner = record.best.outcome.trial
    record.journal.append("selected", winner=winner, tied=tied(record.outcomes))
    write_tables(directory, record.journal)
    manifest = MANIFEST.model_copy(update={"trial": winner})
    write_artefact(directory.model, manifest, record.best.network.state_dict())
    record.journal.append("end", winner=winner)
    write_json(directory.summary, {"winner": winner})


def result(path: Path) -> dict[str, str]:
    """What must be the same however often it was ended: tables, winner, weights."""
    files = [*TABLES, "summary.json", "model/model.safetensors"]
    return {name: (path / name).read_bytes().hex() for name in files}


def broken(path: Path) -> list[str]:
    """Files of a run that are neither absent nor whole."""
    directory, faults = RunDirectory(path), list[str]()
    if directory.journal.is_file():
        read_journal(directory.journal)
    tables = [path / name for name in TABLES if (path / name).is_file()]
    faults += [file.name for file in tables if not file.read_bytes().endswith(b"\n")]
    for file in directory.scores.glob("[!.]*.npz"):
        with np.load(file) as kept:
            kept["hits"]
    trials_kept = {file.name.split(".")[0] for file in directory.checkpoints.glob("[!.]*")}
    for trial in trials_kept:
        Checkpoints(directory.checkpoints, trial, faults.append).newest()
    if directory.model.is_dir() and standing(path) is None:
        faults.append("model")
    return faults


def leftovers(path: Path) -> list[str]:
    """What only a process that was killed leaves."""
    return [str(file.relative_to(path)) for file in path.rglob(".*")]


def expect_none(text: str) -> None:
    raise AssertionError(f"a kill damages no checkpoint; {text}")


def finish(path: Path, whole: dict[str, str], where: str) -> list[str]:
    """What is wrong with a run that goes on after a fault; nothing, it is hoped."""
    again = attempt(partial(search_small, path))
    if again.code:
        return [f"{where}: it does not go on: {again.told}"]
    faults = [f"{where}: {left} is left" for left in leftovers(path)]
    return faults + ([] if result(path) == whole else [f"{where}: it comes to something else"])


def done(path: Path, found: Sequence[Trial]) -> dict[str, str]:
    """What a search comes to that nothing ends."""
    ended = attempt(partial(search, path, found, warn=expect_none))
    assert ended.code == 0, ended.told
    return result(path)


def search_small(path: Path, tell: Tell) -> None:
    """The search that is struck at each of its calls."""
    search(path, SMALL, tell, warn=lambda _: None)
