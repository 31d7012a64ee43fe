"""OpenVINO: in float32 two to five times as fast as torch on x86 processors, more in int8; silent.

OpenVINO reports its use to a server as soon as it is imported. Nothing here imports it but through
`import_openvino`, which sees to it that no report is made and no socket opened.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.data.decode import calm
from veduta.errors import ArtefactError, EngineError
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import Network
from veduta.runtime.environment import installed
from veduta.runtime.process import TRACING

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]
Progress = Callable[[int], None]

OPENVINO = "openvino"
F32: Final = "f32"
INT8: Final = "int8"
REPORT = 32  # images between two calls of progress


def require_openvino(otherwise: str = "choose engine=torch") -> None:
    """Do nothing where OpenVINO is installed; `otherwise` is the cure besides installing it.

    Raises:
        EngineError: it is not.
    """
    if not installed(OPENVINO):
        raise EngineError(
            "engine=openvino needs the package openvino, which is not installed; "
            f"pip install 'veduta[openvino]', or {otherwise}"
        )


def openvino_version() -> str:
    """Version and device, known without loading it."""
    return f"{version(OPENVINO)} cpu"


def convert(backbone: Backbone) -> Any:  # noqa: ANN401
    """Return the backbone as an OpenVINO graph: uint8 (1, S, S, 3) in, float32 (1, features) out.

    One thread at a time converts; others wait.
    """
    openvino = import_openvino()
    size = backbone.preprocessing.image_size
    # inside calm(), no other thread changes the warning filters
    with TRACING, calm(), warnings.catch_warnings(), _hidden("nncf"):
        warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
        return openvino.convert_model(
            backbone,
            example_input=torch.zeros((1, size, size, 3), dtype=torch.uint8),
            input=[1, size, size, 3],
        )


class OpenVINOEngine:
    """OpenVINO on the CPU: as many streams of one thread as there are threads.

    Args:
        backbone: what it runs, in float32.
        threads: how many threads may run.
        network: what it runs instead, in int8: the backbone, quantised.

    Raises:
        EngineError: OpenVINO is not installed.
        ArtefactError: `network` cannot be read, or its shapes are not those of the backbone.
    """

    name: Final = OPENVINO

    def __init__(self, backbone: Backbone, threads: int, network: Network | None = None) -> None:
        require_openvino()
        openvino = import_openvino()
        core = openvino.Core()
        self.version = openvino_version()
        self.precision = INT8 if network else F32
        graph = _read(core, network, backbone) if network else convert(backbone)
        settings = {
            "INFERENCE_PRECISION_HINT": F32,  # of what is not quantised
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # two runs pinned to the same core would share it
        }
        self._compiled = core.compile_model(graph, "CPU", settings)
        self._requests = 4 * threads  # of a call: enough that no stream waits for the caller

    def features(self, pixels: Pixels, out: Rows, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, ...).

        Threads may call it at the same time: each call has a queue of its own, and all calls share
        the streams of the compiled network. The queue has no Python callback, because a stream
        would need the interpreter lock to release it, which a thread that deletes the engine holds
        while it waits for the streams to end.
        """
        queue = import_openvino().AsyncInferQueue(
            self._compiled, max(1, min(self._requests, len(pixels)))
        )
        running: dict[int, int] = {}  # request number -> image number
        reported = 0
        for index in range(len(pixels)):
            number = queue.get_idle_request_id()  # waits; the next start takes this request
            if number in running:
                out[running[number]] = queue[number].get_output_tensor(0).data[0]
            running[number] = index
            queue.start_async({0: pixels[index : index + 1]})
            if index - reported >= REPORT:
                progress(REPORT)
                reported += REPORT
        queue.wait_all()
        for number, index in running.items():
            out[index] = queue[number].get_output_tensor(0).data[0]
        progress(len(pixels) - reported)


def _read(core: Any, network: Network, backbone: Backbone) -> Any:  # noqa: ANN401
    """The graph of `network`, which must be one of `backbone`."""
    try:
        graph = core.read_model(network.operations, network.constants)
        found = tuple(tuple(port.shape) for port in (graph.input(0), graph.output(0)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ArtefactError(f"OpenVINO must be able to read the network; {reason}") from error
    size = backbone.preprocessing.image_size
    wanted = (1, size, size, 3), (1, *backbone.shape)
    if found != wanted:
        raise ArtefactError(
            f"the network must take {wanted[0]} and give {wanted[1]}; it takes {found[0]} and "
            f"gives {found[1]}"
        )
    return graph


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


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """As if a package had not been imported: where NNCF was, OpenVINO loads the part for torch.

    That part takes a second, and complains of a GPU that is not there.
    """
    module = sys.modules.pop(package, None)
    try:
        yield
    finally:
        if module is not None:
            sys.modules[package] = module


def _nothing(*_: object, **__: object) -> None:
    """Stands in for a report."""
