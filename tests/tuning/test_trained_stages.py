"""Heads with trained backbone stages, against a plain loop over the whole network."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.support.trials import run_trial
from veduta.config.settings import Settings
from veduta.networks.backbones import Backbone, build_backbone
from veduta.networks.freezing import Prefix, Tail, TailNetwork
from veduta.networks.heads import build_head_network, describe_head
from veduta.runs.events import TrialFinished
from veduta.runs.scores import save_validation_scores
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.folds import create_single_fold, split_into_folds
from veduta.training.loop import Epoch, shuffle_examples, split_into_batches
from veduta.training.step import NotFiniteError
from veduta.tuning.executors.serial import TrainingContext, run_serial
from veduta.tuning.refit import create_refit
from veduta.tuning.trials.space import Trial, build_trial
from veduta.tuning.trials.store import load_finished_trial, save_weights

SIZE, CLASSES, FROZEN_STAGES = 32, 3, 6


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", params=["none", "pretrained"])
def backbone(request: pytest.FixtureRequest, cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", request.param, image_size=SIZE, cache=cache)


def create_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return noise, brighter in the channel that is the label, and the labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    pixels = generator.integers(0, 156, (count, SIZE, SIZE, 3))
    pixels[np.arange(count), :, :, labels] += 100
    return torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels)


def normalize(pixels: Tensor) -> Tensor:
    return (pixels.permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.5


def create_examples(
    backbone: Backbone, count: int, seed: int, dtype: torch.dtype = torch.float32
) -> Examples:
    """Return the outputs of the frozen stages."""
    pixels, labels = create_images(count, seed)
    keys = mix_bits(np.arange(count, dtype=np.uint64) + np.uint64(1000 * seed))
    frozen = copy.deepcopy(Prefix(backbone, FROZEN_STAGES).network).to(dtype)
    return Examples(frozen(normalize(pixels).to(dtype)), labels, keys)


def create_context(backbone: Backbone) -> TrainingContext:
    return TrainingContext(CLASSES, Tail(backbone.model, backbone.network, FROZEN_STAGES))


def create_trial(**values: object) -> Trial:
    settings = {"freeze": FROZEN_STAGES, "batch_size": 8, "epochs": 2, **values}
    return build_trial(Settings(**settings))


def train_by_loop(
    backbone: Backbone, settings: Settings, pixels: Tensor, examples: Examples
) -> tuple[nn.Module, nn.Module]:
    """Train blocks 5 and 6 and what follows in float64, with the whole network in every step."""
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    whole = build_backbone("efficientnet_lite0", "none", image_size=SIZE, cache=Path())
    whole.load_state_dict(state)
    network: Any = whole.network.double()
    head = nn.Linear(1280, CLASSES).double()
    initial = build_head_network(describe_head(settings, 1280, CLASSES), settings.seed)
    head.load_state_dict(initial.dense[0].state_dict())
    trained = [network.blocks[5], network.blocks[6], network.conv_head, network.bn2]
    parameters: list[nn.Parameter] = list(head.parameters())
    for module in trained:
        module.requires_grad_(True)
        parameters += module.parameters()
    penalized = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.SGD(
        [{"params": penalized, "weight_decay": settings.weight_decay}, {"params": others}],  # type: ignore[arg-type]
        settings.lr, momentum=settings.momentum,
    )  # fmt: skip
    for epoch in range(1, settings.epochs + 1):
        order = shuffle_examples(examples, settings.seed, epoch)
        for batch in split_into_batches(len(examples), settings.batch_size):
            for module in trained:
                module.train()
            chosen = torch.from_numpy(order[batch])
            optimizer.zero_grad()
            logits = head(network(normalize(pixels[chosen])))
            cross_entropy(logits, examples.labels[chosen]).backward()
            optimizer.step()
    return whole.network.eval(), head


def test_two_epochs_are_those_of_a_plain_loop_over_the_whole_network(backbone: Backbone) -> None:
    trial = create_trial(optimizer="sgd", lr=0.02, weight_decay=1e-3)
    train = create_examples(backbone, 25, 1, torch.float64)
    validation = create_examples(backbone, 11, 2, torch.float64)
    refit = create_refit(trial, train, context=create_context(backbone), epochs=2)
    list(refit.run())
    network = refit.training.evaluated_network
    reference, head = train_by_loop(backbone, trial.settings, create_images(25, 1)[0], train)
    assert isinstance(network, TailNetwork)
    state, expected = network.state_dict(), reference.state_dict()
    for name, tensor in network.tail.backbone_state().items():
        short_name = name.removeprefix("network.")
        torch.testing.assert_close(tensor, expected[short_name], atol=1e-9, rtol=1e-9)
        moved = not torch.equal(tensor.float(), backbone.state_dict()[name])
        assert moved or tensor.dim() < 2, name
    for name, tensor in head.state_dict().items():
        torch.testing.assert_close(state[f"dense.0.{name}"], tensor, atol=1e-9, rtol=1e-9)
    for name, tensor in backbone.network.state_dict().items():  # frozen stages are unchanged
        if not name.startswith(("blocks.5", "blocks.6", "conv_head", "bn2")):
            assert torch.equal(tensor.to(expected[name].dtype), expected[name])

    epochs: list[Epoch] = []
    folds = create_single_fold(train, validation)
    end = run_trial(trial, folds, context=create_context(backbone), record=epochs.append)
    with torch.no_grad():
        logits = head(reference(normalize(create_images(11, 2)[0])))
    torch.testing.assert_close(epochs[1].val_logits, logits, atol=1e-9, rtol=1e-9)
    loss = cross_entropy(logits, validation.labels).item()
    assert epochs[1].val_loss == pytest.approx(loss, abs=1e-9)
    assert end.outcome.cost == network.trained_parameters * 2


def test_a_trial_gives_the_same_bits_twice_and_keeps_its_best_epoch(backbone: Backbone) -> None:
    trial, context = create_trial(lr=3e-3, epochs=4), create_context(backbone)
    folds = create_single_fold(create_examples(backbone, 25, 1), create_examples(backbone, 11, 2))
    epochs: list[Epoch] = []
    ends = [run_trial(trial, folds, context=context, record=epochs.append) for _ in range(2)]
    states = [end.network.state_dict() for end in ends]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    best = ends[0].outcome.best_epoch
    assert epochs[best - 1].val_accuracy == max(epoch.val_accuracy for epoch in epochs)
    network = ends[0].network.eval()
    with torch.inference_mode():
        logits = network(folds[0].validation.features)
    torch.testing.assert_close(logits, epochs[best - 1].val_logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(ends[0].val_logits, epochs[best - 1].val_logits)


def test_folds_are_trained_independently_and_pooled(backbone: Backbone) -> None:
    trial, context = create_trial(epochs=1), create_context(backbone)
    folds = split_into_folds(create_examples(backbone, 24, 1), np.arange(24) % 2)
    end = run_trial(trial, folds, context=context, record=lambda _: None)
    for number, fold in enumerate(folds):
        epochs: list[Epoch] = []
        single = create_single_fold(fold.train, fold.validation)
        run_trial(trial, single, context=context, record=epochs.append)
        assert torch.equal(end.val_logits[number::2], epochs[0].val_logits)


def test_a_trial_that_diverges_fails(backbone: Backbone) -> None:
    folds = create_single_fold(create_examples(backbone, 16, 1), create_examples(backbone, 5, 2))
    trial = create_trial(optimizer="sgd", lr=1e30, epochs=5)
    results = list(run_serial((trial,), folds, context=create_context(backbone)))
    assert results[-1].epochs == []
    ((failed, error),) = results[-1].ended
    assert failed is trial
    assert isinstance(error, NotFiniteError)


def test_a_finished_trial_is_loaded_as_it_was_saved(backbone: Backbone, tmp_path: Path) -> None:
    folds = create_single_fold(create_examples(backbone, 16, 1), create_examples(backbone, 5, 2))
    context = create_context(backbone)
    end = run_trial(create_trial(), folds, context=context, record=lambda _: None)
    outcome = end.outcome
    save_validation_scores(tmp_path / f"{outcome.trial}.npz", end.validation_scores)
    event = TrialFinished(
        trial=outcome.trial,
        end_reason=end.end_reason,
        epochs_trained=outcome.epochs_trained,
        best_epoch=outcome.best_epoch,
        train_loss=outcome.train_loss,
        train_accuracy=outcome.train_accuracy,
        val_loss=outcome.val_loss,
        val_accuracy=outcome.val_accuracy,
        seconds=outcome.seconds,
        cost=outcome.cost,
        val_correct=int(outcome.correct.sum()),
        val_images=5,
        weights_sha256=save_weights(tmp_path, end),
        time=0.0,
    )
    loaded = load_finished_trial(tmp_path, outcome, event)
    assert loaded is not None
    maps = folds[0].validation.features
    with torch.inference_mode():
        assert torch.equal(loaded.network.eval()(maps), end.network.eval()(maps))
    states = loaded.network.state_dict(), end.network.state_dict()
    assert [t.stride() for t in states[0].values()] == [t.stride() for t in states[1].values()]
    changed = event.model_copy(update={"weights_sha256": "0" * 64})
    assert load_finished_trial(tmp_path, outcome, changed) is None
