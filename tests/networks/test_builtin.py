"""Built-in networks: parameter counts, initial weights, training, and agreement of engines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from veduta.config.settings import Settings
from veduta.features.engines import open_engine
from veduta.networks.backbones import build_backbone, restore_backbone
from veduta.networks.catalogue.builtin import build_cnn, build_report_cnn
from veduta.networks.catalogue.model import Options
from veduta.networks.catalogue.registry import MODELS, resolve_model
from veduta.networks.freezing import Tail, TailNetwork, split_trained_state
from veduta.networks.heads import build_head_network, describe_head
from veduta.networks.presets import resolve_presets
from veduta.networks.weights import create_random_state
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch
from veduta.training.step import train_step
from veduta.types import ignore_progress

NETWORKS: dict[str, dict[str, object]] = {
    "cnn": {"model": "cnn", "image_size": 32},
    "cnn with other channels": {"model": "cnn", "image_size": 45, "channels": "8x12"},
    "report_cnn": {"model": "report_cnn", "image_size": 80, "channels": "8x6x4"},
    "untied, l2": {
        "model": "report_cnn",
        "image_size": 30,
        "channels": "5x4",
        "pooling": "l2",
        "untied_bias": True,
        "activation": "tanh",
        "norm_first": False,
        "batch_norm": True,
    },
    "max": {"model": "report_cnn", "image_size": 25, "channels": "5x4", "pooling": "max"},
    "mlp": {"model": "mlp", "image_size": 10},
}
EVERY_NETWORK = pytest.mark.parametrize("given", NETWORKS.values(), ids=NETWORKS)


def build_tail_network(given: dict[str, object], cache: Path) -> tuple[Settings, TailNetwork]:
    settings = resolve_presets(Settings(hidden=(16,), **given), {"hidden", *given})
    backbone = build_backbone(resolve_model(settings), "none", cache=cache)
    tail = Tail(backbone.model, backbone.network, 0)
    return settings, TailNetwork(
        build_head_network(describe_head(settings, tail.features, 3), 0), tail
    )


def draw_images(size: int) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (6, size, size, 3))
    return torch.from_numpy(pixels.astype(np.uint8))


@pytest.mark.parametrize(("channels", "count"), [((), 20_678_142), ((256, 128, 64), 23_381_550)])
def test_the_network_of_the_report_has_the_number_of_parameters_of_the_report(
    channels: tuple[int, ...], count: int
) -> None:
    settings = resolve_presets(
        Settings(model="report_cnn", channels=channels), {"model", "channels"}
    )
    model = resolve_model(settings)
    assert model.parameters + describe_head(settings, model.features, 6).parameters == count
    assert model.features == (64 if channels else 16) * 3 * 3
    untied = resolve_model(settings.model_copy(update={"untied_bias": True}))
    maps = channels or (64, 32, 16)
    positions = (146**2, 44**2, 10**2)
    more = sum(m * (p - 1) for m, p in zip(maps, positions, strict=True))
    assert untied.parameters == model.parameters + more


def test_built_in_networks_are_in_the_registry() -> None:
    assert [name for name, model in MODELS.items() if model.is_builtin] == [
        "cnn",
        "report_cnn",
        "mlp",
    ]


@EVERY_NETWORK
def test_training_changes_all_trainable_parameters(given: dict[str, object], cache: Path) -> None:
    settings, network = build_tail_network(given, cache)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    batch = Batch(draw_images(settings.image_size or 0), torch.tensor([0, 1, 2, 0, 1, 2]))
    optimizer = build_optimizer(network.group_parameters(1.0), settings)
    network.train()
    for _ in range(2):  # the first step cannot change what precedes a scale of 0
        loss = train_step(network, optimizer, batch, noise=None).loss
    assert np.isfinite(loss)
    changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {name for name, p in network.named_parameters() if p.requires_grad}
    assert all(name.endswith("bias") for name in before.keys() - changed)


@EVERY_NETWORK
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_restored_backbone_gives_the_same_features_on_every_engine(
    given: dict[str, object], engine: str, cache: Path
) -> None:
    settings, network = build_tail_network(given, cache)
    pixels = draw_images(settings.image_size or 0)
    network.train()(pixels)  # updates the running statistics
    network.eval()
    model = resolve_model(settings)
    initial = build_backbone(model, "none", cache=cache)
    state = {**initial.state_dict(), **split_trained_state(network)[0]}
    backbone = restore_backbone(model, state, preprocessing=initial.preprocessing)
    features = np.empty((6, model.features), np.float32)
    open_engine(engine, backbone, threads=1).write_features(
        pixels.numpy(), features, ignore_progress
    )
    with torch.inference_mode():
        expected = network.tail(pixels).numpy()
    assert np.abs(features - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert expected.std() > 1e-3


def test_initially_blocks_equal_their_shortcut_and_untied_biases_are_zero() -> None:
    small = build_cnn(Options(image_size=32, channels=(8, 12)))
    small.load_state_dict(create_random_state(small, 0))
    first, second = (small.get_submodule(name).eval() for name in ("stage1", "stage2"))
    x = torch.rand(2, 8, 5, 5)
    assert torch.equal(first(x), x)
    means = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True)
    weights = second.get_parameter("shortcut.1.weight")
    expected = torch.relu(torch.nn.functional.conv2d(means, weights) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(second(x), expected)
    assert first.get_parameter("conv1.0.weight").std() > 0
    untied = build_report_cnn(Options(image_size=25, channels=(5, 4), untied_bias=True))
    state = create_random_state(untied, 0)
    assert state["block1.convolution.bias"].shape == (5, 21, 21)
    assert not state["block1.convolution.bias"].any()
    assert state["block1.norm.weight"].eq(1).all()


def test_the_stem_equals_a_convolution_over_squares_of_pixels() -> None:
    stem = build_cnn(Options(image_size=32, channels=(8,))).get_submodule("stem").eval()
    x = torch.rand(1, 3, 14, 13)
    convolution = nn.Conv2d(3, 8, 12, stride=4, padding=4, bias=False)
    squares = stem[1].weight  # type: ignore[index]
    kernel = nn.functional.pixel_shuffle(squares.reshape(8, 48, 3, 3), 4)
    convolution.weight = nn.Parameter(kernel)
    expected = torch.relu(convolution(x[:, :, :12, :12]) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(stem(x), expected, atol=1e-5, rtol=1e-5)
