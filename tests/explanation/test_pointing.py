"""Grad-CAM points at the decisive patch, and with random weights at nothing in particular."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.support.patches import PatchImages, draw_patch_images
from veduta.config.network_specs import Head
from veduta.explanation.gradcam import compute_gradcam
from veduta.explanation.layers import find_layer
from veduta.explanation.occlusion import compute_occlusion
from veduta.networks.backbones import Backbone, build_backbone, restore_backbone
from veduta.networks.catalogue.registry import configure_model, find_model
from veduta.networks.freezing import Tail, TailNetwork, split_trained_state
from veduta.networks.heads import HeadNetwork, build_head_network
from veduta.types import Float32Array, PixelArray


@dataclass(frozen=True)
class Case:
    """A network, and how it is trained."""

    name: str
    size: int
    side: int  # of a patch
    steps: int
    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...] = ()


CASES = (
    Case("cnn", 64, 16, 60, channels=(16, 32)),
    Case("report_cnn", 60, 16, 100, channels=(8, 8), hidden=(16,)),
    Case("timm:test_resnet", 96, 32, 25),
)
TRAIN_IMAGES, TEST_IMAGES, BATCH = 128, 100, 32


def build_networks(case: Case, seed: int) -> tuple[Backbone, HeadNetwork]:
    model = find_model(case.name)
    if model.options:
        options = replace(model.options, image_size=case.size, channels=case.channels)
        model = configure_model(model.name, options)
    cache = Path("no cache is needed")
    backbone = build_backbone(model, "none", image_size=case.size, seed=seed, cache=cache)
    return backbone, build_head_network(Head(model.features, 2, hidden=case.hidden), seed)


def train_network(case: Case, images: PatchImages) -> tuple[Backbone, HeadNetwork]:
    """Return networks after a few training steps, restored as from an artifact."""
    backbone, head = build_networks(case, 0)
    network = TailNetwork(head, Tail(backbone.model, backbone.network, 0)).train()
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(case.steps):
        batch = torch.randint(0, TRAIN_IMAGES, (BATCH,), generator=generator)
        loss = cross_entropy(network(images.pixels[batch]), images.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    backbone_state, head_state = split_trained_state(network)
    trained_head = HeadNetwork(head.head)
    trained_head.load_state_dict(head_state)
    trained_backbone = restore_backbone(
        backbone.model, backbone_state, preprocessing=backbone.preprocessing
    )
    return trained_backbone, trained_head.eval()


def compute_mean_correlation(maps: Tensor, others: Tensor) -> float:
    """Return the mean correlation of pairs of maps; that with a constant map is 0."""
    pairs = zip(maps.flatten(1), others.flatten(1), strict=True)
    return float(
        torch.stack([torch.corrcoef(torch.stack(p))[0, 1] for p in pairs]).nan_to_num().mean()
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradcam_points_at_the_decisive_patch_unless_weights_are_random(case: Case) -> None:
    train_images = draw_patch_images(TRAIN_IMAGES, case.size, case.side, seed=0)
    test_images = draw_patch_images(TEST_IMAGES, case.size, case.side, seed=1)
    backbone, head = train_network(case, train_images)
    with torch.no_grad():
        accuracy = (
            (head(backbone(test_images.pixels)).argmax(1) == test_images.labels).float().mean()
        )
    assert accuracy >= 0.95
    positions = find_layer(backbone).positions
    trained = compute_gradcam(backbone, head, test_images.pixels)
    assert test_images.measure_pointing_accuracy(trained, positions, test_images.decisive) >= 0.9
    assert test_images.measure_pointing_accuracy(trained, positions, test_images.irrelevant) <= 0.05

    random = compute_gradcam(
        *build_networks(case, 7), test_images.pixels, targets=test_images.labels
    )
    assert (
        test_images.measure_pointing_accuracy(random, positions, test_images.decisive) <= 0.5
    )  # one of the two patches by chance
    assert abs(compute_mean_correlation(trained.maps, random.maps)) < 0.2


def test_occlusion_points_at_the_decisive_patch() -> None:
    case = CASES[0]
    backbone, head = train_network(
        case, draw_patch_images(TRAIN_IMAGES, case.size, case.side, seed=0)
    )
    test_images = draw_patch_images(12, case.size, case.side, seed=1)
    heat = compute_gradcam(backbone, head, test_images.pixels).maps

    def predict(pixels: PixelArray) -> Float32Array:
        with torch.no_grad():
            probabilities: Float32Array = (
                head(backbone(torch.from_numpy(pixels))).softmax(1).numpy()
            )
            return probabilities

    for index, (top, left) in enumerate(test_images.decisive):
        image, label = test_images.pixels[index].numpy(), int(test_images.labels[index])
        occlusion = compute_occlusion(predict, image, label, patch=16, stride=8)
        largest = occlusion.map.argmax()
        row, column = divmod(int(largest), case.size)
        assert top - 8 <= row < top + 24
        assert left - 8 <= column < left + 24
        assert heat[index, row, column] > heat[index].mean()
