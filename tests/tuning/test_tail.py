"""Heads with a tail: trained as a plain loop over the whole network trains them."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.support.trials import run_trial
from veduta.config.settings import Settings
from veduta.networks.backbones import Backbone, build_backbone
from veduta.networks.freezing import Prefix, Tail, TailNetwork
from veduta.networks.heads import build_head, head_of
from veduta.runtime.streams import mix
from veduta.training.folds import Fold, divided, undivided
from veduta.training.loop import Epoch, batches, shuffled
from veduta.training.state import Examples
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.serial import Way, run_alone
from veduta.tuning.refit import refit_of
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.space import Trial, trial_of
from veduta.tuning.trials.store import read_finished, write_scores, write_weights

SIZE, CLASSES, CUT = 32, 3, 6


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["none", "pretrained"])
def backbone(request: pytest.FixtureRequest, cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", request.param, image_size=SIZE, cache=cache)


def images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise, brighter in the channel that is the label."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    pixels = generator.integers(0, 156, (count, SIZE, SIZE, 3))
    pixels[np.arange(count), :, :, labels] += 100
    return torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels)


def normalised(pixels: Tensor) -> Tensor:
    return (pixels.permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.5


def examples(
    backbone: Backbone, count: int, seed: int, dtype: torch.dtype = torch.float32
) -> Examples:
    pixels, labels = images(count, seed)
    keys = mix(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed))
    frozen = copy.deepcopy(Prefix(backbone, CUT).network).to(dtype)
    return Examples(frozen(normalised(pixels).to(dtype)), labels, keys)


def tail_of(backbone: Backbone) -> Tail:
    return Tail(backbone.model, backbone.network, CUT)


def trial(**values: object) -> Trial:
    return trial_of(Settings(**{"freeze": CUT, "batch_size": 8, "epochs": 2, **values}))


def plain_loop(
    backbone: Backbone, settings: Settings, pixels: Tensor, examples: Examples
) -> tuple[nn.Module, nn.Module]:
    """The whole network on pixels in every step, in float64: blocks 5 and on free and training."""
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    whole = build_backbone("efficientnet_lite0", "none", image_size=SIZE, cache=Path())
    whole.load_state_dict(state)
    network = whole.network.double()
    head = nn.Linear(1280, CLASSES).double()
    start = build_head(head_of(settings, 1280, CLASSES), settings.seed).dense[0]
    head.load_state_dict(start.state_dict())
    free = [network.blocks[5], network.blocks[6], network.conv_head, network.bn2]
    parameters = list(head.parameters())
    for module in free:
        module.requires_grad_(True)
        parameters += module.parameters()
    decayed = [p for p in parameters if p.dim() > 1]
    rest = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest}],
        settings.lr, momentum=settings.momentum,
    )  # fmt: skip
    for epoch in range(1, settings.epochs + 1):
        order = shuffled(examples, settings.seed, epoch)
        for part in batches(len(examples), settings.batch_size):
            for module in free:
                module.train()
            chosen = torch.from_numpy(order[part])
            x = normalised(pixels[chosen])
            optimizer.zero_grad()
            cross_entropy(head(network(x)), examples.labels[chosen]).backward()
            optimizer.step()
    return network.eval(), head


def test_two_epochs_are_those_of_a_plain_loop_over_the_whole_network(backbone: Backbone) -> None:
    tried = trial(optimizer="sgd", lr=0.02, weight_decay=1e-3)
    train = examples(backbone, 25, 1, torch.float64)
    validation = examples(backbone, 11, 2, torch.float64)
    tail = tail_of(backbone)
    again = refit_of(tried, train, way=Way(CLASSES, tail), epochs=2)
    list(again.run())
    network = again.training.measured
    reference, head = plain_loop(backbone, tried.settings, images(25, 1)[0], train)
    assert isinstance(network, TailNetwork)
    state, theirs = network.state_dict(), reference.state_dict()
    for name, tensor in network.tail.backbone_state().items():
        expected = theirs[name.removeprefix("network.")]
        torch.testing.assert_close(tensor, expected, atol=1e-9, rtol=1e-9)
        moved = not torch.equal(tensor.float(), backbone.state_dict()[name])
        assert moved or tensor.dim() < 2, name
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(state[f"dense.0.{name}"], tensor, atol=1e-9, rtol=1e-9)
    for name, tensor in backbone.network.state_dict().items():  # what is frozen did not move
        if not name.startswith(("blocks.5", "blocks.6", "conv_head", "bn2")):
            assert torch.equal(tensor.to(theirs[name].dtype), theirs[name])

    epochs: list[Epoch] = []
    folds = undivided(train, validation)
    end = run_trial(tried, folds, way=Way(CLASSES, tail), record=epochs.append)
    with torch.no_grad():
        logits = head(reference(normalised(images(11, 2)[0])))
    torch.testing.assert_close(epochs[1].val_logits, logits, atol=1e-9, rtol=1e-9)
    loss = cross_entropy(logits, validation.labels).item()
    assert epochs[1].val_loss == pytest.approx(loss, abs=1e-9)
    assert end.outcome.cost == network.trained * 2


def test_the_same_trial_gives_the_same_bits_and_its_best_epoch(backbone: Backbone) -> None:
    tried, tail = trial(lr=3e-3, epochs=4), tail_of(backbone)
    folds = undivided(examples(backbone, 25, 1), examples(backbone, 11, 2))
    epochs: list[Epoch] = []
    ends = [run_trial(tried, folds, way=Way(CLASSES, tail), record=epochs.append) for _ in range(2)]
    states = [end.network.state_dict() for end in ends]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    best = ends[0].outcome.best_epoch
    assert epochs[best - 1].val_accuracy == max(epoch.val_accuracy for epoch in epochs)
    network = ends[0].network.eval()
    with torch.inference_mode():
        again = network(folds[0].validation.features)
    torch.testing.assert_close(again, epochs[best - 1].val_logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(ends[0].val_logits, epochs[best - 1].val_logits)


def test_folds_are_trained_apart_and_pooled(backbone: Backbone) -> None:
    tried, tail = trial(epochs=1), tail_of(backbone)
    everyone = examples(backbone, 24, 1)
    folds = divided(everyone, np.arange(24) % 2)
    epochs: list[Epoch] = []
    end = run_trial(tried, folds, way=Way(CLASSES, tail), record=epochs.append)
    for number, fold in enumerate(folds):
        parts: list[Epoch] = []
        one = undivided(fold.train, fold.validation)
        run_trial(tried, one, way=Way(CLASSES, tail), record=parts.append)
        assert torch.equal(end.val_logits[number::2], parts[0].val_logits)


def test_a_trial_that_diverges_ends_as_failed(backbone: Backbone) -> None:
    folds: tuple[Fold] = undivided(examples(backbone, 16, 1), examples(backbone, 5, 2))
    tried = trial(optimizer="sgd", lr=1e30, epochs=5)
    came = list(run_alone((tried,), folds, way=Way(CLASSES, tail_of(backbone))))
    assert came[-1].epochs == []
    ((name, error),) = came[-1].ended
    assert name is tried
    assert isinstance(error, NotFiniteError)


def test_what_is_kept_of_it_comes_back_whole(backbone: Backbone, tmp_path: Path) -> None:
    folds = undivided(examples(backbone, 16, 1), examples(backbone, 5, 2))
    end = run_trial(trial(), folds, way=Way(CLASSES, tail_of(backbone)), record=lambda _: None)
    outcome = end.outcome
    write_scores(tmp_path / f"{outcome.trial}.npz", end)
    event = {name: getattr(outcome, name) for name in Outcome.FIGURES}
    event |= {"hits": int(outcome.hits.sum()), "images": 5}
    event["weights"] = write_weights(tmp_path, end)
    again = read_finished(tmp_path, outcome, event)
    assert again is not None
    maps = folds[0].validation.features
    with torch.inference_mode():
        assert torch.equal(again.network.eval()(maps), end.network.eval()(maps))
    strides = [
        [tensor.stride() for tensor in one.network.state_dict().values()] for one in (again, end)
    ]
    assert strides[0] == strides[1]
