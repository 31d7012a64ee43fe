"""Networks of our own: what they count, how they start, that they train, and that engines agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from veduta.config.settings import Settings
from veduta.features.engines import open_engine
from veduta.networks.backbones import backbone_from_state, build_backbone
from veduta.networks.catalogue.builtin import cnn, report_cnn
from veduta.networks.catalogue.model import Options
from veduta.networks.catalogue.registry import MODELS, model_of
from veduta.networks.freezing import Tail, TailNetwork, artefact_states
from veduta.networks.heads import build_head, head_of
from veduta.networks.presets import resolved
from veduta.networks.state_dicts import random_state
from veduta.optim.optimizers import build_optimizer
from veduta.training.loss import Batch
from veduta.training.step import train_step

KINDS: dict[str, dict[str, object]] = {
    "cnn": {"model": "cnn", "image_size": 32},
    "cnn, others": {"model": "cnn", "image_size": 45, "channels": "8x12"},
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
KIND = pytest.mark.parametrize("given", KINDS.values(), ids=KINDS)


def network_of(given: dict[str, object], cache: Path) -> tuple[Settings, TailNetwork]:
    settings = resolved(Settings(hidden=(16,), **given), {"hidden", *given})  # type: ignore[arg-type]
    backbone = build_backbone(model_of(settings), "none", cache=cache)
    tail = Tail(backbone.model, backbone.network, 0)
    return settings, TailNetwork(build_head(head_of(settings, tail.features, 3), 0), tail)


def images(size: int) -> torch.Tensor:
    drawn = np.random.default_rng(0).integers(0, 256, (6, size, size, 3))
    return torch.from_numpy(drawn.astype(np.uint8))


@pytest.mark.parametrize(("channels", "count"), [((), 20_678_142), ((256, 128, 64), 23_381_550)])
def test_the_reports_network_has_as_many_parameters_as_the_report_says(
    channels: tuple[int, ...], count: int
) -> None:
    settings = resolved(Settings(model="report_cnn", channels=channels), {"model", "channels"})
    model = model_of(settings)
    assert model.parameters + head_of(settings, model.features, 6).parameters == count
    assert model.features == (64 if channels else 16) * 3 * 3
    untied = model_of(settings.model_copy(update={"untied_bias": True}))
    maps = channels or (64, 32, 16)
    places = (146**2, 44**2, 10**2)
    more = sum(m * (p - 1) for m, p in zip(maps, places, strict=True))
    assert untied.parameters == model.parameters + more


def test_names_of_ours_are_in_the_registry() -> None:
    assert [name for name, model in MODELS.items() if model.own] == ["cnn", "report_cnn", "mlp"]


@KIND
def test_a_step_moves_everything_that_trains(given: dict[str, object], cache: Path) -> None:
    settings, network = network_of(given, cache)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    batch = Batch(images(settings.image_size or 0), torch.tensor([0, 1, 2, 0, 1, 2]))
    optimizer = build_optimizer(network.groups(1.0), settings)
    network.train()
    for _ in range(2):  # behind a scale that starts at 0 nothing moves in the first step
        loss = train_step(network, optimizer, batch, noise=None).loss
    assert np.isfinite(loss)
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {name for name, p in network.named_parameters() if p.requires_grad}
    assert all(name.endswith("bias") for name in before.keys() - moved)


@KIND
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_what_was_saved_predicts_on_every_engine(
    given: dict[str, object], engine: str, cache: Path
) -> None:
    settings, network = network_of(given, cache)
    pixels = images(settings.image_size or 0)
    network.train()(pixels)  # running statistics get somewhere
    network.eval()
    model = model_of(settings)
    fresh = build_backbone(model, "none", cache=cache)
    state = {**fresh.state_dict(), **artefact_states(network)[0]}
    backbone = backbone_from_state(model, state, preprocessing=fresh.preprocessing)
    found = np.empty((6, model.features), np.float32)
    open_engine(engine, backbone, threads=1).features(pixels.numpy(), found, lambda _: None)
    with torch.inference_mode():
        expected = network.tail(pixels).numpy()
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert expected.std() > 1e-3


def test_blocks_start_as_their_shortcut_and_untied_biases_at_zero() -> None:
    small = cnn(Options(image_size=32, channels=(8, 12)))
    small.load_state_dict(random_state(small, 0))
    first, second = (small.get_submodule(name).eval() for name in ("stage1", "stage2"))
    x = torch.rand(2, 8, 5, 5)
    assert torch.equal(first(x), x)
    means = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True)
    weights = second.get_parameter("shortcut.1.weight")
    expected = torch.relu(torch.nn.functional.conv2d(means, weights) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(second(x), expected)
    assert first.get_parameter("conv1.0.weight").std() > 0
    untied = report_cnn(Options(image_size=25, channels=(5, 4), untied_bias=True))
    state = random_state(untied, 0)
    assert state["block1.convolution.bias"].shape == (5, 21, 21)
    assert not state["block1.convolution.bias"].any()
    assert state["block1.norm.weight"].eq(1).all()


def test_the_stem_sees_squares_and_leaves_out_what_fills_none() -> None:
    stem = cnn(Options(image_size=32, channels=(8,))).get_submodule("stem").eval()
    x = torch.rand(1, 3, 14, 13)
    convolution = nn.Conv2d(3, 8, 12, stride=4, padding=4, bias=False)
    squares = stem[1].weight  # type: ignore[index]
    kernel = nn.functional.pixel_shuffle(squares.reshape(8, 48, 3, 3), 4)
    convolution.weight = nn.Parameter(kernel)
    expected = torch.relu(convolution(x[:, :, :12, :12]) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(stem(x), expected, atol=1e-5, rtol=1e-5)
