"""Backbones in int8: the same images give the same network, and a damaged one is replaced."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.features import (
    compute_max_difference,
    draw_noise,
    load_photographs,
    run_engine,
    store_images,
)
from veduta.data.cache import list_entries
from veduta.data.pixels import Resize
from veduta.data.row_store import RowStore
from veduta.features import quantized
from veduta.features.engines import open_engine
from veduta.features.openvino_engine import import_openvino
from veduta.features.quantized import QuantizedBackbone, load_quantized_backbone
from veduta.features.store import Extractor
from veduta.networks.backbones import Backbone, build_backbone
from veduta.runs.artifact import IntermediateRepresentation
from veduta.runtime.environment import get_content_folder
from veduta.types import Float32Array, PixelArray, ignore_progress

PACKAGES = {distribution.name for distribution in distributions()}
needs_nncf = pytest.mark.skipif(
    not {"nncf", "openvino"} <= PACKAGES, reason="nncf or openvino is not installed"
)
SIZE, COUNT = 64, 24
FAKE = IntermediateRepresentation(b"operations", b"constants")


def load_calibration_images() -> PixelArray:
    photographs = load_photographs(SIZE)
    return np.concatenate([photographs, photographs[:, ::-1]])[:COUNT]


@pytest.fixture(scope="module")
def backbone(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=SIZE, cache=cache)


@pytest.fixture(scope="module")
def network(backbone: Backbone) -> IntermediateRepresentation:
    return quantized._quantize(backbone, load_calibration_images(), ignore_progress)


class CountingQuantizer:
    """Replaces NNCF in tests of the cache."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> IntermediateRepresentation:
        self.calls += 1
        threading.Event().wait(0.05)
        return FAKE


@pytest.fixture
def quantizer(monkeypatch: pytest.MonkeyPatch) -> CountingQuantizer:
    fake = CountingQuantizer()
    monkeypatch.setattr(quantized, "_quantize", fake)
    return fake


LoadBackbone = Callable[..., QuantizedBackbone]


@pytest.fixture
def load(
    tmp_path: Path, quantizer: CountingQuantizer, monkeypatch: pytest.MonkeyPatch
) -> LoadBackbone:
    """Return a function that loads a backbone by the fake, with changes of the key."""
    monkeypatch.setattr(quantized, "version", lambda _: "3")  # of NNCF, which may not be installed
    images, _ = store_images(draw_noise(4, 8), tmp_path / "pixels")

    def load_backbone(
        spec: dict[str, object] | None = None, order: tuple[int, ...] = (0, 1, 2, 3)
    ) -> QuantizedBackbone:
        selected = [images[index] for index in order]
        rows = RowStore(
            tmp_path / "pixels", "pixels", {}, shape=(8, 8, 3), dtype="uint8"
        ).load_rows([image.digest for image in selected])
        return load_quantized_backbone(
            None, spec or {"model": "a"}, selected, rows,  # type: ignore[arg-type]
            cache=tmp_path / "cache", progress=ignore_progress,
        )  # fmt: skip

    return load_backbone


def test_a_backbone_is_calibrated_once(
    load: LoadBackbone, quantizer: CountingQuantizer, tmp_path: Path
) -> None:
    first, again = load(), load()
    assert quantizer.calls == 1
    assert first == again
    assert first.network == FAKE
    (entry,) = list_entries(tmp_path / "cache")
    assert (entry.kind, entry.spec["spec"]["precision"]) == ("networks", "int8")


