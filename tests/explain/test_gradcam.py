"""Grad-CAM points at what decides, and at nothing once the weights are noise."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.explain.patches import Patches, patches
from veduta.config.settings import Settings
from veduta.errors import InputError
from veduta.explain.gradcam import gradcam, weighted
from veduta.explain.layers import find_layer
from veduta.explain.maps import feature_maps
from veduta.models.backbones import Backbone, backbone_from_state, build_backbone
from veduta.models.freezing import Tail, artefact_states
from veduta.models.heads import Head, HeadNetwork
from veduta.models.initial import random_state
from veduta.models.presets import resolved
from veduta.models.registry import model_of
from veduta.runtime.process import threads_of
from veduta.runtime.streams import mix
from veduta.search.serial import Way, fresh_network
from veduta.training.loop import Training
from veduta.training.state import Examples

KINDS = {
    "cnn": ({"model": "cnn", "channels": "16x32", "image_size": 64, "epochs": 12}, 240, 24),
    "report_cnn": (
        {"model": "report_cnn", "channels": "16x16", "image_size": 64, "hidden": "32",
         "dropout": 0.0, "lr": 3e-3, "epochs": 12},
        240, 24,
    ),
    "efficientnet_lite0": (
        {"model": "efficientnet_lite0", "freeze": "none", "image_size": 128, "lr": 1e-3,
         "epochs": 4},
        96, 52,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=[pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def learned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Backbone, HeadNetwork, Patches, float]:
    """A network that tells the decisive patch, images that it has not seen, its accuracy there."""
    given, count, side = KINDS[request.param]
    values = {**given, "augment": "none", "batch_size": 16}
    settings = resolved(Settings(**values), set(values))  # type: ignore[arg-type]
    model, size = model_of(settings), settings.image_size or 0
    cache = tmp_path_factory.mktemp("cache")
    start = build_backbone(model, settings.weights, image_size=size, seed=0, cache=cache)
    seen, fresh = patches(count, size, side, seed=0), patches(100, size, side, seed=1)
    keys = mix(np.arange(count, dtype=np.uint64))
    train = Examples(seen.pixels, seen.labels, keys)
    network = fresh_network(settings, train, Way(2, Tail(model, start.network, 0)))
    training = Training(network, train, settings)
    with threads_of(1):
        for _ in range(settings.epochs):
            training.finish_epoch()
            training.next_epoch()
    trained, own = artefact_states(network)
    how = start.preprocessing
    backbone = backbone_from_state(model, {**start.state_dict(), **trained}, preprocessing=how)
    head = HeadNetwork(network.head)
    head.load_state_dict(own)
    right = (head.eval()(backbone(fresh.pixels)).argmax(1) == fresh.labels).double().mean()
    return backbone, head, fresh, right.item()


def test_it_points_at_the_patch_that_decides(
    learned: tuple[Backbone, HeadNetwork, Patches, float],
) -> None:
    backbone, head, images, accuracy = learned
    assert accuracy >= 0.95
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    heat = gradcam(backbone, head, images.pixels, targets=images.labels)
    assert images.hits(heat.maps, images.decisive) >= 0.9
    assert images.hits(heat.maps, images.idle) <= 0.1
    assert all(torch.equal(before[name], t) for name, t in backbone.state_dict().items())


def test_weights_of_noise_destroy_the_map(
    learned: tuple[Backbone, HeadNetwork, Patches, float],
) -> None:
    backbone, head, images, _ = learned
    state = random_state(backbone, seed=3)
    drawn = backbone_from_state(backbone.model, state, preprocessing=backbone.preprocessing)
    heat = gradcam(drawn, head, images.pixels, targets=images.labels)
    assert images.hits(heat.maps, images.decisive) <= 0.6


def test_it_is_the_weighted_sum_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]]])
    slopes = torch.tensor([[[[2.0, 0.0], [0.0, 2.0]], [[-1.0, -1.0], [-1.0, 3.0]]]])
    # alpha = 1 and 0, then L = relu(1 A_1 + 0 A_2)
    assert torch.equal(weighted(maps, slopes), maps[:, 0])
    # alpha = -1 and 0.5: -A_1 + A_2 / 2 is above 0 in one place alone
    other = torch.tensor([[[[-1.0]], [[0.5]]]]).expand(1, 2, 2, 2)
    assert torch.equal(weighted(maps, other), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))


def test_slopes_are_finite_differences(tmp_path: Path) -> None:
    settings = resolved(Settings(model="cnn", channels="4x6", image_size=16), {"channels", "model"})
    settings = settings.model_copy(update={"image_size": 16})
    model = model_of(settings)
    backbone = build_backbone(model, "none", image_size=16, seed=2, cache=tmp_path).double()
    torch.manual_seed(0)
    head = HeadNetwork(Head(6, 3, hidden=(5,), activation="tanh")).double()
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    layer = find_layer(backbone)
    maps = feature_maps(backbone, pixels, layer.name)

    def logit(changed: Tensor) -> float:
        module = backbone.network.get_submodule(layer.name)
        handle = module.register_forward_hook(lambda *_: changed)
        found: Tensor = head.eval()(backbone(pixels))
        handle.remove()
        return found[0, 1].item()

    slopes = torch.zeros_like(maps)
    for place in np.ndindex(*maps.shape):
        step = torch.zeros_like(maps)
        step[place] = 1e-5
        slopes[place] = (logit(maps + step) - logit(maps - step)) / 2e-5
    heat = gradcam(backbone, head, pixels, targets=torch.tensor([1]))
    torch.testing.assert_close(heat.raw, weighted(maps, slopes), rtol=1e-4, atol=1e-7)


def test_a_network_without_maps_says_so(tmp_path: Path) -> None:
    settings = resolved(Settings(model="mlp"), {"model"})
    backbone = build_backbone(model_of(settings), "none", image_size=32, cache=tmp_path)
    with pytest.raises(InputError, match="occlusion"):
        find_layer(backbone)
