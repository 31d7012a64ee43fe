"""Partly frozen backbones: wherever it is cut, both parts together are the whole network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.models.backbones import Backbone, build_backbone, headless
from veduta.models.freezing import Prefix, Tail, TailNetwork, artefact_states, freeze_faults
from veduta.models.heads import Head, build_head
from veduta.models.registry import MODELS, Model, find_model

EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def pixels(count: int, size: int, seed: int = 0) -> Tensor:
    numbers = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3))
    return torch.from_numpy(numbers.astype(np.uint8))


@pytest.fixture(scope="module")
def lite0(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=64, cache=cache)


@EVERY_MODEL
def test_every_layer_with_numbers_stands_in_one_stage(model: Model) -> None:
    network = headless(model)
    named = [name for stage in model.stages for name in stage]
    assert len(set(named)) == len(named)
    for name, _ in network.named_parameters():
        assert sum(name.startswith(f"{part}.") for part in named) == 1, name
    for stage in model.stages:  # so that whatever N is, there is something to train
        assert any(list(network.get_submodule(part).parameters()) for part in stage)


@EVERY_MODEL
def test_prefix_and_tail_are_the_whole_network_wherever_it_is_cut(
    model: Model, cache: Path
) -> None:
    whole = build_backbone(model.name, "none", image_size=32, cache=cache)
    images = pixels(2, 32)
    expected = whole(images)
    for stages in range(1, len(model.stages)):
        prefix, tail = Prefix(whole, stages), Tail(whole.model, whole.network, stages)
        maps = prefix(images)
        assert maps.shape == (2, *prefix.shape)
        assert maps.ndim == 4
        assert tail.features == expected.shape[1]
        torch.testing.assert_close(tail(maps), expected, atol=1e-6, rtol=1e-5)


def test_with_the_published_weights_too(lite0: Backbone) -> None:
    images = pixels(3, 64)
    expected = lite0(images)
    assert expected.std() > 0.1
    for stages in range(1, 9):
        maps = Prefix(lite0, stages)(images)
        torch.testing.assert_close(
            Tail(lite0.model, lite0.network, stages)(maps), expected, atol=1e-5, rtol=1e-5
        )


def test_vgg16_is_cut_behind_its_pooling_layers() -> None:
    network, model = headless(find_model("vgg16")), find_model("vgg16")
    for stage in model.stages:
        assert isinstance(network.get_submodule(stage[0]), nn.Conv2d)
    for stage in model.stages[:-1]:
        assert isinstance(network.get_submodule(stage[-1]), nn.MaxPool2d)


def test_a_prefix_says_where_it_ends_and_has_the_digest_of_its_own_weights(
    lite0: Backbone,
) -> None:
    five, six = Prefix(lite0, 5), Prefix(lite0, 6)
    assert five.cut == "after 5 of 9 stages"
    assert five.shape == (80, 4, 4)
    assert len({five.weights_sha256, six.weights_sha256, lite0.weights_sha256}) == 3
    assert five.weights_source == lite0.weights_source


def test_training_a_network_leaves_the_backbone_and_other_networks_as_they_were(
    lite0: Backbone,
) -> None:
    before = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    tail = Tail(lite0.model, lite0.network, 6)
    head = Head(1280, 3)
    one, other = (TailNetwork(build_head(head, 0), tail) for _ in range(2))
    start = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    maps = Prefix(lite0, 6)(pixels(4, 64))
    optimizer = torch.optim.SGD(one.parameters(), 0.1)
    one.train()
    one(maps).square().sum().backward()
    optimizer.step()
    moved = one.tail.backbone_state()
    assert all(
        not torch.equal(tensor, before[name])
        for name, tensor in moved.items()
        if name.endswith(("weight", "running_mean"))
    )
    for name, tensor in lite0.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, start[name]), name
    assert not any(module.training for module in lite0.modules())


def test_every_weight_behind_the_cut_trains_and_counts(lite0: Backbone) -> None:
    network = TailNetwork(build_head(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 8))
    # conv_head 320 x 1280, bn2 2 x 1280, head 1280 x 3 + 3
    assert network.trained == 320 * 1280 + 2 * 1280 + 1280 * 3 + 3
    free = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert free == network.trained
    assert build_head(Head(1280, 3), 0).trained == 1280 * 3 + 3


def test_an_artefact_gets_the_names_of_the_whole_backbone(lite0: Backbone) -> None:
    network = TailNetwork(build_head(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 4))
    trained, head = artefact_states(network)
    assert set(trained) < set(lite0.state_dict())
    assert {name.split(".")[2] for name in trained if ".blocks." in name} == {"3", "4", "5", "6"}
    assert list(head) == ["dense.0.weight", "dense.0.bias"]
    for name, tensor in trained.items():
        assert torch.equal(tensor, lite0.state_dict()[name]), name
    assert artefact_states(build_head(Head(5, 3), 0))[0] == {}


def test_faults_name_the_cure() -> None:
    assert freeze_faults(Settings(freeze=8)) == []
    (fault,) = freeze_faults(Settings(freeze=9))
    assert "below the 9 stages of efficientnet_lite0" in fault
    assert "give --freeze all" in fault
    (fault,) = freeze_faults(Settings(model="vgg16", weights="none", freeze=5))
    assert "below the 5 stages of vgg16" in fault
