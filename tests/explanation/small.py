"""Networks small enough to work out by hand, as the backbones that explanations take."""

from dataclasses import replace

import torch
from torch import nn

from veduta.networks.backbones import Backbone, Preprocessing
from veduta.networks.catalogue.registry import MODELS


def backbone_of(network: nn.Sequential, size: int, features: int) -> Backbone:
    """A backbone of a sequence, each part a stage; its input is the pixels divided by 255."""
    model = replace(
        MODELS["cnn"],
        name="small",
        image_size=size,
        features=features,
        stages=tuple((name,) for name, _ in network.named_children()),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        options=None,
    )
    how = Preprocessing(size, "bilinear", model.mean, model.std)
    return Backbone(model, network, preprocessing=how, source="a test")


def noise(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Pixels (count, size, size, 3)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
