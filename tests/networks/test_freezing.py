"""Partly frozen backbones: prefix and tail together equal the whole network at every split."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from veduta.config.network_specs import Head
from veduta.config.settings import Settings
from veduta.networks.backbones import Backbone, build_backbone, build_headless_network
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import MODELS, find_model, resolve_model
from veduta.networks.freezing import (
    Prefix,
    Stages,
    Tail,
    TailNetwork,
    find_freeze_errors,
    split_trained_state,
)
from veduta.networks.heads import build_head_network

MODELS_WITH_STAGES = {name: model for name, model in MODELS.items() if model.stages}
EVERY_MODEL_WITH_STAGES = pytest.mark.parametrize(
    "model", MODELS_WITH_STAGES.values(), ids=MODELS_WITH_STAGES
)
SMALL = ("efficientnet_lite0", "mobilenet", "densenet121", "resnet50")


def draw_pixels(count: int, size: int, seed: int = 0) -> Tensor:
    numbers = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3))
    return torch.from_numpy(numbers.astype(np.uint8))


@pytest.fixture(scope="module")
def lite0(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=64, cache=cache)


@EVERY_MODEL_WITH_STAGES
def test_every_layer_with_parameters_is_in_one_stage(model: Model) -> None:
    network = build_headless_network(model)
    named = [name for stage in model.stages for name in stage]
    assert len(set(named)) == len(named)
    for name, _ in network.named_parameters():
        assert sum(name.startswith(f"{part}.") for part in named) == 1, name
    stages = () if model.is_builtin else model.stages
    for stage in stages:  # each stage has parameters, so a tail always has some
        assert any(list(network.get_submodule(part).parameters()) for part in stage)


@EVERY_MODEL_WITH_STAGES
def test_running_all_stages_equals_the_whole_network(model: Model) -> None:
    """The weights are those of torch, because drawing hundreds of megabytes takes seconds."""
    torch.manual_seed(0)
    network = build_headless_network(model).to_empty(device="cpu").eval().requires_grad_(False)
    for tensor in network.state_dict().values():
        if tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.fill_(1)
    images = torch.randn(1, 3, max(32, model.min_image_size), max(32, model.min_image_size))
    expected = network(images)
    assert expected.std() > 0
    output = Stages(network, model.stages)(images)
    torch.testing.assert_close(output.flatten(1), expected)


@pytest.mark.parametrize("name", SMALL)
def test_prefix_and_tail_equal_the_whole_network_at_every_split(name: str, cache: Path) -> None:
    model = find_model(name)
    whole = build_backbone(model.name, "none", image_size=32, cache=cache)
    images = draw_pixels(2, 32)
    expected = whole(images)
    for stages in range(1, len(model.stages)):
        prefix, tail = Prefix(whole, stages), Tail(whole.model, whole.network, stages)
        maps = prefix(images)
        assert maps.shape == (2, *prefix.shape)
        assert maps.ndim == 4
        assert tail.features == expected.shape[1]
        torch.testing.assert_close(tail(maps), expected, atol=1e-6, rtol=1e-5)


def test_prefix_and_tail_equal_the_whole_network_with_published_weights(lite0: Backbone) -> None:
    images = draw_pixels(3, 64)
    expected = lite0(images)
    assert expected.std() > 0.1
    for stages in range(1, 9):
        maps = Prefix(lite0, stages)(images)
        torch.testing.assert_close(
            Tail(lite0.model, lite0.network, stages)(maps), expected, atol=1e-5, rtol=1e-5
        )


def test_stages_of_vgg16_end_with_pooling_layers() -> None:
    network, model = build_headless_network(find_model("vgg16")), find_model("vgg16")
    for stage in model.stages:
        assert isinstance(network.get_submodule(stage[0]), nn.Conv2d)
    for stage in model.stages[:-1]:
        assert isinstance(network.get_submodule(stage[-1]), nn.MaxPool2d)


def test_a_prefix_names_its_end_and_has_the_digest_of_its_weights(
    lite0: Backbone,
) -> None:
    five, six = Prefix(lite0, 5), Prefix(lite0, 6)
    assert five.cut == "after 5 of 9 stages"
    assert five.shape == (80, 4, 4)
    assert len({five.weights_sha256, six.weights_sha256, lite0.weights_sha256}) == 3
    assert five.weights_source == lite0.weights_source


def test_training_a_network_changes_neither_the_backbone_nor_other_networks(
    lite0: Backbone,
) -> None:
    before = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    tail = Tail(lite0.model, lite0.network, 6)
    head = Head(1280, 3)
    trained, other = (TailNetwork(build_head_network(head, 0), tail) for _ in range(2))
    start = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    maps = Prefix(lite0, 6)(draw_pixels(4, 64))
    optimizer = torch.optim.SGD(trained.parameters(), 0.1)
    trained.train()
    trained(maps).square().sum().backward()
    optimizer.step()
    trained_state = trained.tail.backbone_state()
    assert all(
        not torch.equal(tensor, before[name])
        for name, tensor in trained_state.items()
        if name.endswith(("weight", "running_mean"))
    )
    for name, tensor in lite0.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, start[name]), name
    assert not any(module.training for module in lite0.modules())


def test_every_weight_after_the_split_is_trained_and_counted(lite0: Backbone) -> None:
    network = TailNetwork(build_head_network(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 8))
    # conv_head 320 x 1280, bn2 2 x 1280, head 1280 x 3 + 3
    assert network.trained_parameters == 320 * 1280 + 2 * 1280 + 1280 * 3 + 3
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trainable == network.trained_parameters
    assert build_head_network(Head(1280, 3), 0).trained_parameters == 1280 * 3 + 3


def test_trained_tensors_have_their_names_in_the_whole_backbone(lite0: Backbone) -> None:
    network = TailNetwork(build_head_network(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 4))
    trained, head = split_trained_state(network)
    assert set(trained) < set(lite0.state_dict())
    assert {name.split(".")[2] for name in trained if ".blocks." in name} == {"3", "4", "5", "6"}
    assert list(head) == ["dense.0.weight", "dense.0.bias"]
    for name, tensor in trained.items():
        assert torch.equal(tensor, lite0.state_dict()[name]), name
    assert split_trained_state(build_head_network(Head(5, 3), 0))[0] == {}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(freeze=9), ("less than the 9 stages of efficientnet_lite0", "use --freeze all")),
        (Settings(model="vgg16", freeze=5), ("less than the 5 stages of vgg16",)),
        (Settings(model="nasnet_large", freeze=2), ("stages are unknown", "got 2")),
        (Settings(model="cnn", freeze="all"), ("must be none for cnn", "got all", "--freeze none")),
        (Settings(model="mlp", freeze=1), ("must be none for mlp", "got 1")),
    ],
    ids=str,
)
def test_invalid_values_of_freeze_are_refused_with_a_cure(
    settings: Settings, words: tuple[str, ...]
) -> None:
    (fault,) = find_freeze_errors(settings, resolve_model(settings))
    assert all(word in fault for word in words), fault


def test_every_model_can_be_trained_as_a_whole() -> None:
    for model in MODELS.values():
        assert find_freeze_errors(Settings(model=model.name, freeze="none"), model) == []
    assert find_freeze_errors(Settings(freeze=8), find_model("efficientnet_lite0")) == []


@pytest.fixture(scope="module")
def whole(lite0: Backbone) -> TailNetwork:
    return TailNetwork(build_head_network(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 0))


def test_a_tail_without_frozen_stages_equals_the_backbone(
    lite0: Backbone, whole: TailNetwork
) -> None:
    images = draw_pixels(3, 64)
    torch.testing.assert_close(whole.eval().tail(images), lite0(images), atol=1e-5, rtol=1e-5)
    assert whole.trained_parameters == sum(p.numel() for p in whole.parameters() if p.requires_grad)
    state, _ = split_trained_state(whole)
    assert state.keys() == lite0.state_dict().keys()


def test_a_network_with_unknown_stages_can_be_trained_as_a_whole(cache: Path) -> None:
    backbone = build_backbone("timm:resnet10t", "none", image_size=32, cache=cache)
    tail = Tail(backbone.model, backbone.network, 0)
    network = TailNetwork(build_head_network(Head(tail.features, 3), 0), tail)
    images = draw_pixels(3, 32)
    torch.testing.assert_close(network.eval().tail(images), backbone(images))
    factors = [factor for factor, _ in network.group_parameters(0.1)]
    assert factors == [0.1, 1.0]


@pytest.mark.parametrize("frozen", [0, 5])
def test_learning_rates_of_stages_increase_from_the_scale_to_that_of_the_head(
    lite0: Backbone, frozen: int
) -> None:
    """Stage i of n has the factor 0.25^((n - i) / n), the head has the factor 1."""
    network = TailNetwork(
        build_head_network(Head(1280, 3), 0), Tail(lite0.model, lite0.network, frozen)
    )
    groups = network.group_parameters(0.25)
    count = 9 - frozen
    expected = [0.25 ** ((count - index) / count) for index in range(count)] + [1.0]
    assert [factor for factor, _ in groups] == pytest.approx(expected)
    assert sorted(map(id, (p for _, part in groups for p in part))) == sorted(
        map(id, network.parameters())
    )
    first = {id(p) for p in groups[0][1]}
    names = [name for name, p in network.named_parameters() if id(p) in first]
    parameters = [name for name in split_trained_state(network)[0] if "running" not in name]
    stage = tuple(f"network.{part}." for part in lite0.model.stages[frozen])
    assert len(names) == len([n for n in parameters if n.startswith(stage) and "num_" not in n])
    assert [factor for factor, _ in network.group_parameters(1.0)] == [1.0]
    assert build_head_network(Head(5, 3), 0).group_parameters(0.1)[0][0] == 1.0


def test_a_frozen_tail_has_no_gradient_and_keeps_its_statistics(lite0: Backbone) -> None:
    network = TailNetwork(build_head_network(Head(1280, 3), 0), Tail(lite0.model, lite0.network, 6))
    maps = Prefix(lite0, 6)(draw_pixels(4, 64))
    network.set_tail_trainable(False)
    network.train()
    before = {name: tensor.clone() for name, tensor in network.tail.state_dict().items()}
    assert network.dense.training
    assert not any(module.training for module in network.tail.modules())
    network(maps).square().sum().backward()
    assert all(p.grad is None for p in network.tail.parameters())
    assert all(p.grad is not None for p in network.dense.parameters())
    after = network.tail.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())

    network.set_tail_trainable()
    assert all(module.training for module in network.tail.modules())
    network(maps).square().sum().backward()
    assert all(p.grad is not None for p in network.tail.parameters())
    running_mean = "network.parts.0.0.bn1.running_mean"
    assert not torch.equal(after[running_mean], before[running_mean])


def test_freezing_the_tail_does_not_change_the_evaluation(whole: TailNetwork) -> None:
    images = draw_pixels(2, 64)
    expected = whole.eval()(images)
    whole.set_tail_trainable(False)
    assert torch.equal(whole.train().eval()(images), expected)
    whole.set_tail_trainable()
    assert torch.equal(whole(images), expected)
