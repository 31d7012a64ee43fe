"""Every training technique has its effect and no other: one table, the same checks for all.

- Off equals absent: with its neutral value, a technique gives the bits of a plain torch loop that
  does not contain it.
- Effect: weights equal those worked out by hand, see `tests/support/techniques.py`; where a
  technique ends the training, it ends at the epoch at which it must.
- Saved and resumed: a training that is interrupted after any step and continued from its checkpoint
  equals one that was never interrupted, bit for bit.

A new technique gets all checks by one row of the table.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.support.techniques import (
    BASE,
    BATCH,
    CLASSES,
    EPOCHS,
    IMAGES,
    TECHNIQUES,
    EarlyStop,
    MixedLabels,
    Technique,
    TrainingByHand,
    Weights,
    build_network,
    create_examples,
    create_folds,
)
from tests.support.trials import assert_resumes_exactly, run_interruptible, run_trial
from veduta.config.settings import Settings
from veduta.optim.optimizers import OPTIMIZERS
from veduta.optim.schedules import SCHEDULES
from veduta.training.examples import Examples
from veduta.training.loop import Training, shuffle_examples
from veduta.tuning.executors.serial import TrainingContext
from veduta.tuning.trials.space import Trial, build_trial

CONTEXT = TrainingContext(CLASSES)
for_all_techniques = pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=TECHNIQUES)


def create_trial(technique: Technique, values: Mapping[str, Any]) -> Trial:
    return build_trial(Settings(**{**BASE, **technique.base, **values}))


def create_training_images(technique: Technique, *, on: bool) -> Examples:
    examples = create_examples(imbalanced=technique.imbalanced and on)
    if isinstance(technique.effect, TrainingByHand) and technique.effect.mixed < 1:
        fraction = technique.effect.mixed if on else 1.0
        return MixedLabels(examples.features, examples.labels, examples.keys, fraction=fraction)
    return examples


def train(settings: Settings, examples: Examples) -> Weights:
    """Return the weights that are evaluated after the last epoch."""
    training = Training(build_network(settings), examples, settings)
    for _ in range(EPOCHS):
        training.finish_epoch()
        training.start_next_epoch()
    network = training.evaluated_network
    return {name: parameter.detach().numpy() for name, parameter in network.named_parameters()}


def test_every_optimizer_and_schedule_has_a_row() -> None:
    assert {*OPTIMIZERS, *SCHEDULES} - {"sgd", "constant"} <= set(TECHNIQUES)


@for_all_techniques
def test_off_equals_absent(technique: Technique) -> None:
    trial = create_trial(technique, technique.off)
    examples = create_training_images(technique, on=False)
    end = run_trial(trial, create_folds(examples), context=CONTEXT, record=lambda _: None)
    assert end.outcome.epochs_trained == trial.settings.epochs

    features, labels = examples.features, examples.labels
    assert isinstance(features, torch.Tensor)
    plain = build_network(Settings(**{**BASE, **technique.base}))
    optimizer = torch.optim.SGD(plain.parameters(), trial.settings.lr)
    for epoch in range(1, end.outcome.best_epoch + 1):
        for rows in np.split(shuffle_examples(examples, 0, epoch), IMAGES // BATCH):
            optimizer.zero_grad()
            cross_entropy(plain(features[rows]), labels[rows]).backward()
            optimizer.step()
    state = end.network.state_dict()
    assert all(torch.equal(state[name], weights) for name, weights in plain.state_dict().items())


@for_all_techniques
def test_the_effect_is_that_by_hand(technique: Technique) -> None:
    trial = create_trial(technique, technique.on)
    examples = create_training_images(technique, on=True)
    if isinstance(technique.effect, EarlyStop):
        without = create_trial(technique, technique.off)
        all_epochs, _ = run_interruptible(without, create_folds(examples), CONTEXT)
        numbers = range(1, len(all_epochs) + 1)
        applies = [technique.effect.applies(all_epochs[:number]) for number in numbers]
        epochs, end = run_interruptible(trial, create_folds(examples), CONTEXT)
        assert 1 < len(epochs) == applies.index(True) + 1 < len(all_epochs)
        assert end is not None
        assert end.end_reason in technique.on
        return
    actual = train(trial.settings, examples)
    expected = technique.effect.train(trial.settings, examples)
    assert actual.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_allclose(actual[name], weights, rtol=1e-10, atol=1e-12, err_msg=name)
    if technique.on:
        off = create_trial(technique, technique.off)
        without_effect = train(off.settings, create_training_images(technique, on=False))
        difference = actual["dense.0.weight"] - without_effect["dense.0.weight"]
        assert np.abs(difference).max() > 1e-3


@for_all_techniques
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_saved_and_resumed_equals_never_interrupted(
    technique: Technique, steps: int, tmp_path: Path
) -> None:
    trial = create_trial(technique, technique.on)
    folds = create_folds(create_training_images(technique, on=True))
    assert_resumes_exactly(trial, folds, CONTEXT, after=steps, folder=tmp_path)
