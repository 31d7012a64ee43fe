"""Figures of section 2: standard kernels with their feature maps, and pooling, on a photograph."""

import numpy as np
from matplotlib.figure import Figure

from veduta.foundations import convolution, kernels, pooling, preprocessing
from veduta.foundations.arrays import Array
from veduta.reporting.figures.plots import Drawing, make_drawing, open_panel


def draw_image_figures() -> list[Drawing]:
    """Draw the figures of section 2, in report order."""
    photograph = load_gray_photograph()
    return [draw_feature_maps(photograph), draw_poolings(photograph)]


def load_gray_photograph() -> Array:
    """Return scikit-learn's photograph of a Chinese temple in gray, (1, 1, H / 3, W / 3)."""
    from sklearn.datasets import load_sample_image

    channels = preprocessing.scale_to_unit(load_sample_image("china.jpg")).transpose(2, 0, 1)
    return pooling.average_pool(channels.mean(axis=0)[None, None], 3)


def draw_feature_maps(photograph: Array) -> Drawing:
    """Draw the feature map of each standard kernel."""
    panels = {
        "The photograph, a temple behind trees, in gray": draw_image(photograph, "photograph")
    }
    for name, kernel in kernels.named_kernels().items():
        # padding by reflection adds no edge at the border
        feature_map = convolution.convolve(
            photograph,
            kernel[None, None],
            b=np.zeros(1),
            padding=len(kernel) // 2,
            border="reflect",
        )
        detects_edges = abs(kernel.sum()) < 0.5
        content = "light and dark edges on gray" if detects_edges else "the photograph, changed"
        panels[f"Feature map of {name}: {content}"] = draw_image(
            feature_map, name, kernel=kernel, signed=detects_edges
        )
    return make_drawing(
        "30",
        "Standard kernels and their feature maps",
        "Each feature map of the photograph shows its kernel in the corner. Kernels that sum to 0 "
        "detect edges, of one direction (Sobel, Prewitt, Gabor) or of all directions (Laplacian); "
        "constant regions become gray. The other two kernels sum to 1 and keep the brightness.",
        panels,
    )


def draw_poolings(photograph: Array) -> Drawing:
    """Draw max pooling and L2 pooling of one feature map."""
    edges = np.abs(
        convolution.convolve(
            photograph, kernels.sobel()[None, None], b=np.zeros(1), padding=1, border="reflect"
        )
    )
    p = 6
    largest, norm = pooling.max_pool(edges, p), pooling.l2_pool(edges, p)
    correlation = np.corrcoef(largest.ravel(), norm.ravel())[0, 1]
    return make_drawing(
        "31b",
        "Max and L2 pooling",
        f"The absolute Sobel map, {edges.shape[2]} x {edges.shape[3]}, pooled over {p} x {p} to "
        f"{norm.shape[2]} x {norm.shape[3]}. The L2 norm of a region lies between its maximum and "
        f"{p} times its maximum (on average {np.mean(norm / largest):.1f} times here), depending "
        "on how many entries are large. The correlation of the two poolings is "
        f"{correlation:.2f}.",
        {
            "Absolute feature map of Sobel: vertical edges are bright": draw_image(edges, "before"),
            "Max pooling of it, at lower resolution": draw_image(largest, f"max, p = {p}"),
            "L2 pooling of it, at lower resolution": draw_image(norm, f"L2, p = {p}"),
        },
    )


def draw_image(
    image: Array, title: str, *, kernel: Array | None = None, signed: bool = False
) -> Figure:
    """Draw one image in gray.

    Args:
        image: image with one channel, (1, 1, H, W).
        title: title of the figure.
        kernel: kernel to show in the corner, (k, k).
        signed: whether 0 is medium gray instead of black.
    """
    pixels = image[0, 0]
    high = float(np.percentile(np.abs(pixels), 99))
    low = -high if signed else 0.0
    with open_panel(4.2, 4.2 * pixels.shape[0] / pixels.shape[1] + 0.25) as (figure, axes):
        axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title)
        if kernel is not None:
            corner = axes.inset_axes((0.0, 0.0, 0.24, 0.36), anchor="SW")
            limit = float(np.abs(kernel).max())
            corner.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
            corner.set(xticks=[], yticks=[])
    return figure
