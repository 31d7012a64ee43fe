"""Backbones of networks that are small enough to compute by hand."""

from dataclasses import replace

import torch
from torch import nn

from veduta.config.network_specs import Preprocessing
from veduta.networks.backbones import Backbone
from veduta.networks.catalogue.registry import MODELS


def build_small_backbone(network: nn.Sequential, size: int, features: int) -> Backbone:
    """Return a backbone whose stages are the parts of a network; its input is pixels / 255."""
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
    preprocessing = Preprocessing(size, "bilinear", model.mean, model.std)
    return Backbone(model, network, preprocessing=preprocessing, source="a test")


def draw_noise(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Return random pixels (count, size, size, 3)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
