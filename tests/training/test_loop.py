"""The loop: batches, order and updates against a plain loop written out; stopping; failure."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from veduta.config.settings import Settings
from veduta.models.heads import Head, build_head
from veduta.runtime.streams import mix
from veduta.training.loop import batches, fit, shuffled, train_epochs
from veduta.training.state import Examples, canonical_order, concatenated
from veduta.training.step import NotFiniteError, dropout_noise
from veduta.training.stopping import Patience


def examples(count: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    features = torch.randn(count, 5, generator=generator) + labels[:, None]
    return Examples(features, labels, mix(np.arange(count, dtype=np.uint64) + np.uint64(seed)))


@given(st.integers(2, 200), st.integers(2, 50))
def test_batches_cover_everything_once_and_none_has_one_image(count: int, size: int) -> None:
    parts = batches(count, size)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert min(part.stop - part.start for part in parts) >= 2
    assert max(part.stop - part.start for part in parts) <= size + 1


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("hidden", [(), (7,)])
def test_it_equals_a_plain_loop_written_out(dropout: float, hidden: tuple[int, ...]) -> None:
    train, validation = examples(50), examples(20, 1)
    settings = Settings(epochs=3, batch_size=7, lr=0.01, optimizer="sgd", momentum=0.9, seed=4)
    settings = settings.model_copy(update={"dropout": dropout})
    head = Head(5, 3, hidden=hidden, dropout=dropout)
    network = build_head(head, 4)
    found = list(fit(network, train, validation=validation, settings=settings))

    plain = build_head(head, 4)
    optimizer = torch.optim.SGD(plain.parameters(), 0.01, momentum=0.9)
    for epoch in (1, 2, 3):
        order = shuffled(train, 4, epoch)
        for rows in (order[0:7], order[7:14], order[14:21], order[21:28], order[28:35],
                     order[35:42], order[42:50]):  # fmt: skip
            noise = dropout_noise(4, epoch, train.keys[rows])
            loss = cross_entropy(plain(train.features[rows], noise), train.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)

    logits = plain(validation.features)
    assert found[-1].val_loss == pytest.approx(cross_entropy(logits, validation.labels).item())
    right = (logits.argmax(1) == validation.labels).sum().item()
    assert found[-1].val_accuracy == pytest.approx(right / 20)
    assert [epoch.number for epoch in found] == [1, 2, 3]


def test_every_epoch_has_an_order_of_its_own() -> None:
    train = examples(50)
    orders = [tuple(shuffled(train, 0, epoch)) for epoch in range(1, 6)]
    assert len(set(orders)) == 5
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_training_does_not_depend_on_the_order_of_files() -> None:
    train, settings = examples(40), Settings(epochs=2, batch_size=8)
    digests = [f"{key:016x}" for key in train.keys]
    weights = []
    for places in (np.arange(40), np.random.default_rng(0).permutation(40)):
        order = places[
            canonical_order([digests[i] for i in places], [int(train.labels[i]) for i in places])
        ]
        moved = Examples(train.features[order], train.labels[order], train.keys[order])
        network = build_head(Head(5, 3), 0)
        list(train_epochs(network, moved, settings))
        weights.append(network.dense[0].weight)
    assert torch.equal(*weights)


def test_a_loss_that_is_not_finite_ends_the_trial() -> None:
    broken = examples(20)
    broken.features[3, 2] = float("inf")
    with pytest.raises(NotFiniteError, match="learning rate"):
        list(train_epochs(build_head(Head(5, 3), 0), broken, Settings(epochs=1)))


def test_patience_counts_epochs_without_a_better_loss() -> None:
    patience = Patience(3)
    losses = [1.0, 0.9, 0.95, 0.9, 0.91]
    assert [patience.exhausted(loss) for loss in losses] == [False, False, False, False, True]
    endless = Patience(None)
    assert not any(endless.exhausted(1.0) for _ in range(50))


def test_concatenated_keeps_rows_together() -> None:
    both = concatenated(examples(3), examples(2, 1))
    assert len(both) == 5
    assert torch.equal(both.features[3:], examples(2, 1).features)
    assert (both.keys[3:] == examples(2, 1).keys).all()
