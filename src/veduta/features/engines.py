"""Inference engines that run a frozen backbone: selection, speed measurement, agreement check."""

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
import torch

from veduta.errors import EngineError
from veduta.features.openvino_engine import (
    F32,
    INT8,
    OPENVINO,
    OpenVINOEngine,
    get_openvino_version,
    require_openvino,
)
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import IntermediateRepresentation
from veduta.runtime.environment import is_installed, is_x86
from veduta.runtime.process import use_torch_threads
from veduta.types import Float32Array, PixelArray, Progress, ignore_progress

Setting = Literal["auto", "fastest", "torch", "openvino"]
Precision = Literal["f32", "int8"]

TORCH, FASTEST = "torch", "fastest"
BATCH_SIZE = {"cpu": 16, "cuda": 64}
BATCH_SIDE = 512  # pixels; batches of larger images are smaller (EfficientNet-Lite0 needs 2.5 GB)
GLOBAL_SETTINGS = threading.Lock()  # held while torch's thread count and cuDNN flags are changed


class Engine(Protocol):
    """Runs one backbone."""

    @property
    def name(self) -> str:
        """`torch` or `openvino`."""
        ...

    @property
    def version(self) -> str:
        """Version of the library, and the device that it runs on."""
        ...

    @property
    def precision(self) -> str:
        """Precision of the arithmetic, `f32` or `int8`."""
        ...

    def write_features(self, pixels: PixelArray, out: Float32Array, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, ...).

        `progress` is called with the number of finished images and with n.
        """
        ...


# selection


def choose_engine(setting: Setting, precision: Precision = F32) -> str:
    """Return the engine that a setting selects on this machine, by a fixed rule.

    `auto` selects torch with a CUDA device, otherwise OpenVINO on an x86 CPU if it is installed,
    otherwise torch. In int8 only OpenVINO is available. `fastest` is returned unchanged if there
    are several candidates, which the caller must measure.

    Raises:
        EngineError: the engine is not installed, or does not support the precision.
    """
    if precision == INT8:
        _require_int8(setting)
        return OPENVINO
    if setting == OPENVINO:
        require_openvino()
    if setting == FASTEST and len(list_candidate_engines()) == 1:
        return list_candidate_engines()[0]
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return TORCH
    return list_candidate_engines()[0]


def list_candidate_engines() -> tuple[str, ...]:
    """Return the engines that `fastest` measures: those installed and optimized for the CPU."""
    return (OPENVINO, TORCH) if is_installed(OPENVINO) and is_x86() else (TORCH,)


def _require_int8(setting: Setting) -> None:
    if setting == TORCH:
        raise EngineError(
            "precision=int8 needs OpenVINO; got engine=torch: choose engine=openvino, or "
            "precision=f32"
        )
    if missing := [package for package in (OPENVINO, "nncf") if not is_installed(package)]:
        raise EngineError(
            f"precision=int8 needs the packages openvino and nncf; {' and '.join(missing)} not "
            "installed: pip install 'veduta[int8]', or choose precision=f32"
        )


def get_engine_version(name: str) -> str:
    """Return the version and device of an engine, part of feature keys, without loading it."""
    return get_openvino_version() if name == OPENVINO else f"{torch.__version__} {_get_device()}"


def open_engine(
    name: str,
    backbone: Backbone,
    *,
    threads: int,
    network: IntermediateRepresentation | None = None,
) -> Engine:
    """Load an engine that runs a backbone.

    Args:
        name: `torch` or `openvino`.
        backbone: the backbone.
        threads: number of threads.
        network: the quantized backbone; with it, OpenVINO runs in int8.

    Raises:
        EngineError: the engine is not installed.
    """
    if name == TORCH and network is None:
        return TorchEngine(backbone, threads)
    return OpenVINOEngine(backbone, threads, network)


def _get_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


# torch


class TorchEngine:
    """PyTorch in eager mode, channels last, with a batch size that depends on the image size."""

    name: Final = TORCH
    precision: Final = F32

    def __init__(self, backbone: Backbone, threads: int) -> None:
        self.version = get_engine_version(TORCH)
        self._device = _get_device()
        self._max_pixels = BATCH_SIZE[self._device] * BATCH_SIDE**2  # of a batch
        self._threads = threads
        # a copy, because weight files need the memory format of the caller's tensors
        copied = copy.deepcopy(backbone).to(self._device)
        self._backbone = copied.to(memory_format=torch.channels_last)

    def write_features(self, pixels: PixelArray, out: Float32Array, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, ...).

        Several threads may call it at the same time; one batch is computed at a time, by all
        threads of the engine.
        """
        size = max(1, min(BATCH_SIZE[self._device], self._max_pixels // pixels.shape[1] ** 2))
        batch = torch.zeros((size, *pixels.shape[1:]), dtype=torch.uint8)
        for start in range(0, len(pixels), size):
            count = min(size, len(pixels) - start)
            batch.numpy()[:count] = pixels[start : start + count]
            with (
                GLOBAL_SETTINGS,
                use_torch_threads(self._threads),
                _use_full_precision(),
                torch.inference_mode(),
            ):
                features = self._backbone(batch.to(self._device))
                out[start : start + count] = features[:count].cpu().numpy()
            progress(start + count, len(pixels))


@contextmanager
def _use_full_precision() -> Iterator[None]:
    """Disable TF32 in convolutions and use deterministic algorithms; no effect on a CPU."""
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        yield


# speed

SPEED_IMAGES = 16  # images per pass; the batch size of torch on a CPU
MAX_PASSES = 3  # the fastest pass counts, because disturbances only make a pass slower
MAX_SECONDS = 1.0  # no further pass is started after this time

Clock = Callable[[], float]


def measure_speeds(
    names: Sequence[str],
    backbone: Backbone,
    pixels: PixelArray,
    *,
    threads: int,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Measure the images per second of each engine, excluding loading and a warm-up pass.

    Args:
        names: engines that are installed.
        backbone: the backbone that they run.
        pixels: uint8 (n, S, S, 3), n > 0; repeated or cut to `SPEED_IMAGES` images.
        threads: number of threads.
        clock: returns the time in seconds.
    """
    batch = np.resize(pixels, (SPEED_IMAGES, *pixels.shape[1:]))
    out = np.empty((SPEED_IMAGES, *backbone.shape), dtype=np.float32)
    speeds = {}
    for name in names:
        engine = open_engine(name, backbone, threads=threads)
        engine.write_features(batch, out, ignore_progress)
        first_start = clock()
        shortest = float("inf")
        for _ in range(MAX_PASSES):
            start = clock()
            engine.write_features(batch, out, ignore_progress)
            shortest = min(shortest, clock() - start)
            if clock() - first_start > MAX_SECONDS:
                break
        speeds[name] = SPEED_IMAGES / shortest
    return speeds


# agreement

REFERENCE = "torch f32"
AGREEMENT_IMAGES = 16  # number of images that are compared
ROUNDING = 1e-3  # maximum relative difference that rounding of float32 sums may cause


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two tables of features of the same images, compared row by row.

    Attributes:
        images: number of images.
        max_relative_difference: max_i |a_i - r_i| / |r_i|.
        min_cosine_similarity: min_i a_i . r_i / (|a_i| |r_i|); 1 if the directions agree.
    """

    images: int
    max_relative_difference: float
    min_cosine_similarity: float


def compare_features(features: Float32Array, reference: Float32Array) -> Agreement:
    """Compare features (n, D) of an engine with those of the reference, n > 0.

    If a row of the reference is zero, the row agrees if it is zero too: difference 0 and cosine
    similarity 1; otherwise they are 1 and 0.

    >>> compare_features(np.float32([[3, 4]]), np.float32([[3, 0]])).min_cosine_similarity
    0.6
    """
    a, r = (x.reshape(len(x), -1).astype(np.float64) for x in (features, reference))
    norms, reference_norms = np.linalg.norm(a, axis=1), np.linalg.norm(r, axis=1)
    distance = np.linalg.norm(a - r, axis=1)
    products = norms * reference_norms
    equal = (distance == 0).astype(np.float64)
    divisor = np.where(reference_norms > 0, reference_norms, 1)
    difference = np.where(reference_norms > 0, distance / divisor, 1 - equal)
    divisor = np.where(products > 0, products, 1)
    cosine = np.where(products > 0, (a * r).sum(1) / divisor, equal)
    return Agreement(len(a), float(difference.max()), float(min(cosine.min(), 1.0)))
