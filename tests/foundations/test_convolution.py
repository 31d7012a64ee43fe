"""Convolution (28)-(30) and the way back (32)-(36)."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.foundations.drawing import (
    assert_autograd,
    assert_gradient,
    assert_same,
    few,
    normal,
    tensor,
)
from veduta.foundations import conv_backprop, convolution, kernels
from veduta.foundations.arrays import Array
from veduta.foundations.convolution import Border

TORCH_MODE = {"constant": "constant", "wrap": "circular", "reflect": "reflect"}
COUNTS = st.integers(1, 3)


@st.composite
def cases(draw: st.DrawFn) -> dict[str, object]:
    k, padding = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    lowest = max(k - 2 * padding, padding + 1, 1)
    return {
        "k": k,
        "padding": padding,
        "stride": draw(st.integers(1, 3)),
        "border": draw(st.sampled_from(list(TORCH_MODE))),
        "shape": (
            draw(COUNTS),
            draw(COUNTS),
            draw(st.integers(lowest, 7)),
            draw(st.integers(lowest, 7)),
        ),
        "maps": draw(COUNTS),
    }


def by_torch(a: torch.Tensor, w: torch.Tensor, b: torch.Tensor, case: dict) -> torch.Tensor:  # type: ignore[type-arg]
    """PyTorch correlates: it gets the kernel rotated by 180 degrees."""
    padded = functional.pad(a, [case["padding"]] * 4, mode=TORCH_MODE[case["border"]])
    z = functional.conv2d(padded, torch.flip(w, (2, 3)), stride=case["stride"])
    return z + (b if b.ndim == 3 else b[:, None, None])


@few
@given(case=cases(), untied=st.booleans())
def test_eq_30_and_32_to_36_against_autograd(case: dict, untied: bool) -> None:  # type: ignore[type-arg]
    a, w = (
        normal(0, *case["shape"]),
        normal(1, case["maps"], case["shape"][1], case["k"], case["k"]),
    )
    settings = {name: case[name] for name in ("stride", "padding", "border")}
    sizes = [
        convolution.output_size(n, case["k"], padding=case["padding"], stride=case["stride"])
        for n in case["shape"][2:]
    ]
    b = normal(2, case["maps"], *sizes) if untied else normal(2, case["maps"])
    g = normal(3, case["shape"][0], case["maps"], *sizes)
    assert_same(
        convolution.convolve(a, w, b=b, **settings), by_torch(tensor(a), tensor(w), tensor(b), case)
    )
    hidden = conv_backprop.hidden_error(g, w, slope=1 - np.tanh(a) ** 2, **settings)
    assert_autograd(
        hidden, lambda z: tensor(g) * by_torch(torch.tanh(z), tensor(w), tensor(b), case), a
    )
    gradient = conv_backprop.kernel_gradient(g, a, k=case["k"], **settings)
    assert_autograd(gradient, lambda w_: tensor(g) * by_torch(tensor(a), w_, tensor(b), case), w)
    bias = conv_backprop.bias_gradient(g) if untied else conv_backprop.tied_bias_gradient(g)
    assert_autograd(bias, lambda b_: tensor(g) * by_torch(tensor(a), tensor(w), b_, case), b)


@pytest.mark.parametrize("border", TORCH_MODE)
def test_eq_34_and_35_against_central_differences(border: Border) -> None:
    a, w, g = normal(0, 2, 2, 5, 6), normal(1, 3, 2, 3, 3), normal(2, 2, 3, 3, 3)
    settings = {"stride": 2, "padding": 1, "border": border}

    def cost(a_: Array, w_: Array) -> Array:
        return g * convolution.convolve(a_, w_, b=np.zeros(3), **settings)

    hidden = conv_backprop.hidden_error(g, w, slope=np.ones_like(a), **settings)
    assert_gradient(hidden, lambda x: cost(x, w), a)
    assert_gradient(conv_backprop.kernel_gradient(g, a, k=3, **settings), lambda x: cost(a, x), w)
    by_definition = conv_backprop.error_by_definition(lambda x: float(cost(x, w).sum()), a)
    assert by_definition == pytest.approx(hidden, abs=1e-6)


@few
@given(height=st.integers(3, 7), width=st.integers(3, 7), k=st.integers(1, 3))
def test_eq_33_is_34_written_out(height: int, width: int, k: int) -> None:
    w, slope = normal(0, k, k), normal(1, height, width)
    delta = normal(2, height - k + 1, width - k + 1)
    lifted = [x[None, None] for x in (delta, w, slope)]
    by_sums = conv_backprop.hidden_error_by_sums(delta, w, slope=slope)
    assert_same(by_sums, conv_backprop.hidden_error(lifted[0], lifted[1], slope=lifted[2])[0, 0])


@few
@given(m=st.integers(1, 6), n=st.integers(1, 6), k=st.integers(1, 4))
def test_eq_29_against_scipy_and_eq_30(m: int, n: int, k: int) -> None:
    from scipy.signal import convolve2d

    f, g, weights = normal(0, m, n), normal(1, k, k), normal(2, m, n)
    found = convolution.convolve_discrete(f, g, weights=weights)
    assert_same(found, convolve2d(weights * f, g, mode="full"))
    padded = np.pad(f, k - 1)[None, None]
    full = convolution.convolve(padded, g[None, None], b=np.zeros(1))[0, 0]
    assert_same(convolution.convolve_discrete(f, g), full)


def test_eq_28_of_a_box_with_itself_is_a_triangle() -> None:
    def box(t: Array) -> Array:
        return np.where(np.abs(t) <= 0.5, 1.0, 0.0)

    x, tau = np.linspace(-1.5, 1.5, 13), np.linspace(-2, 2, 40001)
    found = convolution.convolve_functions(box, box, x=x, tau=tau)
    assert found == pytest.approx(np.maximum(1 - np.abs(x), 0), abs=1e-3)


def test_worked_examples() -> None:
    assert convolution.parameter_count(7, 1, 3) == 70
    assert convolution.parameter_count(7, 3, 3) == 196
    size = convolution.output_size(50, 3)
    assert size == 48
    # untied, the same image: 7 kernels of 9 weights, and 48 x 48 biases for each of 7 maps
    assert convolution.parameter_count(7, 1, 3, biases=size**2) == 63 + 16128 == 16191


def test_alexnet_has_as_many_weights_as_the_report_says() -> None:
    """Two of its five layers of kernels see half of the maps before them."""
    layers = [(96, 3, 11), (256, 48, 5), (384, 256, 3), (384, 192, 3), (256, 192, 3)]
    kernels_ = sum(convolution.parameter_count(*layer, biases=0) for layer in layers)
    dense = 256 * 6 * 6 * 4096 + 4096 * 4096 + 4096 * 1000
    assert kernels_ + dense == 60_954_656


@few
@given(
    width=st.integers(1, 30),
    k=st.integers(1, 9),
    padding=st.integers(0, 3),
    stride=st.integers(1, 4),
)
def test_output_size_counts_positions(width: int, k: int, padding: int, stride: int) -> None:
    positions = len(range(0, width + 2 * padding - k + 1, stride))
    if positions:
        assert convolution.output_size(width, k, padding=padding, stride=stride) == positions
    else:
        with pytest.raises(ValueError, match=f"got kernel {k}, image {width}"):
            convolution.output_size(width, k, padding=padding, stride=stride)


def test_padding_and_its_derivative_are_adjoint() -> None:
    """<pad(x), y> = <x, pad_backward(y)>, of every border."""
    x, y = normal(0, 1, 1, 4, 5), normal(1, 1, 1, 8, 9)
    for border in TORCH_MODE:
        forth = (convolution.pad(x, 2, border) * y).sum()  # type: ignore[arg-type]
        back = (x * conv_backprop.pad_backward(y, 2, border=border)).sum()  # type: ignore[arg-type]
        assert forth == pytest.approx(back)


def test_named_kernels_answer_to_what_they_are_named_for() -> None:
    flat, step = np.ones((1, 1, 9, 9)), np.zeros((1, 1, 9, 9))
    step[..., 5:] = 1.0
    for name, kernel in kernels.named().items():
        total = kernel.sum()
        assert total == pytest.approx(
            0 if name in {"Sobel", "Prewitt", "Laplacian", "Gabor"} else 1
        )
        seen = convolution.convolve(flat, kernel[None, None], b=np.zeros(1))
        assert seen == pytest.approx(np.full(seen.shape, total))
    across = convolution.convolve(step, kernels.sobel()[None, None], b=np.zeros(1))
    assert across[0, 0, 0].tolist() == [0, 0, 0, 4, 4, 0, 0]
    along = convolution.convolve(step, kernels.sobel().T[None, None], b=np.zeros(1))
    assert not along.any()
    upright, lying = kernels.gabor(), kernels.gabor(degrees=90)
    assert upright == pytest.approx(lying.T)


def test_bad_input() -> None:
    a, w, b = np.zeros((1, 2, 5, 5)), np.zeros((3, 2, 3, 3)), np.zeros(3)
    with pytest.raises(ValueError, match="fits into the padded image; got kernel 7, image 5"):
        convolution.convolve(a, np.zeros((3, 2, 7, 7)), b=b)
    with pytest.raises(ValueError, match=r"w \(maps, channels, k, k\); got \(1, 2, 5, 5\) and"):
        convolution.convolve(a, w[:, :1], b=b)
    with pytest.raises(ValueError, match=r"b is tied \(3,\) or untied \(3, 3, 3\); got \(2,\)"):
        convolution.convolve(a, w, b=b[:2])
    with pytest.raises(ValueError, match="stride=0"):
        convolution.convolve(a, w, b=b, stride=0)
    with pytest.raises(ValueError, match=r"padding of border 'reflect' lies in 0\.\.4; got 5"):
        convolution.convolve(a, w, b=b, padding=5, border="reflect")
    with pytest.raises(ValueError, match="border is one of constant, wrap, reflect; got edge"):
        convolution.pad(a, 1, "edge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images are"):
        convolution.patches(a[0], 3)
    with pytest.raises(ValueError, match="tau increases"):
        convolution.convolve_functions(np.sin, np.sin, x=b, tau=b)
    with pytest.raises(ValueError, match="1 or more"):
        convolution.parameter_count(0, 1, 3)
    for wrong in (np.zeros((1, 3, 2, 3)), np.zeros((1, 2, 3, 3)), np.zeros((2, 3, 3, 3))):
        with pytest.raises(ValueError, match="delta_next has the shape"):
            conv_backprop.hidden_error(wrong, w, slope=a)
    with pytest.raises(ValueError, match=r"f is \(m, n\), g \(k, l\)"):
        convolution.convolve_discrete(b, b)
    with pytest.raises(ValueError, match=r"weights are a number or \(1, 3\); got \(3,\)"):
        convolution.convolve_discrete(b[None], b[None], weights=b)
    with pytest.raises(ValueError, match=r"delta_next is \(H - k \+ 1"):
        conv_backprop.hidden_error_by_sums(np.ones((2, 2)), np.ones((3, 3)), slope=np.ones((5, 5)))
    with pytest.raises(ValueError, match="k is odd"):
        kernels.gabor(4)
    with pytest.raises(ValueError, match="k is 1 or more"):
        kernels.blur(0)


@pytest.mark.parametrize(
    "wrong", [(1, 1, 3, 3), (1, 1, 4, 3), (1, 1, 12, 1), (1, 1, 2, 6), (2, 1, 3, 4), (1, 12)]
)
def test_eq_35_and_36_refuse_an_error_of_another_shape(wrong: tuple[int, ...]) -> None:
    """Also where the number of positions is right, 12 for the 3 x 4 maps here."""
    a = np.ones((1, 1, 5, 6))
    with pytest.raises(ValueError, match=r"delta has the shape of the feature maps, \(1"):
        conv_backprop.kernel_gradient(np.ones(wrong), a, k=3)
    if len(wrong) != 4:
        with pytest.raises(ValueError, match=r"delta is \(N, maps, H_out, W_out\); got \(1, 12\)"):
            conv_backprop.tied_bias_gradient(np.ones(wrong))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"stride": 0}, "k and stride are 1 or more, padding 0; got k=3, stride=0"),
        ({"padding": -1}, "k and stride are 1 or more, padding 0; got .*padding=-1"),
        ({"border": "edge"}, "border is one of constant, wrap, reflect; got edge"),
        ({"border": "bogus"}, "border is one of constant, wrap, reflect; got bogus"),
    ],
)
def test_both_ways_refuse_the_same_settings(settings: dict[str, Any], rule: str) -> None:
    a, w, delta = np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3))
    with pytest.raises(ValueError, match=rule):
        convolution.convolve(a, w, b=np.zeros(3), **settings)
    with pytest.raises(ValueError, match=rule):
        conv_backprop.hidden_error(delta, w, slope=a, **settings)
    with pytest.raises(ValueError, match=rule):
        conv_backprop.kernel_gradient(delta, a, k=3, **settings)


def test_the_way_back_refuses_a_kernel_larger_than_the_image() -> None:
    w, slope, nothing = np.ones((1, 1, 6, 6)), np.ones((1, 1, 5, 5)), np.ones((1, 1, 0, 0))
    with pytest.raises(ValueError, match="the kernel fits into the padded image; got kernel 6"):
        conv_backprop.hidden_error(nothing, w, slope=slope)
    with pytest.raises(ValueError, match=r"padding of border 'reflect' lies in 0\.\.0; got 2"):
        conv_backprop.pad_backward(slope, 2, border="reflect")
