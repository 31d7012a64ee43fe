"""Acceptance, for the default network fine-tuned as a run does it: Grad-CAM points at the patch."""

import numpy as np
import pytest
import torch

from tests.explanation.patches import Patches, patches
from veduta.config.settings import Settings
from veduta.explanation.gradcam import gradcam
from veduta.explanation.layers import find_layer
from veduta.networks.backbones import Backbone, backbone_from_state, build_backbone
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import Tail, artefact_states
from veduta.networks.heads import HeadNetwork
from veduta.networks.presets import resolved
from veduta.networks.state_dicts import random_state
from veduta.runtime.process import threads_of
from veduta.runtime.streams import mix
from veduta.training.loop import Training
from veduta.training.state import Examples
from veduta.tuning.executors.serial import Way, fresh_network

SIZE, SIDE, COUNT = 128, 48, 96
SLACK = 16  # pixels: half a step of the maps, which have 4 x 4 places
SETTINGS = {"model": "efficientnet_lite0", "freeze": "none", "image_size": SIZE, "lr": 1e-3}


@pytest.fixture(scope="module")
def learned(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Backbone, HeadNetwork, Patches, float]:
    """A network that tells the decisive patch, images that it has not seen, its accuracy there."""
    values = {**SETTINGS, "epochs": 4, "augment": "none", "batch_size": 16}
    settings = resolved(Settings(**values), set(values))  # type: ignore[arg-type]
    model = model_of(settings)
    cache = tmp_path_factory.mktemp("cache")
    start = build_backbone(model, settings.weights, image_size=SIZE, seed=0, cache=cache)
    seen, fresh = patches(COUNT, SIZE, SIDE, seed=0), patches(100, SIZE, SIDE, seed=1)
    keys = mix(np.arange(COUNT, dtype=np.uint64))
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


@pytest.mark.slow
def test_it_points_at_the_patch_that_decides(
    learned: tuple[Backbone, HeadNetwork, Patches, float],
) -> None:
    backbone, head, images, accuracy = learned
    assert accuracy >= 0.95
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    heat = gradcam(backbone, head, images.pixels, targets=images.labels)
    places = find_layer(backbone).places
    assert images.hits(heat, places, images.decisive, slack=SLACK) >= 0.9
    assert images.hits(heat, places, images.idle, slack=SLACK) <= 0.1
    assert all(torch.equal(before[name], t) for name, t in backbone.state_dict().items())


@pytest.mark.slow
def test_weights_of_noise_destroy_the_map(
    learned: tuple[Backbone, HeadNetwork, Patches, float],
) -> None:
    backbone, head, images, _ = learned
    state = random_state(backbone, seed=3)
    drawn = backbone_from_state(backbone.model, state, preprocessing=backbone.preprocessing)
    heat = gradcam(drawn, head, images.pixels, targets=images.labels)
    places = find_layer(drawn).places
    assert images.hits(heat, places, images.decisive, slack=SLACK) <= 0.6
