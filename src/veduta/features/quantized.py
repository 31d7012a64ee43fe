"""A backbone in int8: calibrated once on images of the run, kept in the cache, and the same after.

NNCF measures the range of every activation on calibration images, rounds weights to whole numbers
and corrects the bias that this leaves. The result is another extractor of features: a head is
fitted on its features, never on those of the network in float32.

Weights use half of the int8 range (NNCF's overflow fix). CPUs without VNNI add pairs of products in
16 bits; over the full range these sums saturate, and the features then depend on the CPU type.
"""

import io
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veduta.data.cache import LOCK, SPEC, trim
from veduta.data.pixels import Image
from veduta.data.row_store import MOST_BYTES, Rows
from veduta.errors import InputError
from veduta.features.openvino_engine import INT8, convert, import_openvino
from veduta.networks.backbones import Backbone
from veduta.runs.artifact import Network
from veduta.runs.files import write_atomically
from veduta.runtime.locks import hold
from veduta.runtime.streams import order, sample_keys, stream

KIND = "networks"  # of what the cache holds
IMAGES = 300  # that calibrate, where there are as many
OPERATIONS, CONSTANTS = "network.xml", "network.bin"
OVERFLOW_FIX = "ENABLE"  # name in nncf.OverflowFix: half the int8 range for all weights

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Quantised:
    """A backbone in int8.

    Attributes:
        network: what OpenVINO runs.
        calibration: SHA-256 of the contents, in order, of the images that calibrated it.
    """

    network: Network
    calibration: str


def drawn(images: Sequence[Image], count: int, *, seed: int, purpose: str) -> list[Image]:
    """At most `count` images of different content, drawn by the seed: by content, not by order."""
    by_name = sorted(images, key=lambda one: one.sample.name, reverse=True)
    distinct = {image.digest: image for image in by_name}  # of copies the first name stays
    digests = sorted(distinct)
    chosen = order(stream(seed, purpose), sample_keys(digests))[:count]
    return [distinct[digests[index]] for index in chosen]


def quantised(
    backbone: Backbone,
    spec: Mapping[str, object],
    images: Sequence[Image],
    pixels: Rows,
    *,
    cache: Path,
    progress: Progress,
) -> Quantised:
    """The backbone in int8: from the cache where the same images calibrated it before.

    Args:
        backbone: in float32.
        spec: everything that decides its features in float32.
        images: calibrate it; their digests, in order, are part of the key.
        pixels: uint8, (images, S, S, 3), aligned with `images`; read only where it is calibrated.
        cache: folder of the cache.
        progress: called with (images done, images in all).

    Raises:
        InputError: the cache cannot be written.
    """
    digests = "".join(image.digest for image in images)
    calibration = sha256(digests.encode()).hexdigest()
    full = {
        **spec,
        "precision": INT8,
        "calibration": calibration,
        "nncf": version("nncf"),
        "overflow_fix": OVERFLOW_FIX,
    }
    text = json.dumps({"spec": full}, sort_keys=True, separators=(",", ":"))
    folder = cache / KIND / sha256(text.encode()).hexdigest()[:16]
    try:
        with hold(folder / LOCK):  # two runs that start together calibrate once
            network = _read(folder)
            if network is None:
                network = _quantise(backbone, pixels.take(), progress)
                _write(folder, full, network)
    except OSError as error:
        raise InputError(
            f"the cache must be a folder that can be written; {cache}: {error.strerror or error}; "
            "set VEDUTA_CACHE to another folder"
        ) from error
    trim(cache, MOST_BYTES, {folder})
    return Quantised(network, calibration)


def _read(folder: Path) -> Network | None:
    """The network in a folder, None where there is none that is whole."""
    try:
        told = json.loads((folder / SPEC).read_text(encoding="utf-8"))["sha256"]
        network = Network((folder / OPERATIONS).read_bytes(), (folder / CONSTANTS).read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if network.sha256 != told:
        return None
    (folder / SPEC).touch()  # used just now
    return network


def _write(folder: Path, spec: Mapping[str, object], network: Network) -> None:
    """Both files, then what vouches for them: a crash in between leaves nothing that counts."""
    write_atomically(folder / OPERATIONS, network.operations)
    write_atomically(folder / CONSTANTS, network.constants)
    write_atomically(folder / SPEC, json.dumps({"spec": spec, "sha256": network.sha256}))


def _quantise(backbone: Backbone, pixels: NDArray[np.uint8], progress: Progress) -> Network:
    """Quantise a backbone by NNCF's post-training quantization; equal pixels give equal bytes."""
    graph = convert(backbone)
    done = 0

    def told(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        nonlocal done
        done = min(done + 1, len(pixels))
        progress(done, len(pixels))
        return image[None]

    with _quiet(), tempfile.TemporaryDirectory() as scratch:
        nncf = import_nncf()
        _number(graph)
        found = nncf.quantize(
            graph,
            nncf.Dataset(pixels, told),
            subset_size=len(pixels),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix[OVERFLOW_FIX]
            ),
        )
        _number(found)
        path = Path(scratch) / OPERATIONS
        import_openvino().save_model(found, path, compress_to_fp16=False)
        return Network(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _number(graph: Any) -> None:  # noqa: ANN401
    """Name every operation by its place: OpenVINO's names count all that a process ever made."""
    graph.set_friendly_name("backbone")
    for place, operation in enumerate(graph.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{place}")


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars on standard output, no warning of a GPU that is not there; errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def import_nncf() -> Any:  # noqa: ANN401
    """The module; OpenVINO's telemetry, which it would use, is hidden from it too."""
    import_openvino()
    before = logging.getLoggerClass()
    import nncf

    logging.setLoggerClass(before)  # NNCF puts its own in place, for every logger to come
    return nncf
