"""Figures of section 2, on a photograph: named kernels and their feature maps, two poolings."""

import numpy as np
from matplotlib.figure import Figure

from veduta.foundations import convolution, kernels, pooling, preprocessing
from veduta.foundations.arrays import Array
from veduta.report.drawing import Drawing, drawing
from veduta.report.plots import panel


def image_drawings() -> list[Drawing]:
    """In the order of the report."""
    photograph = grey_photograph()
    return [feature_maps(photograph), poolings(photograph)]


def grey_photograph() -> Array:
    """scikit-learn's sample of a Chinese temple: grey, in [0, 1], three pixels averaged to one."""
    from sklearn.datasets import load_sample_image

    colours = preprocessing.to_unit(load_sample_image("china.jpg")).transpose(2, 0, 1)
    return pooling.average_pool(colours.mean(axis=0)[None, None], 3)


def feature_maps(photograph: Array) -> Drawing:
    """What each named kernel makes of the photograph."""
    panels = {"The photograph, a temple behind trees, in grey": shown(photograph, "photograph")}
    for name, kernel in kernels.named().items():
        # mirrored at the edge, so that the border is no edge
        size = len(kernel) // 2
        mapped = convolution.convolve(
            photograph, kernel[None, None], b=np.zeros(1), padding=size, border="reflect"
        )
        edges = abs(kernel.sum()) < 0.5
        told = "edges in light and dark on grey" if edges else "the photograph, changed"
        panels[f"Feature map of {name}: {told}"] = shown(mapped, name, kernel=kernel, signed=edges)
    return drawing(
        "30",
        "Named kernels and their feature maps",
        "Each kernel stands in the corner of what it makes of the photograph. Kernels that sum to "
        "0 answer to edges, of one direction (Sobel, Prewitt, Gabor) or of all (Laplacian): a flat "
        "region is grey. The other two sum to 1 and keep the brightness.",
        panels,
    )


def poolings(photograph: Array) -> Drawing:
    """Max pooling beside L2 pooling, of one feature map."""
    edges = np.abs(
        convolution.convolve(
            photograph, kernels.sobel()[None, None], b=np.zeros(1), padding=1, border="reflect"
        )
    )
    p = 6
    largest, norm = pooling.max_pool(edges, p), pooling.l2_pool(edges, p)
    correlation = np.corrcoef(largest.ravel(), norm.ravel())[0, 1]
    return drawing(
        "31b",
        "Max and L2 pooling",
        f"The Sobel map's size, {edges.shape[2]} x {edges.shape[3]}, pooled over {p} x {p} to "
        f"{norm.shape[2]} x {norm.shape[3]}. The norm lies between the maximum and {p} times it "
        f"(here on average {np.mean(norm / largest):.1f} times); it also counts how many entries "
        f"are large. The two correlate at {correlation:.2f}.",
        {
            "Absolute feature map of Sobel: vertical edges are bright": shown(edges, "before"),
            "Max pooling of it, coarser": shown(largest, f"max, p = {p}"),
            "L2 pooling of it, coarser": shown(norm, f"L2, p = {p}"),
        },
    )


def shown(image: Array, title: str, *, kernel: Array | None = None, signed: bool = False) -> Figure:
    """One image in grey, 0 mid-grey where signed, its kernel in the corner where there is one."""
    pixels = image[0, 0]
    high = float(np.percentile(np.abs(pixels), 99))
    low = -high if signed else 0.0
    with panel(4.2, 4.2 * pixels.shape[0] / pixels.shape[1] + 0.25) as (figure, axes):
        axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title)
        if kernel is not None:
            corner = axes.inset_axes((0.0, 0.0, 0.24, 0.36), anchor="SW")
            limit = float(np.abs(kernel).max())
            corner.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
            corner.set(xticks=[], yticks=[])
    return figure
