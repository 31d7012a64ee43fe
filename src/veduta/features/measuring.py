"""Which engine is fastest here: a stopwatch, used once a run, whose verdict is written down."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from veduta.features.engines import open_engine
from veduta.features.openvino_engine import Pixels
from veduta.models.backbones import Backbone

IMAGES = 16  # a pass: torch's batch on a processor
PASSES = 3  # at most: the best counts, for what disturbs a measurement only slows it
ENOUGH = 1.0  # seconds after which no further pass starts

Clock = Callable[[], float]


def measure(
    names: Sequence[str],
    backbone: Backbone,
    pixels: Pixels,
    *,
    threads: int,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Images a second of each engine, its opening and a first pass not counted.

    Args:
        names: engines that are installed.
        backbone: what they run.
        pixels: uint8 (n, S, S, 3), n above 0; repeated or cut to `IMAGES`.
        threads: how many they may use.
        clock: tells seconds.
    """
    batch = np.resize(pixels, (IMAGES, *pixels.shape[1:]))
    out = np.empty((IMAGES, *backbone.shape), dtype=np.float32)
    rates = {}
    for name in names:
        engine = open_engine(name, backbone, threads=threads)
        engine.features(batch, out, lambda _: None)
        begun = clock()
        best = float("inf")
        for _ in range(PASSES):
            started = clock()
            engine.features(batch, out, lambda _: None)
            best = min(best, clock() - started)
            if clock() - begun > ENOUGH:
                break
        rates[name] = IMAGES / best
    return rates
