"""The loss of a batch against NumPy written out, scikit-learn, and torch where it has the same."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings
from veduta.training.loss import Batch, Technique, balanced_weights, batch_loss, technique_of

CLASSES = 4
LABELS = np.array([0, 2, 1, 1, 3, 2])
PARTNERS = np.array([1, 2, 0, 3, 3, 0])
SHARES = np.array([1.0, 0.3, 0.5, 0.9, 0.0, 0.75])
WEIGHTS = np.array([0.5, 2.0, 1.0, 4.0])
LOGITS = np.random.default_rng(0).normal(0, 2, (6, CLASSES))


def by_hand(weights: np.ndarray, smoothing: float, shares: np.ndarray) -> float:
    """Targets written out, class by class."""
    total = counted = 0.0
    for z, y, p, s in zip(LOGITS, LABELS, PARTNERS, shares, strict=True):
        surprise = np.log(np.exp(z).sum()) - z
        target = np.full(CLASSES, smoothing / CLASSES)
        target[y] += (1 - smoothing) * s
        target[p] += (1 - smoothing) * (1 - s)
        total += (target * weights * surprise).sum()
        counted += s * weights[y] + (1 - s) * weights[p]
    return float(total / counted)


@pytest.mark.parametrize(
    ("weighted", "smoothing", "mixed"), list(product([False, True], [0.0, 0.2], [False, True]))
)
def test_it_is_the_definition_written_out(weighted: bool, smoothing: float, mixed: bool) -> None:
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    batch = Batch(logits, labels)
    if mixed:
        batch = Batch(logits, labels, torch.tensor(PARTNERS), torch.tensor(SHARES))
    technique = Technique(smoothing, torch.tensor(WEIGHTS) if weighted else None)
    weights = WEIGHTS if weighted else np.ones(CLASSES)
    expected = by_hand(weights, smoothing, SHARES if mixed else np.ones(6))
    assert batch_loss(logits, batch, technique).item() == pytest.approx(expected, abs=1e-12)


def test_unmixed_it_is_torchs_to_the_bit() -> None:
    logits, labels = torch.tensor(LOGITS).float(), torch.tensor(LABELS)
    weights = torch.tensor(WEIGHTS)
    mine = batch_loss(logits, Batch(logits, labels), Technique(0.1, weights))
    assert torch.equal(mine, cross_entropy(logits, labels, weights.float(), label_smoothing=0.1))


def test_mixed_without_weights_it_is_torchs_with_the_mixed_target() -> None:
    logits, labels, partners = (torch.tensor(a) for a in (LOGITS, LABELS, PARTNERS))
    shares = torch.tensor(SHARES)
    one_hot = torch.nn.functional.one_hot
    target = shares[:, None] * one_hot(labels, 4) + (1 - shares)[:, None] * one_hot(partners, 4)
    mine = batch_loss(logits, Batch(logits, labels, partners, shares), Technique(0.1))
    assert torch.allclose(mine, cross_entropy(logits, target, label_smoothing=0.1), atol=1e-14)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.repeat([0, 1, 2], [20, 3, 7])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(torch.tensor(labels), 3).numpy() == pytest.approx(expected, rel=1e-15)
    with_none = balanced_weights(torch.tensor(labels), 4).numpy()
    assert with_none == pytest.approx([*expected, 0.0])  # a class without images


def test_balanced_classes_pull_with_the_same_force() -> None:
    """Nine images of one class against one of the other: as from one image each."""
    labels = torch.tensor([0] * 9 + [1])
    logits = torch.zeros(10, 2, dtype=torch.float64, requires_grad=True)
    batch_loss(
        logits, Batch(logits, labels), Technique(0.0, balanced_weights(labels, 2))
    ).backward()
    assert logits.grad is not None
    assert logits.grad[:9].sum(0).tolist() == pytest.approx((-logits.grad[9]).tolist())


def test_the_technique_is_what_the_settings_ask_for() -> None:
    labels = torch.tensor([0, 0, 1])
    plain = technique_of(Settings(), labels, classes=2)
    assert plain == Technique()
    settings = Settings(label_smoothing=0.1, clip=2.0, class_weights="balanced")
    found = technique_of(settings, labels, classes=2, autocast=torch.bfloat16)
    assert (found.label_smoothing, found.clip, found.autocast) == (0.1, 2.0, torch.bfloat16)
    assert found.class_weights is not None
    assert found.class_weights.tolist() == [0.75, 1.5]
