"""Compare the training of `cnn` with the roofline of the CPU for its layers.

    python -m benchmarks.roofline [--threads 2] [--image-size 64] [--batch-size 32]

A layer cannot be faster than its arithmetic at peak rate or its memory traffic at full bandwidth;
the roofline of a step is the sum over layers, forward and backward, of the slower of the two. Peak
rate and bandwidth are measured in the same run with the same threads: a product of matrices of size
2048, and a copy of arrays larger than any cache. The measured steps are those of the training loop:
forward, loss, backward, update; and separately with the augmentation of their images.

Counted in float32, for a layer that maps x to y with weights w: a convolution or dense layer takes
2 operations per product forward and 4 backward (2 if x needs no gradient), and moves x, y, w
forward, x, y, w and both gradients backward; batch normalization reads x twice and writes y, its
backward pass reads x and the gradient twice and writes one; ReLU in place, the sum of a shortcut,
and pooling move their inputs and outputs; the update reads weight, gradient and moment, and writes
two of them.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from veduta.config.settings import Settings
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.builtin import ResidualBlock
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.freezing import Tail
from veduta.networks.presets import resolve_presets
from veduta.runtime.streams import mix_bits
from veduta.training.examples import Examples
from veduta.training.loop import Training
from veduta.tuning.executors.serial import TrainingContext, build_network

SIDE, COPIED = 2048, 2**26  # size of the matrices; length of the float32 arrays
FLOAT_BYTES = 4
CLASSES, IMAGES = 6, 640
Work = tuple[float, float]
"""Operations and bytes of one layer in one step."""


def measure_fastest(act: Callable[[], object], times: int = 7) -> float:
    """Return the seconds of the fastest of several calls."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure_machine() -> tuple[float, float]:
    """Return operations and bytes per second with the current number of torch's threads."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    torch.mm(a, b)
    source, target = torch.rand(COPIED), torch.empty(COPIED)
    peak = 2 * SIDE**3 / measure_fastest(lambda: torch.mm(a, b))
    return peak, 2 * FLOAT_BYTES * COPIED / measure_fastest(lambda: target.copy_(source))


def count_work(network: nn.Module, pixels: Tensor) -> list[Work]:
    """Count operations and bytes of every layer of a step, forward and backward."""
    work: list[Work] = []

    def count_product(
        layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor, *, first: bool
    ) -> None:
        x, w = inputs[0].numel(), sum(p.numel() for p in layer.parameters())
        fan_in = layer.weight[0].numel()  # type: ignore[index]
        operations = y.numel() * fan_in * (4 if first else 6)
        moved = (x + y.numel() + w) + (x + y.numel() + w) + (0 if first else x) + w
        work.append((operations, moved * FLOAT_BYTES))

    def count_traffic(_: nn.Module, inputs: tuple[Tensor, ...], y: Tensor, *, reads: float) -> None:
        work.append((0.0, reads * max(inputs[0].numel(), y.numel()) * FLOAT_BYTES))

    handles, first = [], True
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            handles.append(module.register_forward_hook(partial(count_product, first=first)))
            first = False
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_hook(partial(count_traffic, reads=3 + 5)))
        elif isinstance(module, (nn.ReLU, ResidualBlock)):
            handles.append(module.register_forward_hook(partial(count_traffic, reads=2 + 3)))
        elif isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            handles.append(module.register_forward_hook(partial(count_traffic, reads=1.25 + 1.25)))
    network(pixels)
    for handle in handles:
        handle.remove()
    weights = sum(p.numel() for p in network.parameters())
    work.append((0.0, 5.0 * weights * FLOAT_BYTES))
    return work


def main() -> None:
    """Measure the machine and the training loop; print the fractions of the roofline."""
    from veduta.runtime.process import prepare_process

    prepare_process()
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    values = {"model": "cnn", "image_size": options.image_size, "batch_size": options.batch_size}
    settings = resolve_presets(Settings(**values, epochs=100), {*values, "epochs"})
    model = resolve_model(settings)
    backbone = build_backbone(model, "none", image_size=settings.image_size, cache=None)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    size = options.image_size
    pixels = torch.from_numpy(generator.integers(0, 256, (IMAGES, size, size, 3), np.uint8))
    labels = torch.from_numpy(generator.integers(0, CLASSES, IMAGES))
    keys = mix_bits(np.arange(IMAGES, dtype=np.uint64))
    context = TrainingContext(CLASSES, Tail(model, backbone.network, 0))
    rates = {}
    for name, augment in (("plain pixels", ()), ("augmented", settings.augment)):
        train = Examples(pixels, labels, keys, augment=augment)
        training = Training(build_network(settings, train, context), train, settings)
        training.finish_epoch()
        seconds = []
        for _ in range(5):
            training.start_next_epoch()
            started = time.perf_counter()
            training.finish_epoch()
            seconds.append(time.perf_counter() - started)
        rates[name] = IMAGES / min(seconds)
    peak, bandwidth = measure_machine()
    network = build_network(settings, Examples(pixels, labels, keys), context)
    work = count_work(network, pixels[: options.batch_size])
    roof = options.batch_size / sum(max(o / peak, b / bandwidth) for o, b in work)
    operations = sum(o for o, _ in work) / options.batch_size
    bound = sum(max(o / peak, b / bandwidth) for o, b in work if b / bandwidth > o / peak)
    share = bound * roof / options.batch_size
    print(
        f"{options.threads} threads: peak {peak / 1e9:.0f} GF/s, copy {bandwidth / 1e9:.1f} GB/s\n"
        f"cnn at {size} px: {operations / 1e9:.3f} GFLOP per image and step; roofline {roof:.0f} "
        f"images/s, {share:.0%} of it limited by memory traffic"
    )
    for name, rate in rates.items():
        print(
            f"{name:13} {rate:6.0f} images/s, {rate / roof:.0%} of the roofline, "
            f"{rate * operations / 1e9:.0f} GF/s"
        )


if __name__ == "__main__":
    main()
