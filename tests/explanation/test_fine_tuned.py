"""Grad-CAM of the default network, fine-tuned as in a run, points at the decisive patch."""

import numpy as np
import pytest
import torch

from tests.support.patches import PatchImages, draw_patch_images
from veduta.config.settings import Settings
from veduta.explanation.gradcam import compute_gradcam
from veduta.explanation.layers import find_layer
from veduta.networks.backbones import Backbone, build_backbone, restore_backbone
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.freezing import Tail, split_trained_state
from veduta.networks.heads import HeadNetwork
from veduta.networks.presets import resolve_presets
from veduta.networks.weights import create_random_state
from veduta.runtime.process import use_torch_threads
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.loop import Training
from veduta.tuning.executors.serial import TrainingContext, build_network

SIZE, SIDE, COUNT = 128, 48, 96
TOLERANCE = 16  # pixels: half a step of the feature maps, which have 4 x 4 positions
SETTINGS = {"model": "efficientnet_lite0", "freeze": "none", "image_size": SIZE, "lr": 1e-3}


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Backbone, HeadNetwork, PatchImages, float]:
    """Return a trained network, test images, and its accuracy on them."""
    values = {**SETTINGS, "epochs": 4, "augment": "none", "batch_size": 16}
    settings = resolve_presets(Settings(**values), set(values))
    model = resolve_model(settings)
    cache = tmp_path_factory.mktemp("cache")
    start = build_backbone(model, settings.weights, image_size=SIZE, seed=0, cache=cache)
    train_images, test_images = (
        draw_patch_images(COUNT, SIZE, SIDE, seed=0),
        draw_patch_images(100, SIZE, SIDE, seed=1),
    )
    keys = mix_bits(np.arange(COUNT, dtype=np.uint64))
    train = Examples(train_images.pixels, train_images.labels, keys)
    network = build_network(settings, train, TrainingContext(2, Tail(model, start.network, 0)))
    training = Training(network, train, settings)
    with use_torch_threads(1):
        for _ in range(settings.epochs):
            training.finish_epoch()
            training.start_next_epoch()
    backbone_state, head_state = split_trained_state(network)
    backbone = restore_backbone(
        model, {**start.state_dict(), **backbone_state}, preprocessing=start.preprocessing
    )
    head = HeadNetwork(network.head)
    head.load_state_dict(head_state)
    accuracy = (
        (head.eval()(backbone(test_images.pixels)).argmax(1) == test_images.labels).double().mean()
    )
    return backbone, head, test_images, accuracy.item()


@pytest.mark.slow
def test_gradcam_points_at_the_decisive_patch(
    trained: tuple[Backbone, HeadNetwork, PatchImages, float],
) -> None:
    backbone, head, images, accuracy = trained
    assert accuracy >= 0.95
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    heat_maps = compute_gradcam(backbone, head, images.pixels, targets=images.labels)
    positions = find_layer(backbone).positions
    assert (
        images.measure_pointing_accuracy(heat_maps, positions, images.decisive, tolerance=TOLERANCE)
        >= 0.9
    )
    assert (
        images.measure_pointing_accuracy(
            heat_maps, positions, images.irrelevant, tolerance=TOLERANCE
        )
        <= 0.1
    )
    assert all(torch.equal(before[name], t) for name, t in backbone.state_dict().items())


@pytest.mark.slow
def test_random_weights_destroy_the_map(
    trained: tuple[Backbone, HeadNetwork, PatchImages, float],
) -> None:
    backbone, head, images, _ = trained
    state = create_random_state(backbone, seed=3)
    random = restore_backbone(backbone.model, state, preprocessing=backbone.preprocessing)
    heat_maps = compute_gradcam(random, head, images.pixels, targets=images.labels)
    positions = find_layer(random).positions
    assert (
        images.measure_pointing_accuracy(heat_maps, positions, images.decisive, tolerance=TOLERANCE)
        <= 0.6
    )
