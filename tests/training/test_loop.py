"""The training loop: batches, order and updates against a plain loop; failure."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.data.row_store import RowStore
from veduta.data.sample import compute_canonical_order
from veduta.networks.heads import HeadNetwork, build_head_network
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.loop import Training, fit, shuffle_examples, split_into_batches
from veduta.training.step import NotFiniteError, create_dropout_noise


def create_examples(count: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    features = torch.randn(count, 5, generator=generator) + labels[:, None]
    return Examples(features, labels, mix_bits(np.arange(count, dtype=np.uint64) + np.uint64(seed)))


def train_epochs(network: HeadNetwork, train: Examples, settings: Settings) -> list[float]:
    """Train all epochs without evaluation; return the learning rate at the end of each."""
    training, final_rates = Training(network, train, settings), []
    for _ in range(settings.epochs):
        final_rates.append(training.finish_epoch())
        training.start_next_epoch()
    return final_rates


@given(st.integers(2, 200), st.integers(2, 50))
def test_batches_cover_every_image_once_and_have_at_least_two_images(count: int, size: int) -> None:
    parts = split_into_batches(count, size)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert min(part.stop - part.start for part in parts) >= 2
    assert max(part.stop - part.start for part in parts) <= size + 1


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("hidden", [(), (7,)])
def test_training_equals_a_plain_loop(dropout: float, hidden: tuple[int, ...]) -> None:
    train, validation = create_examples(50), create_examples(20, 1)
    settings = Settings(epochs=3, batch_size=7, lr=0.01, optimizer="sgd", momentum=0.9, seed=4)
    settings = settings.model_copy(update={"dropout": dropout})
    head = Head(5, 3, hidden=hidden, dropout=dropout)
    network = build_head_network(head, 4)
    epochs = list(fit(Training(network, train, settings), validation))

    plain = build_head_network(head, 4)
    optimizer = torch.optim.SGD(plain.parameters(), 0.01, momentum=0.9)
    for epoch in (1, 2, 3):
        order = shuffle_examples(train, 4, epoch)
        for rows in (order[0:7], order[7:14], order[14:21], order[21:28], order[28:35],
                     order[35:42], order[42:50]):  # fmt: skip
            noise = create_dropout_noise(4, epoch, train.keys[rows])
            loss = cross_entropy(plain(train.features[rows], noise), train.labels[rows])  # type: ignore[index]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for trained, expected in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(trained, expected)

    logits = plain(validation.features)
    assert epochs[-1].val_loss == pytest.approx(cross_entropy(logits, validation.labels).item())
    correct = (logits.argmax(1) == validation.labels).sum().item()
    assert epochs[-1].val_accuracy == pytest.approx(correct / 20)
    assert [epoch.number for epoch in epochs] == [1, 2, 3]


def test_every_epoch_has_a_different_order() -> None:
    train = create_examples(50)
    orders = [tuple(shuffle_examples(train, 0, epoch)) for epoch in range(1, 6)]
    assert len(set(orders)) == 5
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_training_does_not_depend_on_the_order_of_files() -> None:
    train, settings = create_examples(40), Settings(epochs=2, batch_size=8)
    digests = [f"{key:016x}" for key in train.keys]
    weights = []
    for files in (np.arange(40), np.random.default_rng(0).permutation(40)):
        order = files[
            compute_canonical_order(
                [digests[i] for i in files], [int(train.labels[i]) for i in files]
            )
        ]
        sorted_examples = Examples(train.features[order], train.labels[order], train.keys[order])  # type: ignore[index]
        network = build_head_network(Head(5, 3), 0)
        train_epochs(network, sorted_examples, settings)
        weights.append(network.dense[0].weight)
    assert torch.equal(*weights)  # type: ignore[arg-type]


def test_a_non_finite_loss_fails_the_trial() -> None:
    broken = create_examples(20)
    broken.features[3, 2] = float("inf")  # type: ignore[index]
    with pytest.raises(NotFiniteError, match="learning rate"):
        train_epochs(build_head_network(Head(5, 3), 0), broken, Settings(epochs=1))


def test_an_epoch_trains_on_its_view_and_is_evaluated_on_plain_images() -> None:
    plain, indices = create_examples(6), np.array([4, 1])
    views = tuple(plain.features + 10 * number for number in (1, 2, 3))
    train = Examples(plain.features, plain.labels, plain.keys, views)  # type: ignore[arg-type]
    for epoch, view in ((1, 1), (2, 2), (3, 0), (4, 1)):
        batch = train.get_batch_source(epoch)(indices)
        assert torch.equal(batch.features, views[view][[4, 1]])  # type: ignore[index]
        assert torch.equal(batch.labels, plain.labels[[4, 1]])
    assert torch.equal(torch.cat(list(train.iterate_parts(4))), plain.features)  # type: ignore[arg-type]


def test_training_from_rows_on_disk_equals_training_from_tensors(tmp_path: Path) -> None:
    memory, settings = create_examples(40), Settings(epochs=2, batch_size=8)
    keys = [f"{number:04}" for number in range(40)]
    store = RowStore(tmp_path, "features", {}, shape=(5,), dtype="float32")
    for part in (keys[25:], keys[:25]):  # two shards
        with store.fill(part) as block:
            block.rows[:] = memory.features.numpy()[[int(key) for key in part]]  # type: ignore[union-attr]
    disk = Examples(store.load_rows(keys), memory.labels, memory.keys)
    assert disk.shape == memory.shape
    assert disk.dtype == memory.dtype
    weights = []
    for train in (memory, disk):
        network = build_head_network(Head(5, 3), 0)
        weights.append([*fit(Training(network, train, settings), train)][-1].val_logits)
    assert torch.equal(*weights)


def test_penalties_smoothing_and_schedule_equal_a_plain_loop_with_torch_schedules() -> None:
    train = create_examples(50)
    settings = Settings(
        epochs=3, batch_size=10, lr=0.02, optimizer="sgd", momentum=0.9, weight_decay=0.01,
        l1=0.003, label_smoothing=0.2, schedule="one_cycle",
    )  # fmt: skip
    network = build_head_network(Head(5, 3), 4).double()
    train = Examples(train.features.double(), train.labels, train.keys)  # type: ignore[union-attr]
    final_rates = train_epochs(network, train, settings)

    plain = build_head_network(Head(5, 3), 4).double()
    (layer,) = plain.dense
    groups = [{"params": [layer.weight], "weight_decay": 0.01}, {"params": [layer.bias]}]
    optimizer = torch.optim.SGD(groups, 0.02, momentum=0.9)  # type: ignore[arg-type]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.02, total_steps=15, cycle_momentum=False
    )
    rates = []
    for epoch in (1, 2, 3):
        for rows in np.split(shuffle_examples(train, 0, epoch), 5):
            target = torch.nn.functional.one_hot(train.labels[rows], 3).double() * 0.8 + 0.2 / 3
            loss = cross_entropy(plain(train.features[rows]), target)  # type: ignore[index]
            optimizer.zero_grad()
            (loss + 0.003 * layer.weight.abs().sum()).backward()
            optimizer.step()
            rates.append(optimizer.param_groups[0]["lr"])
            if len(rates) < 15:
                schedule.step()
    for trained, expected in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(trained, expected, rtol=1e-10, atol=1e-12)
    assert final_rates == pytest.approx(rates[4::5])


def test_evaluation_uses_plain_cross_entropy() -> None:
    train = create_examples(50)
    settings = Settings(epochs=1, batch_size=10, l1=0.1, weight_decay=0.1, label_smoothing=0.3)
    network = build_head_network(Head(5, 3), 4)
    (epoch,) = fit(Training(network, train, settings), train)
    expected = cross_entropy(network(train.features), train.labels).item()
    assert epoch.val_loss == epoch.train_loss == pytest.approx(expected)
