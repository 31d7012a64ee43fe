"""Networks: backbones, heads, pretrained weights, and the catalogue of models."""
