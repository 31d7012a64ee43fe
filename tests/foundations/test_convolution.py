"""Convolution (28)-(30), its backward pass (32)-(36), and the standard kernels."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.foundations.helpers import (
    assert_autograd,
    assert_gradient,
    assert_same,
    draw_normal,
    few_examples,
    to_tensor,
)
from veduta.foundations import conv_backprop, convolution
from veduta.foundations import convolution as kernels
from veduta.foundations.arrays import Array
from veduta.foundations.convolution import Border

TORCH_MODE = {"constant": "constant", "wrap": "circular", "reflect": "reflect"}
SIZES = st.integers(1, 3)


@st.composite
def draw_cases(draw: st.DrawFn) -> dict[str, Any]:
    k, padding = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    lowest = max(k - 2 * padding, padding + 1, 1)
    return {
        "k": k,
        "padding": padding,
        "stride": draw(st.integers(1, 3)),
        "border": draw(st.sampled_from(list(TORCH_MODE))),
        "shape": (
            draw(SIZES),
            draw(SIZES),
            draw(st.integers(lowest, 7)),
            draw(st.integers(lowest, 7)),
        ),
        "maps": draw(SIZES),
    }


def convolve_with_torch(
    a: torch.Tensor, w: torch.Tensor, b: torch.Tensor, case: dict[str, Any]
) -> torch.Tensor:
    """Convolve with PyTorch, which computes a cross-correlation and needs the rotated kernel."""
    padded = functional.pad(a, [case["padding"]] * 4, mode=TORCH_MODE[case["border"]])
    z = functional.conv2d(padded, torch.flip(w, (2, 3)), stride=case["stride"])
    return z + (b if b.ndim == 3 else b[:, None, None])


@few_examples
@given(case=draw_cases(), untied=st.booleans())
def test_convolution_and_its_gradients_agree_with_pytorch(
    case: dict[str, Any], untied: bool
) -> None:
    a, w = (
        draw_normal(0, *case["shape"]),
        draw_normal(1, case["maps"], case["shape"][1], case["k"], case["k"]),
    )
    settings = {name: case[name] for name in ("stride", "padding", "border")}
    sizes = [
        convolution.output_size(n, case["k"], padding=case["padding"], stride=case["stride"])
        for n in case["shape"][2:]
    ]
    b = draw_normal(2, case["maps"], *sizes) if untied else draw_normal(2, case["maps"])
    g = draw_normal(3, case["shape"][0], case["maps"], *sizes)
    assert_same(
        convolution.convolve(a, w, b=b, **settings),
        convolve_with_torch(to_tensor(a), to_tensor(w), to_tensor(b), case),
    )
    hidden = conv_backprop.hidden_error(g, w, slope=1 - np.tanh(a) ** 2, **settings)
    assert_autograd(
        hidden,
        lambda z: (
            to_tensor(g) * convolve_with_torch(torch.tanh(z), to_tensor(w), to_tensor(b), case)
        ),
        a,
    )
    gradient = conv_backprop.kernel_gradient(g, a, k=case["k"], **settings)
    assert_autograd(
        gradient,
        lambda w_: to_tensor(g) * convolve_with_torch(to_tensor(a), w_, to_tensor(b), case),
        w,
    )
    bias = conv_backprop.bias_gradient(g) if untied else conv_backprop.tied_bias_gradient(g)
    assert_autograd(
        bias, lambda b_: to_tensor(g) * convolve_with_torch(to_tensor(a), to_tensor(w), b_, case), b
    )


@pytest.mark.parametrize("border", TORCH_MODE)
def test_hidden_error_and_kernel_gradient_agree_with_central_differences(border: Border) -> None:
    a, w, g = draw_normal(0, 2, 2, 5, 6), draw_normal(1, 3, 2, 3, 3), draw_normal(2, 2, 3, 3, 3)
    settings: dict[str, Any] = {"stride": 2, "padding": 1, "border": border}

    def cost(a_: Array, w_: Array) -> Array:
        return np.asarray(g * convolution.convolve(a_, w_, b=np.zeros(3), **settings))

    hidden = conv_backprop.hidden_error(g, w, slope=np.ones_like(a), **settings)
    assert_gradient(hidden, lambda x: cost(x, w), a)
    assert_gradient(conv_backprop.kernel_gradient(g, a, k=3, **settings), lambda x: cost(a, x), w)
    by_definition = conv_backprop.error_by_definition(lambda x: float(cost(x, w).sum()), a)
    assert by_definition == pytest.approx(hidden, abs=1e-6)


@few_examples
@given(height=st.integers(3, 7), width=st.integers(3, 7), k=st.integers(1, 3))
def test_explicit_sums_agree_with_the_convolution_form(height: int, width: int, k: int) -> None:
    w, slope = draw_normal(0, k, k), draw_normal(1, height, width)
    delta = draw_normal(2, height - k + 1, width - k + 1)
    batched = [x[None, None] for x in (delta, w, slope)]
    by_sums = conv_backprop.hidden_error_by_sums(delta, w, slope=slope)
    assert_same(by_sums, conv_backprop.hidden_error(batched[0], batched[1], slope=batched[2])[0, 0])


@few_examples
@given(m=st.integers(1, 6), n=st.integers(1, 6), k=st.integers(1, 4))
def test_discrete_convolution_agrees_with_scipy_and_convolve(m: int, n: int, k: int) -> None:
    from scipy.signal import convolve2d

    f, g, weights = draw_normal(0, m, n), draw_normal(1, k, k), draw_normal(2, m, n)
    computed = convolution.convolve_discrete(f, g, weights=weights)
    assert_same(computed, convolve2d(weights * f, g, mode="full"))
    padded = np.pad(f, k - 1)[None, None]
    full = convolution.convolve(padded, g[None, None], b=np.zeros(1))[0, 0]
    assert_same(convolution.convolve_discrete(f, g), full)


def test_convolving_a_box_with_itself_gives_a_triangle() -> None:
    def box(t: Array) -> Array:
        return np.where(np.abs(t) <= 0.5, 1.0, 0.0)

    x, tau = np.linspace(-1.5, 1.5, 13), np.linspace(-2, 2, 40001)
    computed = convolution.convolve_functions(box, box, x=x, tau=tau)
    assert computed == pytest.approx(np.maximum(1 - np.abs(x), 0), abs=1e-3)


def test_parameter_counts_and_sizes_of_the_reports_examples() -> None:
    assert convolution.parameter_count(7, 1, 3) == 70
    assert convolution.parameter_count(7, 3, 3) == 196
    size = convolution.output_size(50, 3)
    assert size == 48
    # untied bias: 7 kernels of 9 weights, and 48 x 48 biases for each of 7 maps
    assert convolution.parameter_count(7, 1, 3, biases=size**2) == 63 + 16128 == 16191


def test_alexnet_has_the_number_of_weights_stated_in_the_report() -> None:
    """Three of its five convolutions use only half of the input maps."""
    layers = [(96, 3, 11), (256, 48, 5), (384, 256, 3), (384, 192, 3), (256, 192, 3)]
    convolutional = sum(convolution.parameter_count(*layer, biases=0) for layer in layers)
    dense = 256 * 6 * 6 * 4096 + 4096 * 4096 + 4096 * 1000
    assert convolutional + dense == 60_954_656


@few_examples
@given(
    width=st.integers(1, 30),
    k=st.integers(1, 9),
    padding=st.integers(0, 3),
    stride=st.integers(1, 4),
)
def test_output_size_equals_the_number_of_positions(
    width: int, k: int, padding: int, stride: int
) -> None:
    positions = len(range(0, width + 2 * padding - k + 1, stride))
    if positions:
        assert convolution.output_size(width, k, padding=padding, stride=stride) == positions
    else:
        with pytest.raises(ValueError, match=f"got kernel {k}, image {width}"):
            convolution.output_size(width, k, padding=padding, stride=stride)


def test_pad_backward_is_the_adjoint_of_pad() -> None:
    """<pad(x), y> = <x, pad_backward(y)> for every border."""
    x, y = draw_normal(0, 1, 1, 4, 5), draw_normal(1, 1, 1, 8, 9)
    for border in TORCH_MODE:
        padded = (convolution.pad(x, 2, border) * y).sum()  # type: ignore[arg-type]
        pulled_back = (x * conv_backprop.pad_backward(y, 2, border=border)).sum()  # type: ignore[arg-type]
        assert padded == pytest.approx(pulled_back)


def test_kernels_respond_to_constant_regions_and_edges_as_documented() -> None:
    constant, step = np.ones((1, 1, 9, 9)), np.zeros((1, 1, 9, 9))
    step[..., 5:] = 1.0
    for name, kernel in kernels.named_kernels().items():
        total = kernel.sum()
        assert total == pytest.approx(
            0 if name in {"Sobel", "Prewitt", "Laplacian", "Gabor"} else 1
        )
        response = convolution.convolve(constant, kernel[None, None], b=np.zeros(1))
        assert response == pytest.approx(np.full(response.shape, total))
    horizontal = convolution.convolve(step, kernels.sobel()[None, None], b=np.zeros(1))
    assert horizontal[0, 0, 0].tolist() == [0, 0, 0, 4, 4, 0, 0]
    vertical = convolution.convolve(step, kernels.sobel().T[None, None], b=np.zeros(1))
    assert not vertical.any()
    assert kernels.gabor() == pytest.approx(kernels.gabor(degrees=90).T)


def test_invalid_arguments_are_refused() -> None:
    a, w, b = np.zeros((1, 2, 5, 5)), np.zeros((3, 2, 3, 3)), np.zeros(3)
    with pytest.raises(ValueError, match="must fit into the padded image; got kernel 7, image 5"):
        convolution.convolve(a, np.zeros((3, 2, 7, 7)), b=b)
    with pytest.raises(ValueError, match=r"w \(maps, channels, k, k\); got \(1, 2, 5, 5\) and"):
        convolution.convolve(a, w[:, :1], b=b)
    with pytest.raises(
        ValueError, match=r"b must be tied \(3,\) or untied \(3, 3, 3\); got \(2,\)"
    ):
        convolution.convolve(a, w, b=b[:2])
    with pytest.raises(ValueError, match="stride=0"):
        convolution.convolve(a, w, b=b, stride=0)
    with pytest.raises(
        ValueError, match=r"padding with border 'reflect' must lie in 0\.\.4; got 5"
    ):
        convolution.convolve(a, w, b=b, padding=5, border="reflect")
    with pytest.raises(ValueError, match="border must be one of constant, wrap, reflect; got edge"):
        convolution.pad(a, 1, "edge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must be"):
        convolution.extract_patches(a[0], 3)
    with pytest.raises(ValueError, match="tau must increase"):
        convolution.convolve_functions(np.sin, np.sin, x=b, tau=b)
    with pytest.raises(ValueError, match="maps, channels and k must be 1 or more"):
        convolution.parameter_count(0, 1, 3)
    for wrong in (np.zeros((1, 3, 2, 3)), np.zeros((1, 2, 3, 3)), np.zeros((2, 3, 3, 3))):
        with pytest.raises(ValueError, match="delta_next must have the shape"):
            conv_backprop.hidden_error(wrong, w, slope=a)
    with pytest.raises(ValueError, match=r"f must be \(m, n\) and g \(k, l\)"):
        convolution.convolve_discrete(b, b)
    with pytest.raises(ValueError, match=r"weights must be a number or \(1, 3\); got \(3,\)"):
        convolution.convolve_discrete(b[None], b[None], weights=b)
    with pytest.raises(ValueError, match=r"delta_next must be \(H - k \+ 1"):
        conv_backprop.hidden_error_by_sums(np.ones((2, 2)), np.ones((3, 3)), slope=np.ones((5, 5)))
    with pytest.raises(ValueError, match="k must be odd"):
        kernels.gabor(4)
    with pytest.raises(ValueError, match="k must be 1 or more"):
        kernels.blur(0)


@pytest.mark.parametrize(
    "wrong", [(1, 1, 3, 3), (1, 1, 4, 3), (1, 1, 12, 1), (1, 1, 2, 6), (2, 1, 3, 4), (1, 12)]
)
def test_gradients_refuse_an_error_of_another_shape(wrong: tuple[int, ...]) -> None:
    """Some of these shapes have the correct number of positions, 12 for the 3 x 4 maps here."""
    a = np.ones((1, 1, 5, 6))
    with pytest.raises(ValueError, match=r"delta must have the shape of the feature maps, \(1"):
        conv_backprop.kernel_gradient(np.ones(wrong), a, k=3)
    if len(wrong) != 4:
        with pytest.raises(
            ValueError, match=r"delta must be \(N, maps, H_out, W_out\); got \(1, 12\)"
        ):
            conv_backprop.tied_bias_gradient(np.ones(wrong))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"stride": 0}, "k and stride must be 1 or more, padding 0 or more; got k=3, stride=0"),
        ({"padding": -1}, "k and stride must be 1 or more, padding 0 or more; got .*padding=-1"),
        ({"border": "edge"}, "border must be one of constant, wrap, reflect; got edge"),
        ({"border": "bogus"}, "border must be one of constant, wrap, reflect; got bogus"),
    ],
)
def test_forward_and_backward_refuse_the_same_settings(settings: dict[str, Any], rule: str) -> None:
    a, w, delta = np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3))
    with pytest.raises(ValueError, match=rule):
        convolution.convolve(a, w, b=np.zeros(3), **settings)
    with pytest.raises(ValueError, match=rule):
        conv_backprop.hidden_error(delta, w, slope=a, **settings)
    with pytest.raises(ValueError, match=rule):
        conv_backprop.kernel_gradient(delta, a, k=3, **settings)


def test_backward_refuses_a_kernel_larger_than_the_image() -> None:
    w, slope, empty = np.ones((1, 1, 6, 6)), np.ones((1, 1, 5, 5)), np.ones((1, 1, 0, 0))
    with pytest.raises(ValueError, match="the kernel must fit into the padded image; got kernel 6"):
        conv_backprop.hidden_error(empty, w, slope=slope)
    with pytest.raises(
        ValueError, match=r"padding with border 'reflect' must lie in 0\.\.0; got 2"
    ):
        conv_backprop.pad_backward(slope, 2, border="reflect")
