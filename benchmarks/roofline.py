"""How near the training of `cnn` comes to what the processor could do with its layers.

    python -m benchmarks.roofline [--threads 2] [--image-size 64] [--batch-size 32]

A layer cannot be quicker than its arithmetic at the peak, nor than its traffic at the bandwidth;
the roofline of a step is the sum over layers, forward and backward, of the slower of the two. Peak
and bandwidth are measured in the same run and on as many threads: a product of matrices of side
2048, and a copy of arrays that no cache holds. Measured are steps of the training loop: forward,
loss, backward, update; and, apart, with the augmentation of their images.

Counted, in float32, for a layer that maps x to y with weights w: a convolution or dense layer takes
2 operations a product forward and 4 backward (2 where x needs no gradient), and moves x, y, w
forward, x, y, w and both gradients backward; batch norm reads x twice and writes y, and backward
reads x and the gradient twice and writes one; ReLU in place, the sum of a shortcut, and pooling
move what they read and write; the update reads weight, gradient and moment, and writes two.
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
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import Tail
from veduta.networks.presets import resolved
from veduta.runtime.streams import mix
from veduta.training.loop import Training
from veduta.training.state import Examples
from veduta.tuning.executors.serial import Way, fresh_network

SIDE, COPIED = 2048, 2**26  # of matrices; float32 numbers in an array
NUMBER = 4  # bytes
CLASSES, IMAGES = 6, 640
Work = tuple[float, float]
"""Operations and bytes of one layer, one step."""


def best(act: Callable[[], object], times: int = 7) -> float:
    """Seconds of the quickest of several."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        found.append(time.perf_counter() - started)
    return min(found)


def machine() -> tuple[float, float]:
    """Operations and bytes a second, on the threads that torch has now."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    torch.mm(a, b)
    source, target = torch.rand(COPIED), torch.empty(COPIED)
    peak = 2 * SIDE**3 / best(lambda: torch.mm(a, b))
    return peak, 2 * NUMBER * COPIED / best(lambda: target.copy_(source))


def layers(network: nn.Module, pixels: Tensor) -> list[Work]:
    """Operations and bytes of every layer of a step, forward and backward."""
    found: list[Work] = []

    def product(layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor, *, first: bool) -> None:
        x, w = inputs[0].numel(), sum(p.numel() for p in layer.parameters())
        each = layer.weight[0].numel()  # type: ignore[index]
        operations = y.numel() * each * (4 if first else 6)
        moved = (x + y.numel() + w) + (x + y.numel() + w) + (0 if first else x) + w
        found.append((operations, moved * NUMBER))

    def passing(_: nn.Module, inputs: tuple[Tensor, ...], y: Tensor, *, reads: float) -> None:
        found.append((0.0, reads * max(inputs[0].numel(), y.numel()) * NUMBER))

    handles, first = [], True
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            handles.append(module.register_forward_hook(partial(product, first=first)))
            first = False
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_hook(partial(passing, reads=3 + 5)))
        elif isinstance(module, (nn.ReLU, ResidualBlock)):
            handles.append(module.register_forward_hook(partial(passing, reads=2 + 3)))
        elif isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            handles.append(module.register_forward_hook(partial(passing, reads=1.25 + 1.25)))
    network(pixels)
    for handle in handles:
        handle.remove()
    weights = sum(p.numel() for p in network.parameters())
    found.append((0.0, 5.0 * weights * NUMBER))
    return found


def main() -> None:
    """Measure the machine and the loop by turns, and print shares."""
    from veduta.runtime.process import prepare

    prepare()
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    wanted = {"model": "cnn", "image_size": given.image_size, "batch_size": given.batch_size}
    settings = resolved(Settings(**wanted, epochs=100), {*wanted, "epochs"})
    model = model_of(settings)
    backbone = build_backbone(model, "none", image_size=settings.image_size, cache=None)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    size = given.image_size
    pixels = torch.from_numpy(generator.integers(0, 256, (IMAGES, size, size, 3), np.uint8))
    labels = torch.from_numpy(generator.integers(0, CLASSES, IMAGES))
    keys = mix(np.arange(IMAGES, dtype=np.uint64))
    way = Way(CLASSES, Tail(model, backbone.network, 0))
    rates = {}
    for name, augment in (("plain pixels", ()), ("augmented", settings.augment)):
        train = Examples(pixels, labels, keys, augment=augment)
        training = Training(fresh_network(settings, train, way), train, settings)
        training.finish_epoch()
        seconds = []
        for _ in range(5):
            training.next_epoch()
            started = time.perf_counter()
            training.finish_epoch()
            seconds.append(time.perf_counter() - started)
        rates[name] = IMAGES / min(seconds)
    peak, bandwidth = machine()
    network = fresh_network(settings, Examples(pixels, labels, keys), way)
    work = layers(network, pixels[: given.batch_size])
    roof = given.batch_size / sum(max(o / peak, b / bandwidth) for o, b in work)
    operations = sum(o for o, _ in work) / given.batch_size
    bound = sum(max(o / peak, b / bandwidth) for o, b in work if b / bandwidth > o / peak)
    share = bound * roof / given.batch_size
    print(
        f"{given.threads} threads: peak {peak / 1e9:.0f} GF/s, copies {bandwidth / 1e9:.1f} GB/s\n"
        f"cnn at {size} px: {operations / 1e9:.3f} GFLOP an image and step; roofline {roof:.0f} "
        f"images/s, {share:.0%} of it bound by traffic"
    )
    for name, rate in rates.items():
        print(
            f"{name:13} {rate:6.0f} images/s, {rate / roof:.0%} of the roofline, "
            f"{rate * operations / 1e9:.0f} GF/s"
        )


if __name__ == "__main__":
    main()
