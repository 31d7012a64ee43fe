"""Acceptance: Grad-CAM points at what decides, and at nothing once the weights are random."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.explanation.patches import Patches, patches
from veduta.explanation.gradcam import gradcam
from veduta.explanation.layers import find_layer
from veduta.explanation.occlusion import occlusion
from veduta.networks.backbones import Backbone, backbone_from_state, build_backbone
from veduta.networks.catalogue.registry import find_model, with_options
from veduta.networks.freezing import Tail, TailNetwork, artefact_states
from veduta.networks.heads import Head, HeadNetwork, build_head


@dataclass(frozen=True)
class Kind:
    """A network and how it is trained."""

    name: str
    size: int
    side: int  # of a patch
    steps: int
    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...] = ()


KINDS = (
    Kind("cnn", 64, 16, 60, channels=(16, 32)),
    Kind("report_cnn", 60, 16, 100, channels=(8, 8), hidden=(16,)),
    Kind("timm:test_resnet", 96, 32, 25),
)
LEARN, LOOK, BATCH = 128, 100, 32


def fresh(kind: Kind, seed: int) -> tuple[Backbone, HeadNetwork]:
    model = find_model(kind.name)
    if model.options:
        options = replace(model.options, image_size=kind.size, channels=kind.channels)
        model = with_options(model.name, options)
    nowhere = Path("no cache is needed")
    backbone = build_backbone(model, "none", image_size=kind.size, seed=seed, cache=nowhere)
    return backbone, build_head(Head(model.features, 2, hidden=kind.hidden), seed)


def trained(kind: Kind, seen: Patches) -> tuple[Backbone, HeadNetwork]:
    """A network after a few plain steps, as an artefact would give it back."""
    backbone, head = fresh(kind, 0)
    network = TailNetwork(head, Tail(backbone.model, backbone.network, 0)).train()
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(kind.steps):
        some = torch.randint(0, LEARN, (BATCH,), generator=generator)
        loss = cross_entropy(network(seen.pixels[some]), seen.labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    body, top = artefact_states(network)
    found = HeadNetwork(head.head)
    found.load_state_dict(top)
    how = backbone.preprocessing
    return backbone_from_state(backbone.model, body, preprocessing=how), found.eval()


def correlation(maps: Tensor, others: Tensor) -> float:
    """The mean over images of the correlation of two maps; 0 where one is the same everywhere."""
    pairs = zip(maps.flatten(1), others.flatten(1), strict=True)
    return float(
        torch.stack([torch.corrcoef(torch.stack(p))[0, 1] for p in pairs]).nan_to_num().mean()
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_points_at_what_decides_and_random_weights_at_nothing(kind: Kind) -> None:
    seen = patches(LEARN, kind.size, kind.side, seed=0)
    new = patches(LOOK, kind.size, kind.side, seed=1)
    backbone, head = trained(kind, seen)
    with torch.no_grad():
        right = (head(backbone(new.pixels)).argmax(1) == new.labels).float().mean()
    assert right >= 0.95
    places = find_layer(backbone).places
    found = gradcam(backbone, head, new.pixels)
    assert new.hits(found, places, new.decisive) >= 0.9
    assert new.hits(found, places, new.idle) <= 0.05

    random = gradcam(*fresh(kind, 7), new.pixels, targets=new.labels)
    assert new.hits(random, places, new.decisive) <= 0.5  # of two patches, one by chance
    assert abs(correlation(found.maps, random.maps)) < 0.2


def test_occlusion_agrees() -> None:
    kind = KINDS[0]
    backbone, head = trained(kind, patches(LEARN, kind.size, kind.side, seed=0))
    new = patches(12, kind.size, kind.side, seed=1)
    heat = gradcam(backbone, head, new.pixels).maps

    def probabilities(pixels: object) -> object:
        with torch.no_grad():
            return head(backbone(torch.from_numpy(pixels))).softmax(1).numpy()

    for place, (top, left) in enumerate(new.decisive):
        image, label = new.pixels[place].numpy(), int(new.labels[place])
        found = occlusion(probabilities, image, label, patch=16, stride=8)
        peak = found.map.argmax()
        row, column = divmod(int(peak), kind.size)
        assert top - 8 <= row < top + 24
        assert left - 8 <= column < left + 24
        assert heat[place, row, column] > heat[place].mean()
