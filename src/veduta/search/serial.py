"""The serial executor: one trial at a time, each from its own fresh start.

The reference: `search.fused` trains many trials at once and must give what this gives.
"""

import copy
from collections.abc import Callable

from veduta.models.heads import HeadNetwork, build_head, head_of
from veduta.search.course import Course, Finished
from veduta.search.space import Trial
from veduta.training.loop import Epoch, fit, train_epochs
from veduta.training.state import Examples


def run_trial(
    trial: Trial,
    train: Examples,
    *,
    validation: Examples,
    classes: int,
    record: Callable[[Epoch], None],
) -> Finished:
    """Train one trial; every epoch is recorded, the best one is kept as a copy.

    Raises:
        NotFiniteError: the loss ceased to be a finite number.
    """
    settings = trial.settings
    head = head_of(settings, train.shape[0], classes)
    network = build_head(head, settings.seed).to(train.dtype)
    course = Course(trial)
    for epoch in fit(network, train, validation=validation, settings=settings):
        record(epoch)
        hits = (epoch.val_logits.argmax(1) == validation.labels).numpy()
        course.take(epoch, hits, lambda: copy.deepcopy(network.state_dict()))
        if course.ended:
            break
    return course.finished(head)


def refit(trial: Trial, examples: Examples, *, classes: int, epochs: int) -> HeadNetwork:
    """The network of `trial` after exactly `epochs` epochs on `examples`, from a fresh start."""
    settings = trial.settings.model_copy(update={"epochs": epochs})
    network = build_head(head_of(settings, examples.shape[0], classes), settings.seed)
    for _ in train_epochs(network, examples, settings):
        pass
    return network
