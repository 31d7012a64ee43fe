"""What runs a frozen backbone: torch anywhere, OpenVINO on x86 processors, where it is faster.

Either way an image's features are a pure function of the image: they do not depend on which other
images are in the batch, on how many there are, or on the number of threads. OpenVINO gets one
image at a time on one thread, as many at once as there are threads (measured: as fast as batches);
torch gets batches of one fixed size, the last one filled up.
"""

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.errors import EngineError
from veduta.models.backbones import Backbone
from veduta.runtime.environment import installed, is_x86

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]
Progress = Callable[[int], None]
Setting = Literal["auto", "torch", "openvino"]

TORCH, OPENVINO = "torch", "openvino"
BATCH = {"cpu": 16, "cuda": 64}
REPORT = 32  # images between two calls of progress


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
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, D).

        `progress` is called with the number of images done since the last call.
        """
        ...


def choose_engine(setting: Setting) -> str:
    """The engine that a setting means here; `auto` is a fixed rule, never a stopwatch.

    With a CUDA device torch; else OpenVINO on an x86 processor where it is installed; else torch.

    Raises:
        EngineError: the engine asked for is not installed.
    """
    if setting == OPENVINO and not installed("openvino"):
        raise EngineError(
            "engine=openvino needs the package openvino, which is not installed; "
            "pip install 'veduta[openvino]', or choose engine=torch"
        )
    if setting != "auto":
        return setting
    if torch.cuda.is_available():
        return TORCH
    return OPENVINO if installed("openvino") and is_x86() else TORCH


def engine_version(name: str) -> str:
    """Version and device of an engine, known without opening it: part of a feature's key."""
    return version("openvino") + " cpu" if name == OPENVINO else f"{torch.__version__} {_device()}"


def open_engine(name: str, backbone: Backbone, *, threads: int) -> Engine:
    """The engine called `name`, ready to run `backbone` on `threads` threads.

    Raises:
        EngineError: it is not installed.
    """
    if name == TORCH:
        return TorchEngine(backbone, threads)
    choose_engine(OPENVINO)
    return OpenVINOEngine(backbone, threads)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class TorchEngine:
    """Eager torch, channels last, in batches of one fixed size."""

    name: Final = TORCH
    precision: Final = "f32"

    def __init__(self, backbone: Backbone, threads: int) -> None:
        self.version = engine_version(TORCH)
        self._device = _device()
        self._threads = threads
        # a copy: the caller's tensors keep their layout, which files of weights need
        own = copy.deepcopy(backbone).to(self._device)
        self._backbone = own.to(memory_format=torch.channels_last)

    def features(self, pixels: Pixels, out: Rows, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, D)."""
        size = BATCH[self._device]
        batch = torch.zeros((size, *pixels.shape[1:]), dtype=torch.uint8)
        with _torch_threads(self._threads), torch.inference_mode(), _full_precision():
            for start in range(0, len(pixels), size):
                count = min(size, len(pixels) - start)
                batch[:count] = torch.from_numpy(
                    np.ascontiguousarray(pixels[start : start + count])
                )
                rows = self._backbone(batch.to(self._device))
                out[start : start + count] = rows[:count].cpu().numpy()
                progress(count)


class OpenVINOEngine:
    """OpenVINO in float32 on the CPU: as many streams of one thread as there are threads."""

    name: Final = OPENVINO
    precision: Final = "f32"

    def __init__(self, backbone: Backbone, threads: int) -> None:
        openvino = import_openvino()
        self.version = engine_version(OPENVINO)
        size = backbone.preprocessing.image_size
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
            graph = openvino.convert_model(
                backbone,
                example_input=torch.zeros((1, size, size, 3), dtype=torch.uint8),
                input=[1, size, size, 3],
            )
        settings = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # two runs pinned to the same core would share it
        }
        compiled = openvino.Core().compile_model(graph, "CPU", settings)
        self._queue = openvino.AsyncInferQueue(compiled, 2 * threads)

    def features(self, pixels: Pixels, out: Rows, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, D)."""

        def keep(request: Any, index: int) -> None:  # noqa: ANN401
            out[index] = request.get_output_tensor(0).data[0]

        self._queue.set_callback(keep)
        reported = 0
        try:
            for index in range(len(pixels)):
                self._queue.start_async({0: pixels[index : index + 1]}, index)
                if index - reported >= REPORT:
                    progress(REPORT)
                    reported += REPORT
        finally:
            self._queue.wait_all()
        progress(len(pixels) - reported)


def import_openvino() -> Any:  # noqa: ANN401
    """The module, its telemetry switched off: importing it would report to a server otherwise.

    To OpenVINO its telemetry is an optional package. It is hidden from the import system for the
    life of the process; where somebody has loaded it before, what it sends is nothing.
    """
    loaded = sys.modules.get("openvino_telemetry")
    for verb in ("send_event", "send_error", "send_stack_trace", "start_session", "end_session"):
        if loaded is not None:
            setattr(loaded.Telemetry, verb, _nothing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _nothing(*_: object, **__: object) -> None:
    """Stands in for a report."""


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
