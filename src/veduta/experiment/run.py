"""One run, from a checked plan to a model that can be trusted. The file to read first.

gate       decode every image once; what cannot be read is listed
splits     train, validation, test; the test is sealed
study      frozen features once, then every trial on them
selection  by validation alone; the trials that tie with the winner
test       opened once, for the winner
artefact   the winner as files that predict
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from veduta.config.settings import Settings
from veduta.data.pixels import Image, Pixels
from veduta.data.splits import assign, shared
from veduta.errors import InputError, VedutaError
from veduta.experiment import records
from veduta.experiment.materials import Materials, Recipe, recipe_of, resize_of
from veduta.experiment.outcome import Made, score_test, write_model
from veduta.experiment.plan import Plan
from veduta.experiment.sealed import SealedTest
from veduta.models.heads import HeadNetwork
from veduta.runs.directory import RunDirectory, create
from veduta.runs.journal import Journal
from veduta.search.selection import tied
from veduta.search.serial import Finished, refit
from veduta.search.space import Trial
from veduta.search.study import Places, Study
from veduta.tracking.console import Console
from veduta.training.state import Examples, concatenated


@dataclass(slots=True)
class Clock:
    """Seconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(
        default_factory=lambda: {"pixels": 0.0, "features": 0.0, "training": 0.0}
    )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what happens inside to the seconds of `name`."""
        before = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - before

    def all(self) -> dict[str, float]:
        """Seconds by stage and in total."""
        total = time.perf_counter() - self.started
        return {k: round(v, 3) for k, v in {**self.seconds, "total": total}.items()}


def run(plan: Plan, *, cache: Path, console: Console) -> RunDirectory:
    """Carry out a plan; the run directory holds everything that came of it.

    Raises:
        InputError: the images do not suffice; nothing was written.
        VedutaError: every trial failed.
    """
    clock = Clock()
    materials = Materials(plan.engine, plan.settings.seed, cache, console)
    with clock.stage("pixels"):
        gate = _gate(plan, materials)
    parts = _split(plan, gate)
    _announce(plan, parts, console)
    directory = create(plan.out)
    with Journal(directory.journal) as journal:
        records.write_start(directory, plan, gate, parts)
        journal.append("start", **records.start_of(plan, gate, parts))
        study = Study(
            plan.trials,
            len(plan.folder.classes),
            journal,
            Places(directory.tensorboard, directory.scores),
        )
        data = _Data(plan, parts, materials, clock)
        data(plan.trials[0])
        with console.stage("training", "epochs") as advance:
            study.run(data, advance)
        clock.seconds["training"] = sum(outcome.seconds for outcome in study.outcomes)
        if study.best is None:
            records.write_tables(directory, journal)
            reasons = "; ".join(f"{trial}: {why}" for trial, why in study.failed.items())
            raise VedutaError(f"a run needs one trial that ends well; all failed: {reasons}")
        best = study.best
        ties = tied(study.outcomes)
        winner = next(trial for trial in plan.trials if trial.id == best.outcome.trial)
        journal.append("selected", winner=winner.id, tied=ties)
        network = _final_network(plan, winner, best, data)
        sealed = SealedTest(parts["test"], journal, cache)
        made = Made(directory, plan, winner, network, materials)
        test = score_test(made, sealed)
        write_model(made)
        summary = records.summary_of(plan, study, materials, outcome=best.outcome, ties=ties)
        records.write_end(directory, journal, summary, test=test, seconds=clock.all())
    return directory


def _announce(plan: Plan, parts: Mapping[str, list[Image]], console: Console) -> None:
    """What is about to happen, in three lines."""
    sizes = ", ".join(f"{len(images):,} {part}" for part, images in parts.items())
    console.say(f"images      {sizes} (sealed); {len(plan.folder.classes)} classes")
    fewer = f" ({plan.cells} cells, of which some differ only in what they do not use)"
    console.say(
        f"trials      {len(plan.trials)}{fewer if plan.cells != len(plan.trials) else ''}, "
        f"{sum(trial.settings.epochs for trial in plan.trials):,} epochs at most"
    )
    images = [image for part in parts.values() for image in part]
    copies = shared(images, [name for name, part in parts.items() for _ in part])
    if leaks := sum(group.leak for group in copies):
        console.warn(f"{leaks} images came in more than one split; their sha256 is in splits.csv")
    if conflicts := sum(group.conflict for group in copies):
        console.warn(f"{conflicts} images came with more than one label; see splits.csv")
    for name in plan.idle:
        console.warn(f"{name} has no effect on any trial here")


def _gate(plan: Plan, materials: Materials) -> Pixels:
    """Every labelled image, decoded; all of them must not be unreadable."""
    samples = [sample for sample in plan.folder.samples if sample.label is not None]
    gate = materials.pixels(samples, resize_of(plan.trials[0].settings))
    if not any(image.sample.split != "test" for image in gate.images):
        first = gate.rejected[0]
        raise InputError(
            f"training needs images that can be read; none of {len(gate.rejected)} can: "
            f"{first.name} is {first.problem} ({first.detail})"
        )
    return gate


def _split(plan: Plan, gate: Pixels) -> Mapping[str, list[Image]]:
    settings = plan.settings
    came = {sample.split for sample in plan.folder.samples}
    where = assign(
        gate.images,
        test=None if "test" in came else settings.test,
        validation=None if "validation" in came else settings.validation,
        seed=settings.seed,
    )
    parts: dict[str, list[Image]] = {"train": [], "validation": [], "test": []}
    for image, part in zip(gate.images, where, strict=True):
        parts[part].append(image)
    return parts


class _Data:
    """Training and validation examples of a trial; those of the last recipe are kept."""

    def __init__(
        self, plan: Plan, parts: Mapping[str, list[Image]], materials: Materials, clock: Clock
    ) -> None:
        self._classes = plan.folder.classes
        self._parts = parts
        self._materials = materials
        self._clock = clock
        self._kept: tuple[Recipe, tuple[Examples, Examples]] | None = None

    def __call__(self, trial: Trial) -> tuple[Examples, Examples]:
        recipe = recipe_of(trial.settings)
        if self._kept is None or self._kept[0] != recipe:
            with self._clock.stage("features"):
                self._kept = recipe, self._examples(trial.settings)
        return self._kept[1]

    def _examples(self, settings: Settings) -> tuple[Examples, Examples]:
        train, validation = self._materials.examples(
            [self._parts["train"], self._parts["validation"]], settings, self._classes
        )
        return train, validation


def _final_network(plan: Plan, winner: Trial, best: Finished, data: _Data) -> HeadNetwork:
    """The winner at its best epoch; with `refit`, trained anew on validation images too."""
    if not plan.settings.refit:
        return best.network
    train, validation = data(winner)
    return refit(
        winner,
        concatenated(train, validation),
        classes=len(plan.folder.classes),
        epochs=best.outcome.best_epoch,
    )
