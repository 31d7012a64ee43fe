"""What a run decides once about how trials are computed, and keeps to when it goes on.

Bits depend on the number of threads and on the type that products are computed in; both depend on
the machine, so they are journalled before the first trial starts, and replayed by a resume.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from veduta.experiment.examples import Data
from veduta.experiment.plan import Plan
from veduta.runs.journal import Journal
from veduta.runtime.environment import processors
from veduta.runtime.process import threads_of
from veduta.training.precision import faster_in_bf16, settle_precision
from veduta.tuning.executors.serial import Way, fresh_network
from veduta.tuning.study import Means
from veduta.tuning.trials.groups import fusable
from veduta.tuning.trials.space import Trial

TYPES = {"f32": None, "bf16": torch.bfloat16}
EVENT = "means"


def means_of(
    plan: Plan, data: Data, journal: Journal, *, allowed: int, warn: Callable[[str], None]
) -> Means:
    """How the trials of a plan are computed: as was decided before, or decided now.

    A network that trains alone has all processors; several, side by side, one each. With halving
    they train one after the other, for in the last round there is one.
    """
    settings = plan.settings
    known = [event for event in journal.events if event["event"] == EVENT]
    networks = [trial for trial in plan.trials if trial.settings.freeze != "all"]
    decided = known[-1] if known else _decided(plan, networks, data)
    if not known:
        journal.append(EVENT, **decided)
    return Means(
        len(plan.folder.classes),
        allowed=allowed,
        threads=decided["threads"],
        autocast=TYPES[decided["products"]],
        halving=settings.halving,
        checkpoint_seconds=settings.checkpoint_seconds,
        hang_seconds=settings.hang_seconds,
        unit=data.training_images if networks else 1,
        warn=warn,
    )


def _decided(plan: Plan, networks: list[Trial], data: Data) -> dict[str, Any]:
    """Threads of a network in training, and the type of its products with what was measured."""
    serial = [trial for trial in plan.trials if not fusable(trial.settings)]
    alone = plan.settings.halving is not None or len(serial) == 1
    threads = processors() if networks and alone else 1
    if not networks:
        return {"threads": threads, "products": "f32"}

    def measured() -> dict[str, float]:
        trial = networks[0]
        train = data(trial)[0].train
        way = Way(len(plan.folder.classes), data.tail(trial))
        chosen = np.arange(min(trial.settings.batch_size, len(train)))
        network = fresh_network(trial.settings, train, way)
        with threads_of(threads):
            return faster_in_bf16(network, train.seen_in(1)(chosen), trial.settings)

    autocast, figures = settle_precision(plan.settings.amp, measured)
    return {"threads": threads, "products": "f32" if autocast is None else "bf16", **figures}


def alone(means: Means, data: Data, trial: Trial) -> Way:
    """The way of a trial that is trained by itself, to its end."""
    return replace(Way(means.classes, data.tail(trial)), autocast=means.autocast)
