"""Engines that run a frozen backbone: selection, speed measurement and agreement check."""

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.errors import EngineError
from veduta.features.openvino_engine import (
    F32,
    INT8,
    OPENVINO,
    OpenVINOEngine,
    Pixels,
    Progress,
    Rows,
    openvino_version,
    require_openvino,
)
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import Network
from veduta.runtime.environment import installed, is_x86

REFERENCE = "torch f32"
AGREEMENT_IMAGES = 16  # that are compared
ROUNDING = 1e-3  # what the order of float32 sums may make of a row; more is another network


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two tables of features of the same images, compared row by row.

    Attributes:
        images: how many were compared.
        largest_difference: max_i |a_i - r_i| / |r_i|, the distance as a share of the row's length.
        smallest_cosine: min_i a_i . r_i / (|a_i| |r_i|): 1 where the directions agree.
    """

    images: int
    largest_difference: float
    smallest_cosine: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the reference is named."""
        return {"reference": REFERENCE, **asdict(self)}


def agreement(features: NDArray[np.float32], reference: NDArray[np.float32]) -> Agreement:
    """Compare features (n, D) of an engine with those of the reference, n above 0.

    Where a row of the reference is zero, its difference is 0 or 1 and its cosine 1 or 0: whether
    the other row is zero too.

    >>> agreement(np.array([[3.0, 4.0]]), np.array([[3.0, 0.0]])).smallest_cosine
    0.6
    """
    a, r = (x.reshape(len(x), -1).astype(np.float64) for x in (features, reference))
    own, length = np.linalg.norm(a, axis=1), np.linalg.norm(r, axis=1)
    distance = np.linalg.norm(a - r, axis=1)
    both = own * length
    same = (distance == 0).astype(np.float64)
    difference = np.where(length > 0, distance / np.where(length > 0, length, 1), 1 - same)
    cosine = np.where(both > 0, (a * r).sum(1) / np.where(both > 0, both, 1), same)
    return Agreement(len(a), float(difference.max()), float(min(cosine.min(), 1.0)))


Setting = Literal["auto", "fastest", "torch", "openvino"]
Precision = Literal["f32", "int8"]

TORCH, FASTEST = "torch", "fastest"
BATCH = {"cpu": 16, "cuda": 64}
GLOBAL_SETTINGS = threading.Lock()  # held while torch's thread count and cuDNN flags are changed
BATCH_SIDE = 512  # pixels: of larger images fewer are in a batch; EfficientNet-Lite0 takes 2.5 GB


class Engine(Protocol):
    """Runs one backbone."""

    @property
    def name(self) -> str:
        """`torch` or `openvino`."""
        ...

    @property
    def version(self) -> str:
        """Of the library, and the device that it runs on."""
        ...

    @property
    def precision(self) -> str:
        """Of the arithmetic."""
        ...

    def features(self, pixels: Pixels, out: Rows, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, ...).

        `progress` is called with the number of images done since the last call.
        """
        ...


def choose_engine(setting: Setting, precision: Precision = F32) -> str:
    """The engine that a setting means here; `auto` is a fixed rule, never a stopwatch.

    With a CUDA device torch; else OpenVINO on an x86 processor where it is installed; else torch.
    In int8 there is OpenVINO alone. `fastest` stays what it is where there are `candidates`.

    Raises:
        EngineError: the engine asked for is not installed, or does not have this precision.
    """
    if precision == INT8:
        _require_int8(setting)
        return OPENVINO
    if setting == OPENVINO:
        require_openvino()
    if setting == FASTEST and len(candidates()) == 1:
        return candidates()[0]
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return TORCH
    return candidates()[0]


def candidates() -> tuple[str, ...]:
    """The engines that `fastest` chooses among: those installed whose kernels are at home here."""
    return (OPENVINO, TORCH) if installed(OPENVINO) and is_x86() else (TORCH,)


def _require_int8(setting: Setting) -> None:
    if setting == TORCH:
        raise EngineError(
            "precision=int8 needs OpenVINO; got engine=torch: choose engine=openvino, or "
            "precision=f32"
        )
    if missing := [package for package in (OPENVINO, "nncf") if not installed(package)]:
        raise EngineError(
            f"precision=int8 needs the packages openvino and nncf; {' and '.join(missing)} not "
            "installed; pip install 'veduta[int8]', or choose precision=f32"
        )


def engine_version(name: str) -> str:
    """Version and device of an engine, known without opening it: part of a feature's key."""
    return openvino_version() if name == OPENVINO else f"{torch.__version__} {_device()}"


def open_engine(
    name: str, backbone: Backbone, *, threads: int, network: Network | None = None
) -> Engine:
    """The engine called `name`, ready to run `backbone` on `threads` threads.

    With `network`, the backbone quantised, it is OpenVINO that runs, in int8.

    Raises:
        EngineError: it is not installed.
    """
    if name == TORCH and network is None:
        return TorchEngine(backbone, threads)
    return OpenVINOEngine(backbone, threads, network)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class TorchEngine:
    """Eager torch, channels last, in batches whose size the image size alone decides."""

    name: Final = TORCH
    precision: Final = F32

    def __init__(self, backbone: Backbone, threads: int) -> None:
        self.version = engine_version(TORCH)
        self._device = _device()
        self._room = BATCH[self._device] * BATCH_SIDE**2  # pixels in a batch
        self._threads = threads
        # a copy: the caller's tensors keep their layout, which files of weights need
        own = copy.deepcopy(backbone).to(self._device)
        self._backbone = own.to(memory_format=torch.channels_last)

    def features(self, pixels: Pixels, out: Rows, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, ...).

        Threads may call it at the same time; one batch is computed at a time, on all its threads.
        """
        size = max(1, min(BATCH[self._device], self._room // pixels.shape[1] ** 2))
        batch = torch.zeros((size, *pixels.shape[1:]), dtype=torch.uint8)
        for start in range(0, len(pixels), size):
            count = min(size, len(pixels) - start)
            batch.numpy()[:count] = pixels[start : start + count]
            with (
                GLOBAL_SETTINGS,
                _torch_threads(self._threads),
                _full_precision(),
                torch.inference_mode(),
            ):
                rows = self._backbone(batch.to(self._device))
                out[start : start + count] = rows[:count].cpu().numpy()
            progress(count)


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 in convolutions, and the same algorithm every time; no effect on a CPU."""
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        yield


SPEED_IMAGES = 16  # a pass: torch's batch on a processor
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
        pixels: uint8 (n, S, S, 3), n above 0; repeated or cut to `SPEED_IMAGES`.
        threads: how many they may use.
        clock: tells seconds.
    """
    batch = np.resize(pixels, (SPEED_IMAGES, *pixels.shape[1:]))
    out = np.empty((SPEED_IMAGES, *backbone.shape), dtype=np.float32)
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
        rates[name] = SPEED_IMAGES / best
    return rates
