"""The loss of a batch against plain NumPy, scikit-learn and torch."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings
from veduta.training.loss import (
    Batch,
    StepOptions,
    build_step_options,
    compute_balanced_weights,
    compute_batch_loss,
)

CLASSES = 4
LABELS = np.array([0, 2, 1, 1, 3, 2])
PARTNERS = np.array([1, 2, 0, 3, 3, 0])
FRACTIONS = np.array([1.0, 0.3, 0.5, 0.9, 0.0, 0.75])
WEIGHTS = np.array([0.5, 2.0, 1.0, 4.0])
LOGITS = np.random.default_rng(0).normal(0, 2, (6, CLASSES))


def compute_by_hand(weights: np.ndarray, smoothing: float, fractions: np.ndarray) -> float:
    """Compute the loss from explicit targets, class by class."""
    total = total_weight = 0.0
    for z, y, p, s in zip(LOGITS, LABELS, PARTNERS, fractions, strict=True):
        cross_entropies = np.log(np.exp(z).sum()) - z
        target = np.full(CLASSES, smoothing / CLASSES)
        target[y] += (1 - smoothing) * s
        target[p] += (1 - smoothing) * (1 - s)
        total += (target * weights * cross_entropies).sum()
        total_weight += s * weights[y] + (1 - s) * weights[p]
    return float(total / total_weight)


@pytest.mark.parametrize(
    ("weighted", "smoothing", "mixed"), list(product([False, True], [0.0, 0.2], [False, True]))
)
def test_the_loss_equals_its_definition(weighted: bool, smoothing: float, mixed: bool) -> None:
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    batch = Batch(logits, labels)
    if mixed:
        batch = Batch(logits, labels, torch.tensor(PARTNERS), torch.tensor(FRACTIONS))
    options = StepOptions(smoothing, torch.tensor(WEIGHTS) if weighted else None)
    weights = WEIGHTS if weighted else np.ones(CLASSES)
    expected = compute_by_hand(weights, smoothing, FRACTIONS if mixed else np.ones(6))
    assert compute_batch_loss(logits, batch, options).item() == pytest.approx(expected, abs=1e-12)


def test_the_loss_without_mixing_is_exactly_that_of_torch() -> None:
    logits, labels = torch.tensor(LOGITS).float(), torch.tensor(LABELS)
    weights = torch.tensor(WEIGHTS)
    loss = compute_batch_loss(logits, Batch(logits, labels), StepOptions(0.1, weights))
    assert torch.equal(loss, cross_entropy(logits, labels, weights.float(), label_smoothing=0.1))


def test_the_loss_of_mixed_images_equals_that_of_torch_for_mixed_targets() -> None:
    logits, labels, partners = (torch.tensor(a) for a in (LOGITS, LABELS, PARTNERS))
    fractions = torch.tensor(FRACTIONS)
    one_hot = torch.nn.functional.one_hot
    target = fractions[:, None] * one_hot(labels, 4) + (1 - fractions)[:, None] * one_hot(
        partners, 4
    )
    loss = compute_batch_loss(logits, Batch(logits, labels, partners, fractions), StepOptions(0.1))
    assert torch.allclose(loss, cross_entropy(logits, target, label_smoothing=0.1), atol=1e-14)


def test_balanced_weights_equal_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [20, 3, 7])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert compute_balanced_weights(torch.tensor(labels), 3).numpy() == pytest.approx(
        expected, rel=1e-15
    )
    with_empty_class = compute_balanced_weights(torch.tensor(labels), 4).numpy()
    assert with_empty_class == pytest.approx([*expected, 0.0])


def test_balanced_classes_have_opposite_gradients_of_equal_size() -> None:
    """Nine images of one class have the same total gradient as one image of the other class."""
    labels = torch.tensor([0] * 9 + [1])
    logits = torch.zeros(10, 2, dtype=torch.float64, requires_grad=True)
    compute_batch_loss(
        logits, Batch(logits, labels), StepOptions(0.0, compute_balanced_weights(labels, 2))
    ).backward()
    assert logits.grad is not None
    assert logits.grad[:9].sum(0).tolist() == pytest.approx((-logits.grad[9]).tolist())


def test_step_options_follow_from_the_settings() -> None:
    labels = torch.tensor([0, 0, 1])
    assert build_step_options(Settings(), labels, classes=2) == StepOptions()
    settings = Settings(label_smoothing=0.1, clip=2.0, class_weights="balanced")
    options = build_step_options(settings, labels, classes=2, autocast=torch.bfloat16)
    assert (options.label_smoothing, options.clip, options.autocast) == (0.1, 2.0, torch.bfloat16)
    assert options.class_weights is not None
    assert options.class_weights.tolist() == [0.75, 1.5]