def test_another_overflow_fix_gives_another_network(
    load: LoadBackbone,
    quantizer: CountingQuantizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load()
    (entry,) = list_entries(tmp_path / "cache")
    assert entry.spec["spec"]["overflow_fix"] == "ENABLE"
    monkeypatch.setattr(quantized, "OVERFLOW_FIX", "FIRST_LAYER")
    load()
    assert quantizer.calls == 2
    assert len(list_entries(tmp_path / "cache")) == 2


@pytest.mark.parametrize(
    "other", [{"spec": {"model": "b"}}, {"order": (0, 1, 2)}, {"order": (1, 0, 2, 3)}]
)
def test_another_backbone_or_other_images_give_another_network(
    load: LoadBackbone, quantizer: CountingQuantizer, tmp_path: Path, other: dict[str, object]
) -> None:
    first, second = load(), load(**other)
    assert quantizer.calls == 2
    assert len(list_entries(tmp_path / "cache")) == 2
    assert (first.calibration == second.calibration) == ("spec" in other)


def change_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "operations altered": lambda folder: change_last_byte(folder / "network.xml"),
    "constants altered": lambda folder: change_last_byte(folder / "network.bin"),
    "constants cut": lambda folder: (folder / "network.bin").write_bytes(b""),
    "operations missing": lambda folder: (folder / "network.xml").unlink(),
    "spec missing": lambda folder: (folder / "spec.json").unlink(),
    "spec not JSON": lambda folder: (folder / "spec.json").write_text("{"),
    "spec a list": lambda folder: (folder / "spec.json").write_text("[]"),
    "spec without a digest": lambda folder: (folder / "spec.json").write_text('{"spec": {}}'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_network_is_calibrated_again(
    load: LoadBackbone, quantizer: CountingQuantizer, tmp_path: Path, damage: str
) -> None:
    load()
    (folder,) = (get_content_folder(tmp_path / "cache") / "networks").iterdir()
    DAMAGE[damage](folder)
    assert load().network == FAKE
    assert quantizer.calls == 2
    assert load().network == FAKE
    assert quantizer.calls == 2


def test_files_of_a_crash_are_treated_as_missing(
    load: LoadBackbone, quantizer: CountingQuantizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = quantized.write_atomically  # type: ignore[attr-defined]

    def crash(path: Path, content: bytes | str) -> None:
        if path.name == "spec.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(quantized, "write_atomically", crash)
    with pytest.raises(KeyboardInterrupt):
        load()
    monkeypatch.setattr(quantized, "write_atomically", write)
    load()
    assert quantizer.calls == 2


def test_concurrent_calls_calibrate_once(load: LoadBackbone, quantizer: CountingQuantizer) -> None:
    loaded: list[QuantizedBackbone] = []
    threads = [threading.Thread(target=lambda: loaded.append(load())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert quantizer.calls == 1
    assert loaded == [loaded[0]] * 3


def test_the_key_of_features_contains_the_network(backbone: Backbone) -> None:
    plain = Extractor(backbone, "openvino", Resize(SIZE), threads=1)
    specs = [
        Extractor(backbone, "openvino", Resize(SIZE), 1, quantized_backbone).spec()
        for quantized_backbone in (
            QuantizedBackbone(FAKE, "a"),
            QuantizedBackbone(FAKE, "b"),
            QuantizedBackbone(IntermediateRepresentation(b"x", b""), "a"),
        )
    ]
    assert plain.spec()["precision"] == "f32"
    assert {spec["precision"] for spec in specs} == {"int8"}
    assert len({json.dumps(spec, sort_keys=True) for spec in [plain.spec(), *specs]}) == 4


@needs_nncf
def test_weights_are_integers(network: IntermediateRepresentation, backbone: Backbone) -> None:
    float32_bytes = sum(t.numel() * 4 for t in backbone.state_dict().values())
    assert len(network.constants) < 0.3 * float32_bytes
    assert network.operations.count(b'element_type="i8"') > 40  # one per convolution


def compute_min_cosine(a: Float32Array, b: Float32Array) -> float:
    """Compute the minimum cosine similarity of two rows."""
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return float((a.astype(float) * b).sum(1).min())


@needs_nncf
def test_features_are_close_but_not_equal_to_those_in_float32(
    network: IntermediateRepresentation, backbone: Backbone
) -> None:
    pixels = load_photographs(SIZE)
    engine = open_engine("openvino", backbone, threads=2, network=network)
    features, reference = run_engine(engine, pixels), backbone(torch.from_numpy(pixels)).numpy()
    assert (engine.name, engine.precision) == ("openvino", "int8")
    assert 1e-3 < compute_max_difference(features, reference) < 0.5
    assert compute_min_cosine(features, reference) > 0.9


def simulate_in_float32(network: IntermediateRepresentation, pixels: PixelArray) -> Float32Array:
    """Compute features of the quantized graph with its rounding simulated in float32."""
    core = import_openvino().Core()
    graph = core.read_model(network.operations, network.constants)
    settings = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(graph, "CPU", settings)
    kernels = {
        str(operation.get_rt_info()["primitiveType"].astype(str))
        for operation in compiled.get_runtime_model().get_ordered_ops()
        if operation.get_rt_info()["layerType"].astype(str) == "Convolution"
    }
    assert kernels
    assert not [name for name in kernels if name.endswith("I8")]
    return np.concatenate([compiled({0: image[None]})[0] for image in pixels])


@needs_nncf
def test_int8_kernels_compute_the_quantized_graph(
    network: IntermediateRepresentation, backbone: Backbone
) -> None:
    """Saturated sums give 0.90 on CPUs without VNNI if weights use the full range."""
    pixels = load_photographs(SIZE)
    engine = open_engine("openvino", backbone, threads=2, network=network)
    assert (
        compute_min_cosine(run_engine(engine, pixels), simulate_in_float32(network, pixels)) > 0.995
    )


WITHOUT_VNNI = {"OV_CPU_MAX_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
PROGRAM_FOR_ANOTHER_CPU = """
import sys
from pathlib import Path
import numpy as np
from tests.features.test_quantized import SIZE, load_photographs, open_engine, run_engine
from veduta.networks.backbones import build_backbone
from veduta.runs.artifact import IntermediateRepresentation
work = Path(sys.argv[2])
backbone = build_backbone("efficientnet_lite0", image_size=SIZE, cache=Path(sys.argv[1]))
operations, constants = ((work / name).read_bytes() for name in ("model.xml", "model.bin"))
network = IntermediateRepresentation(operations, constants)
engine = open_engine("openvino", backbone, threads=1, network=network)
np.save(work / "features.npy", run_engine(engine, load_photographs(SIZE)))
"""


@needs_nncf
@pytest.mark.slow
def test_features_are_the_same_on_a_cpu_without_vnni(
    network: IntermediateRepresentation, backbone: Backbone, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.xml").write_bytes(network.operations)
    (tmp_path / "model.bin").write_bytes(network.constants)
    subprocess.run(
        [sys.executable, "-c", PROGRAM_FOR_ANOTHER_CPU, str(cache), str(tmp_path)],
        check=True, cwd=Path(__file__).parents[2], env={**os.environ, **WITHOUT_VNNI},
    )  # fmt: skip
    engine = open_engine("openvino", backbone, threads=2, network=network)
    features_of_child = np.load(tmp_path / "features.npy")
    assert compute_min_cosine(run_engine(engine, load_photographs(SIZE)), features_of_child) > 0.999


@needs_nncf
def test_features_do_not_depend_on_threads_or_other_images(
    network: IntermediateRepresentation, backbone: Backbone
) -> None:
    pixels = draw_noise(20, SIZE)
    single, double = (open_engine("openvino", backbone, threads=n, network=network) for n in (1, 2))
    expected = run_engine(single, pixels)
    np.testing.assert_array_equal(run_engine(double, pixels), expected)
    indices = np.array([7, 7, 19, 0])
    np.testing.assert_array_equal(run_engine(double, pixels[indices]), expected[indices])


@needs_nncf
def test_the_same_images_give_the_same_bytes(
    network: IntermediateRepresentation, backbone: Backbone
) -> None:
    again = quantized._quantize(backbone, load_calibration_images(), ignore_progress)
    assert again == network  # OpenVINO's names would differ


PROGRAM = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pathlib import Path
from tests.features.test_quantized import SIZE, load_calibration_images, quantized
from veduta.networks.backbones import build_backbone
backbone = build_backbone("efficientnet_lite0", image_size=SIZE, cache=Path(sys.argv[1]))
done = []
pixels = load_calibration_images()
print(quantized._quantize(backbone, pixels, lambda *report: done.append(report)).sha256)
assert done[-1] == (24, 24), done[-1]
"""


@needs_nncf
@pytest.mark.slow
def test_another_process_on_one_core_gives_the_same_bytes_and_prints_nothing(
    network: IntermediateRepresentation, cache: Path
) -> None:
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(cache)],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout == f"{network.sha256}\n"


@needs_nncf
@pytest.mark.slow
def test_vgg16_can_be_quantized(cache: Path) -> None:
    backbone = build_backbone("vgg16", "none", image_size=32, cache=cache)
    network = quantized._quantize(backbone, draw_noise(8, 32), ignore_progress)
    engine = open_engine("openvino", backbone, threads=1, network=network)
    pixels = draw_noise(3, 32)
    reference = backbone(torch.from_numpy(pixels)).numpy()
    assert compute_max_difference(run_engine(engine, pixels, *backbone.shape), reference) < 0.3
