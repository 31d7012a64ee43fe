"""Explanations of a network: Grad-CAM, occlusion, feature maps and first-layer kernels."""
