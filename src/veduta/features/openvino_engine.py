"""The OpenVINO engine: two to five times as fast as torch in float32 on x86 CPUs, faster in int8.

OpenVINO reports its use to a server when it is imported. It is imported only by `import_openvino`,
which prevents reports, so that no socket is opened.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

import torch

from veduta.data.decode import filter_pillow_warnings
from veduta.errors import ArtifactError, EngineError
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import IntermediateRepresentation
from veduta.runtime.environment import is_installed
from veduta.runtime.process import TRACING_LOCK
from veduta.types import Float32Array, PixelArray, Progress

OPENVINO = "openvino"
F32: Final = "f32"
INT8: Final = "int8"
IMAGES_PER_REPORT = 32  # images between two reports of progress


def require_openvino(alternative: str = "choose engine=torch") -> None:
    """Check that OpenVINO is installed.

    Args:
        alternative: the cure besides installing it.

    Raises:
        EngineError: OpenVINO is not installed.
    """
    if not is_installed(OPENVINO):
        raise EngineError(
            "engine=openvino needs the package openvino, which is not installed: "
            f"pip install 'veduta[openvino]', or {alternative}"
        )


def get_openvino_version() -> str:
    """Return version and device, without loading OpenVINO."""
    return f"{version(OPENVINO)} cpu"


def convert_to_graph(backbone: Backbone) -> Any:  # noqa: ANN401
    """Convert a backbone to an OpenVINO graph: uint8 (1, S, S, 3) in, float32 (1, features) out.

    One thread at a time converts; others wait.
    """
    openvino = import_openvino()
    size = backbone.preprocessing.image_size
    # inside filter_pillow_warnings(), no other thread changes the warning filters
    with TRACING_LOCK, filter_pillow_warnings(), warnings.catch_warnings(), _hide_package("nncf"):
        warnings.filterwarnings("ignore", "`torch.jit.trace", FutureWarning)
        return openvino.convert_model(
            backbone,
            example_input=torch.zeros((1, size, size, 3), dtype=torch.uint8),
            input=[1, size, size, 3],
        )


class OpenVINOEngine:
    """OpenVINO on the CPU, with one stream of one thread per thread.

    Args:
        backbone: the backbone; it runs in float32.
        threads: number of threads.
        network: the quantized backbone, which runs in int8 instead.

    Raises:
        EngineError: OpenVINO is not installed.
        ArtifactError: `network` cannot be read, or its shapes are not those of the backbone.
    """

    name: Final = OPENVINO

    def __init__(
        self, backbone: Backbone, threads: int, network: IntermediateRepresentation | None = None
    ) -> None:
        require_openvino()
        openvino = import_openvino()
        core = openvino.Core()
        self.version = get_openvino_version()
        self.precision = INT8 if network else F32
        graph = _read_graph(core, network, backbone) if network else convert_to_graph(backbone)
        settings = {
            "INFERENCE_PRECISION_HINT": F32,  # of operations that are not quantized
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # two runs pinned to the same core would share it
        }
        self._compiled = core.compile_model(graph, "CPU", settings)
        self._requests = 4 * threads  # per call, so that no stream waits for the caller

    def write_features(self, pixels: PixelArray, out: Float32Array, progress: Progress) -> None:
        """Write the features of uint8 pixels (n, S, S, 3) to `out`, float32 (n, ...).

        Several threads may call it at the same time: each call has a queue of its own, and all
        calls share the streams of the compiled network. The queue has no Python callback, because a
        stream would need the interpreter lock to release it, which a thread that deletes the engine
        holds while it waits for the streams to end.
        """
        queue = import_openvino().AsyncInferQueue(
            self._compiled, max(1, min(self._requests, len(pixels)))
        )
        running: dict[int, int] = {}  # request number -> image number
        reported = 0
        for index in range(len(pixels)):
            number = queue.get_idle_request_id()  # waits; the next start uses this request
            if number in running:
                out[running[number]] = queue[number].get_output_tensor(0).data[0]
            running[number] = index
            queue.start_async({0: pixels[index : index + 1]})
            if index - reported >= IMAGES_PER_REPORT:
                reported += IMAGES_PER_REPORT
                progress(reported, len(pixels))
        queue.wait_all()
        for number, index in running.items():
            out[index] = queue[number].get_output_tensor(0).data[0]
        progress(len(pixels), len(pixels))


def _read_graph(
    core: Any,  # noqa: ANN401
    network: IntermediateRepresentation,
    backbone: Backbone,
) -> Any:  # noqa: ANN401
    """Read the graph of a network, and check that its shapes are those of the backbone."""
    try:
        graph = core.read_model(network.operations, network.constants)
        shapes = tuple(tuple(port.shape) for port in (graph.input(0), graph.output(0)))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(
            f"OpenVINO must be able to read the network; {reason}: train the model again"
        ) from error
    size = backbone.preprocessing.image_size
    expected = (1, size, size, 3), (1, *backbone.shape)
    if shapes != expected:
        raise ArtifactError(
            f"the input and output shapes of the network must be {expected[0]} and {expected[1]}; "
            f"got {shapes[0]} and {shapes[1]}: restore the files of the model, or train it again"
        )
    return graph


def import_openvino() -> Any:  # noqa: ANN401
    """Import OpenVINO without its telemetry, which would report to a server.

    OpenVINO treats its telemetry as an optional package. The package is hidden from the import
    system for the life of the process; if it was imported before, its functions do nothing.
    """
    telemetry = sys.modules.get("openvino_telemetry")
    for verb in ("send_event", "send_error", "send_stack_trace", "start_session", "end_session"):
        if telemetry is not None:
            setattr(telemetry.Telemetry, verb, _do_nothing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@contextmanager
def _hide_package(package: str) -> Iterator[None]:
    """Hide an imported package: with NNCF imported, OpenVINO would load its extension for torch.

    That takes a second, and warns of a missing GPU.
    """
    module = sys.modules.pop(package, None)
    try:
        yield
    finally:
        if module is not None:
            sys.modules[package] = module


def _do_nothing(*_: object, **__: object) -> None:
    """Replace a function of the telemetry."""
