"""Backbones in int8: calibrated once on images of the run, then loaded from the cache.

NNCF measures the range of each activation on calibration images, rounds weights to integers and
corrects the resulting bias. The quantized backbone computes other features than in float32, so a
head is trained on its features.

Weights use half of the int8 range (NNCF's overflow fix). CPUs without VNNI add pairs of products in
16 bits; over the full range these sums saturate, and the features then depend on the CPU type.
"""

import io
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from veduta.data.cache import LOCK, MAX_CACHE_BYTES, SPEC, trim_cache
from veduta.data.pixels import Image
from veduta.data.row_store import Rows
from veduta.errors import InputError, describe_os_error
from veduta.features.openvino_engine import INT8, convert_to_graph, import_openvino
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import IntermediateRepresentation
from veduta.runtime.disk import write_atomically
from veduta.runtime.environment import get_content_folder
from veduta.runtime.locks import acquire_lock
from veduta.runtime.process import TRACING_LOCK
from veduta.types import PixelArray, Progress

KIND = "networks"  # kind of entry in the cache
CALIBRATION_IMAGES = 300  # number of calibration images, if there are as many
OPERATIONS, CONSTANTS = "network.xml", "network.bin"
OVERFLOW_FIX = "ENABLE"  # name in nncf.OverflowFix: half the int8 range for all weights


@dataclass(frozen=True)
class QuantizedBackbone:
    """A backbone in int8.

    Attributes:
        network: the network that OpenVINO runs.
        calibration: SHA-256 of the contents of the calibration images, in order.
    """

    network: IntermediateRepresentation
    calibration: str


def load_quantized_backbone(
    backbone: Backbone,
    spec: Mapping[str, object],
    images: Sequence[Image],
    pixels: Rows,
    *,
    cache: Path,
    progress: Progress,
) -> QuantizedBackbone:
    """Load a backbone in int8 from the cache, or calibrate it and keep it there.

    Args:
        backbone: the backbone in float32.
        spec: everything that determines its features in float32.
        images: calibration images; their digests, in order, are part of the key.
        pixels: pixels of `images`, uint8 (images, S, S, 3); read only to calibrate.
        cache: folder of the cache.
        progress: called with the number of finished images and with that of all.

    Raises:
        InputError: the cache cannot be written.
    """
    digests = "".join(image.digest for image in images)
    calibration = sha256(digests.encode()).hexdigest()
    full_spec = {
        **spec,
        "precision": INT8,
        "calibration": calibration,
        "nncf": version("nncf"),
        "overflow_fix": OVERFLOW_FIX,
    }
    text = json.dumps({"spec": full_spec}, sort_keys=True, separators=(",", ":"))
    folder = get_content_folder(cache) / KIND / sha256(text.encode()).hexdigest()[:16]
    try:
        with acquire_lock(folder / LOCK):  # two runs that start together calibrate once
            network = _read_network(folder)
            if network is None:
                network = _quantize(backbone, pixels.take(), progress)
                _write_network(folder, full_spec, network)
    except OSError as error:
        raise InputError(
            f"the cache must be a folder that can be written; {cache}: {describe_os_error(error)}: "
            "set VEDUTA_CACHE to another folder"
        ) from error
    trim_cache(cache, MAX_CACHE_BYTES, {folder})
    return QuantizedBackbone(network, calibration)


def _read_network(folder: Path) -> IntermediateRepresentation | None:
    """Read the network in a folder; None if it is missing or damaged."""
    try:
        recorded = json.loads((folder / SPEC).read_text(encoding="utf-8"))["sha256"]
        network = IntermediateRepresentation(
            (folder / OPERATIONS).read_bytes(), (folder / CONSTANTS).read_bytes()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if network.sha256 != recorded:
        return None
    (folder / SPEC).touch()  # the cache removes the entries that were not used for longest
    return network


def _write_network(
    folder: Path, spec: Mapping[str, object], network: IntermediateRepresentation
) -> None:
    """Write the network, then its checksum: without it, files of a crash are treated as missing."""
    write_atomically(folder / OPERATIONS, network.operations)
    write_atomically(folder / CONSTANTS, network.constants)
    write_atomically(folder / SPEC, json.dumps({"spec": spec, "sha256": network.sha256}))


def _quantize(
    backbone: Backbone, pixels: PixelArray, progress: Progress
) -> IntermediateRepresentation:
    """Quantize a backbone by NNCF's post-training quantization; equal pixels give equal bytes."""
    graph = convert_to_graph(backbone)
    done = 0

    def prepare_image(image: PixelArray) -> PixelArray:
        nonlocal done
        done = min(done + 1, len(pixels))
        progress(done, len(pixels))
        return image[None]

    # the conversion hides NNCF, and standard output is redirected: one thread at a time
    with TRACING_LOCK, _silence_output(), tempfile.TemporaryDirectory() as scratch:
        nncf = import_nncf()
        _name_operations(graph)
        quantized = nncf.quantize(
            graph,
            nncf.Dataset(pixels, prepare_image),
            subset_size=len(pixels),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix[OVERFLOW_FIX]
            ),
        )
        _name_operations(quantized)
        path = Path(scratch) / OPERATIONS
        import_openvino().save_model(quantized, path, compress_to_fp16=False)
        return IntermediateRepresentation(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _name_operations(graph: Any) -> None:  # noqa: ANN401
    """Name each operation by its index; OpenVINO's names depend on all graphs of the process."""
    graph.set_friendly_name("backbone")
    for index, operation in enumerate(graph.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{index}")


@contextmanager
def _silence_output() -> Iterator[None]:
    """Suppress progress bars on standard output and warnings of a missing GPU, but no errors."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(previous)


def import_nncf() -> Any:  # noqa: ANN401
    """Import NNCF without OpenVINO's telemetry."""
    import_openvino()
    logger_class = logging.getLoggerClass()
    import nncf

    logging.setLoggerClass(logger_class)  # NNCF replaces it for all loggers
    return nncf
