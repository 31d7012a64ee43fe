"""Partly frozen backbones: wherever it is cut, both parts together are the whole network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.networks.backbones import Backbone, build_backbone, headless
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import MODELS, find_model, model_of
from veduta.networks.freezing import (
    Prefix,
    Stages,
    Tail,
    TailNetwork,
    artefact_states,
    freeze_faults,
)
from veduta.networks.heads import Head, build_head
from veduta.networks.state_dicts import State

CUT = {name: model for name, model in MODELS.items() if model.stages}
IN_STAGES = pytest.mark.parametrize("model", CUT.values(), ids=CUT)
SMALL = ("efficientnet_lite0", "mobilenet", "densenet121", "resnet50")
OWN = tuple(name for name, model in MODELS.items() if model.own)


def pixels(count: int, size: int, seed: int = 0) -> Tensor:
    numbers = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3))
    return torch.from_numpy(numbers.astype(np.uint8))


@pytest.fixture(scope="module")
def lite0(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=64, cache=cache)


@IN_STAGES
def test_every_layer_with_numbers_stands_in_one_stage(model: Model) -> None:
    network = headless(model)
    named = [name for stage in model.stages for name in stage]
    assert len(set(named)) == len(named)
    for name, _ in network.named_parameters():
        assert sum(name.startswith(f"{part}.") for part in named) == 1, name
    for stage in () if model.own else model.stages:  # whatever N is, something is left to train
        assert any(list(network.get_submodule(part).parameters()) for part in stage)


@IN_STAGES
def test_the_stages_one_after_the_other_are_the_whole_network(model: Model) -> None:
    """On random weights in place of ours, which take seconds to draw for hundreds of megabytes."""
    torch.manual_seed(0)
    network = headless(model).to_empty(device="cpu").eval().requires_grad_(False)
    for tensor in network.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.fill_(1)
    images = torch.randn(1, 3, max(32, model.smallest), max(32, model.smallest))
    expected = network(images)
    assert expected.std() > 0
    found = Stages(network, model.stages)(images)
    torch.testing.assert_close(found.flatten(1), expected)


@pytest.mark.parametrize("name", SMALL)
def test_prefix_and_tail_are_the_whole_network_wherever_it_is_cut(name: str, cache: Path) -> None:
    model = find_model(name)
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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(freeze=9), ("below the 9 stages of efficientnet_lite0", "give --freeze all")),
        (Settings(model="vgg16", freeze=5), ("below the 5 stages of vgg16",)),
        (Settings(model="nasnet_large", freeze=2), ("stages are not known", "got 2")),
        (Settings(model="cnn", freeze="all"), ("must be none for cnn", "got all", "--freeze none")),
        (Settings(model="mlp", freeze=1), ("must be none for mlp", "got 1")),
    ],
    ids=str,
)
def test_faults_name_the_cure(settings: Settings, words: tuple[str, ...]) -> None:
    (fault,) = freeze_faults(settings, model_of(settings))
    assert all(word in fault for word in words), fault


def test_whole_networks_may_be_trained_whatever_the_model() -> None:
    for model in MODELS.values():
        assert freeze_faults(Settings(model=model.name, freeze="none"), model) == []
    assert freeze_faults(Settings(freeze=8), find_model("efficientnet_lite0")) == []


@pytest.fixture(scope="module")
def whole(lite0: Backbone) -> TailNetwork:
    return TailNetwork(build_head(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 0))


def test_a_whole_network_takes_pixels_and_gives_what_its_backbone_gives(
    lite0: Backbone, whole: TailNetwork
) -> None:
    images = pixels(3, 64)
    torch.testing.assert_close(whole.eval().tail(images), lite0(images), atol=1e-5, rtol=1e-5)
    assert whole.trained == sum(p.numel() for p in whole.parameters() if p.requires_grad)
    state, _ = artefact_states(whole)
    assert state.keys() == lite0.state_dict().keys()


def test_a_network_without_known_stages_is_trained_whole_too(cache: Path) -> None:
    backbone = build_backbone("timm:resnet10t", "none", image_size=32, cache=cache)
    tail = Tail(backbone.model, backbone.network, 0)
    network = TailNetwork(build_head(Head(tail.features, 3), 0), tail)
    images = pixels(3, 32)
    torch.testing.assert_close(network.eval().tail(images), backbone(images))
    factors = [factor for factor, _ in network.groups(0.1)]
    assert factors == [0.1, 1.0]


@pytest.mark.parametrize("frozen", [0, 5])
def test_stages_learn_at_rates_between_the_scale_and_that_of_the_head(
    lite0: Backbone, frozen: int
) -> None:
    """n stages: 0.25^((n - i) / n), from 0.25 itself at the first; the head at 1."""
    network = TailNetwork(build_head(Head(1280, 3), 0), Tail(lite0.model, lite0.network, frozen))
    groups = network.groups(0.25)
    count = 9 - frozen
    expected = [0.25 ** ((count - place) / count) for place in range(count)] + [1.0]
    assert [factor for factor, _ in groups] == pytest.approx(expected)
    assert sorted(map(id, (p for _, part in groups for p in part))) == sorted(
        map(id, network.parameters())
    )
    first = {id(p) for p in groups[0][1]}
    names = [name for name, p in network.named_parameters() if id(p) in first]
    known = [name for name in artefact_states(network)[0] if "running" not in name]
    stage = tuple(f"network.{part}." for part in lite0.model.stages[frozen])
    assert len(names) == len([n for n in known if n.startswith(stage) and "num_" not in n])
    assert [factor for factor, _ in network.groups(1.0)] == [1.0]
    assert build_head(Head(5, 3), 0).groups(0.1)[0][0] == 1.0


def test_a_tail_that_rests_has_no_gradient_and_keeps_its_statistics(lite0: Backbone) -> None:
    network = TailNetwork(build_head(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 6))
    maps = Prefix(lite0, 6)(pixels(4, 64))
    network.open(False)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.tail.state_dict().items()}
    assert network.dense.training
    assert not any(module.training for module in network.tail.modules())
    network(maps).square().sum().backward()
    assert all(p.grad is None for p in network.tail.parameters())
    assert all(p.grad is not None for p in network.dense.parameters())
    after = network.tail.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())

    network.open()
    assert all(module.training for module in network.tail.modules())
    network(maps).square().sum().backward()
    assert all(p.grad is not None for p in network.tail.parameters())
    assert not torch.equal(after["network.parts.0.0.bn1.running_mean"], before_mean(before))


def before_mean(state: State) -> Tensor:
    return state["network.parts.0.0.bn1.running_mean"]


def test_evaluation_of_a_network_that_rests_or_not_is_the_same(whole: TailNetwork) -> None:
    images = pixels(2, 64)
    expected = whole.eval()(images)
    whole.open(False)
    assert torch.equal(whole.train().eval()(images), expected)
    whole.open()
    assert torch.equal(whole(images), expected)
