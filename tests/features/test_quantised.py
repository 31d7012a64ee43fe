"""int8: the same images give the same network, which is kept whole or made again."""

import hashlib
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
from numpy.typing import NDArray

from tests.features.test_engines import difference, noise, photographs, run
from veduta.data.pixels import Image, Resize
from veduta.data.row_store import Rows, RowStore, listing
from veduta.data.sample import Sample
from veduta.features import quantized as subject
from veduta.features.engines import open_engine
from veduta.features.openvino_engine import import_openvino
from veduta.features.quantized import Quantised, drawn, quantised
from veduta.features.store import Extractor
from veduta.networks.backbones import Backbone, build_backbone
from veduta.runs.artifact import Network

PACKAGES = {distribution.name for distribution in distributions()}
needs_nncf = pytest.mark.skipif(
    not {"nncf", "openvino"} <= PACKAGES, reason="nncf or openvino is not installed"
)
SIZE, COUNT = 64, 24
FAKE = Network(b"operations", b"constants")


def pictures() -> NDArray[np.uint8]:
    found = photographs(SIZE)
    return np.concatenate([found, found[:, ::-1]])[:COUNT]


def images_of(pixels: NDArray[np.uint8], root: Path) -> tuple[list[Image], Rows]:
    digests = [hashlib.sha256(one.tobytes()).hexdigest() for one in pixels]
    store = RowStore(root, "pixels", {}, shape=pixels.shape[1:], dtype="uint8")
    with store.fill(digests) as block:
        for index, key in enumerate(block.keys):
            block.rows[index] = pixels[digests.index(key)]
    samples = [Sample(Path(f"{i}.png"), f"{i}.png", None, None) for i in range(len(digests))]
    images = [Image(sample, digest) for sample, digest in zip(samples, digests, strict=True)]
    return images, store.rows(digests)


@pytest.fixture(scope="module")
def backbone(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=SIZE, cache=cache)


@pytest.fixture(scope="module")
def made(backbone: Backbone) -> Network:
    return subject._quantise(backbone, pictures(), lambda *_: None)


class Counting:
    """Stands in for NNCF where the question is what is kept."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> Network:
        self.calls += 1
        threading.Event().wait(0.05)
        return FAKE


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    fake = Counting()
    monkeypatch.setattr(subject, "_quantise", fake)
    return fake


Make = Callable[..., Quantised]


@pytest.fixture
def make(tmp_path: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Quantise by the fake; what decides the key may be changed."""
    monkeypatch.setattr(subject, "version", lambda _: "3")  # of NNCF, which may be absent
    images, _ = images_of(noise(4, 8), tmp_path / "pixels")

    def quantise(
        spec: dict[str, object] | None = None, order: tuple[int, ...] = (0, 1, 2, 3)
    ) -> Quantised:
        chosen = [images[index] for index in order]
        rows = RowStore(tmp_path / "pixels", "pixels", {}, shape=(8, 8, 3), dtype="uint8").rows(
            [image.digest for image in chosen]
        )
        return quantised(
            None, spec or {"model": "a"}, chosen, rows,  # type: ignore[arg-type]
            cache=tmp_path / "cache", progress=lambda *_: None,
        )  # fmt: skip

    return quantise


def test_it_is_calibrated_once(make: Make, counting: Counting, tmp_path: Path) -> None:
    first, again = make(), make()
    assert counting.calls == 1
    assert first == again
    assert first.network == FAKE
    (entry,) = listing(tmp_path / "cache")
    assert (entry.kind, entry.spec["spec"]["precision"]) == ("networks", "int8")


def test_another_overflow_fix_makes_another(
    make: Make, counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    (entry,) = listing(tmp_path / "cache")
    assert entry.spec["spec"]["overflow_fix"] == "ENABLE"
    monkeypatch.setattr(subject, "OVERFLOW_FIX", "FIRST_LAYER")
    make()
    assert counting.calls == 2
    assert len(listing(tmp_path / "cache")) == 2


@pytest.mark.parametrize(
    "other", [{"spec": {"model": "b"}}, {"order": (0, 1, 2)}, {"order": (1, 0, 2, 3)}]
)
def test_another_backbone_or_other_images_make_another(
    make: Make, counting: Counting, tmp_path: Path, other: dict[str, object]
) -> None:
    first, second = make(), make(**other)
    assert counting.calls == 2
    assert len(listing(tmp_path / "cache")) == 2
    assert (first.calibration == second.calibration) == ("spec" in other)


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "operations altered": lambda folder: flip(folder / "network.xml"),
    "constants altered": lambda folder: flip(folder / "network.bin"),
    "constants cut": lambda folder: (folder / "network.bin").write_bytes(b""),
    "operations gone": lambda folder: (folder / "network.xml").unlink(),
    "spec gone": lambda folder: (folder / "spec.json").unlink(),
    "spec no json": lambda folder: (folder / "spec.json").write_text("{"),
    "spec a list": lambda folder: (folder / "spec.json").write_text("[]"),
    "spec without a digest": lambda folder: (folder / "spec.json").write_text('{"spec": {}}'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_again(
    make: Make, counting: Counting, tmp_path: Path, damage: str
) -> None:
    make()
    (folder,) = (tmp_path / "cache" / "networks").iterdir()
    DAMAGE[damage](folder)
    assert make().network == FAKE
    assert counting.calls == 2
    assert make().network == FAKE
    assert counting.calls == 2


def test_a_crash_between_the_files_leaves_nothing_that_counts(
    make: Make, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = subject.write_atomically

    def crash(path: Path, content: bytes | str) -> None:
        if path.name == "spec.json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(subject, "write_atomically", crash)
    with pytest.raises(KeyboardInterrupt):
        make()
    monkeypatch.setattr(subject, "write_atomically", write)
    make()
    assert counting.calls == 2


def test_two_that_start_together_calibrate_once(make: Make, counting: Counting) -> None:
    found: list[Quantised] = []
    threads = [threading.Thread(target=lambda: found.append(make())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting.calls == 1
    assert found == [found[0]] * 3


def test_the_draw_depends_on_content_and_seed_alone(tmp_path: Path) -> None:
    images, _ = images_of(noise(40, 8), tmp_path)
    copy = Image(Sample(Path("z.png"), "z.png", None, None), images[5].digest)
    first = drawn(images, 10, seed=0, purpose="calibration")
    turned = drawn([copy, *reversed(images)], 10, seed=0, purpose="calibration")
    assert [image.digest for image in first] == [image.digest for image in turned]
    assert [image.sample.name for image in first] == [image.sample.name for image in turned]
    assert len({image.digest for image in first}) == 10
    fewer = drawn(images, 4, seed=0, purpose="calibration")
    assert fewer == first[:4]
    assert len(drawn([*images, copy], 100, seed=0, purpose="calibration")) == 40
    for other in ({"seed": 1, "purpose": "calibration"}, {"seed": 0, "purpose": "check"}):
        assert drawn(images, 10, **other) != first  # type: ignore[arg-type]


def test_the_key_of_features_names_the_network(backbone: Backbone) -> None:
    plain = Extractor(backbone, "openvino", Resize(SIZE), threads=1)
    specs = [
        Extractor(backbone, "openvino", Resize(SIZE), 1, made).spec()
        for made in (
            Quantised(FAKE, "a"), Quantised(FAKE, "b"), Quantised(Network(b"x", b""), "a"),
        )
    ]  # fmt: skip
    assert plain.spec()["precision"] == "f32"
    assert {spec["precision"] for spec in specs} == {"int8"}
    assert len({json.dumps(spec, sort_keys=True) for spec in [plain.spec(), *specs]}) == 4


@needs_nncf
def test_its_weights_are_whole_numbers(made: Network, backbone: Backbone) -> None:
    floats = sum(t.numel() * 4 for t in backbone.state_dict().values())
    assert len(made.constants) < 0.3 * floats
    assert made.operations.count(b'element_type="i8"') > 40  # a convolution each


def smallest_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Smallest cosine of the angle between two rows."""
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return float((a.astype(float) * b).sum(1).min())


@needs_nncf
def test_its_features_are_near_and_not_equal_to_those_in_float32(
    made: Network, backbone: Backbone
) -> None:
    pixels = photographs(SIZE)
    engine = open_engine("openvino", backbone, threads=2, network=made)
    ours, reference = run(engine, pixels), backbone(torch.from_numpy(pixels)).numpy()
    assert (engine.name, engine.precision) == ("openvino", "int8")
    assert 1e-3 < difference(ours, reference) < 0.5
    assert smallest_cosine(ours, reference) > 0.9


def features_in_float(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of the same quantized graph, its rounding simulated in float32: no int8 kernel."""
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
    return np.concatenate([compiled({0: one[None]})[0] for one in pixels])


@needs_nncf
def test_its_kernels_compute_what_the_quantized_graph_says(
    made: Network, backbone: Backbone
) -> None:
    """Sums that saturate would not: 0.90 on CPUs without VNNI where weights use the full range."""
    pixels = photographs(SIZE)
    engine = open_engine("openvino", backbone, threads=2, network=made)
    assert smallest_cosine(run(engine, pixels), features_in_float(made, pixels)) > 0.995


BELOW = {"OV_CPU_MAX_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}  # no VNNI, where OpenVINO heeds it
ON_ANOTHER_TYPE = """
import sys
from pathlib import Path
import numpy as np
from tests.features.test_quantised import SIZE, open_engine, photographs, run
from veduta.networks.backbones import build_backbone
from veduta.runs.artifact import Network
work = Path(sys.argv[2])
backbone = build_backbone("efficientnet_lite0", image_size=SIZE, cache=Path(sys.argv[1]))
network = Network((work / "model.xml").read_bytes(), (work / "model.bin").read_bytes())
engine = open_engine("openvino", backbone, threads=1, network=network)
np.save(work / "features.npy", run(engine, photographs(SIZE)))
"""


@needs_nncf
@pytest.mark.slow
def test_it_has_the_same_features_on_a_cpu_without_vnni(
    made: Network, backbone: Backbone, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.xml").write_bytes(made.operations)
    (tmp_path / "model.bin").write_bytes(made.constants)
    subprocess.run(
        [sys.executable, "-c", ON_ANOTHER_TYPE, str(cache), str(tmp_path)],
        check=True, cwd=Path(__file__).parents[2], env={**os.environ, **BELOW},
    )  # fmt: skip
    engine = open_engine("openvino", backbone, threads=2, network=made)
    there = np.load(tmp_path / "features.npy")
    assert smallest_cosine(run(engine, photographs(SIZE)), there) > 0.999


@needs_nncf
def test_an_image_has_the_same_features_on_any_threads_in_any_company(
    made: Network, backbone: Backbone
) -> None:
    pixels = noise(20, SIZE)
    one, two = (open_engine("openvino", backbone, threads=n, network=made) for n in (1, 2))
    whole = run(one, pixels)
    np.testing.assert_array_equal(run(two, pixels), whole)
    chosen = np.array([7, 7, 19, 0])
    np.testing.assert_array_equal(run(two, pixels[chosen]), whole[chosen])


@needs_nncf
def test_the_same_images_give_the_same_bytes_again(made: Network, backbone: Backbone) -> None:
    again = subject._quantise(backbone, pictures(), lambda *_: None)
    assert again == made  # OpenVINO's own names would count on


ELSEWHERE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pathlib import Path
from tests.features.test_quantised import SIZE, pictures, subject
from veduta.networks.backbones import build_backbone
backbone = build_backbone("efficientnet_lite0", image_size=SIZE, cache=Path(sys.argv[1]))
done = []
print(subject._quantise(backbone, pictures(), lambda *told: done.append(told)).sha256)
assert done[-1] == (24, 24), done[-1]
"""


@needs_nncf
@pytest.mark.slow
def test_another_process_on_one_core_gives_the_same_bytes_and_says_nothing(
    made: Network, cache: Path
) -> None:
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(cache)],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout == f"{made.sha256}\n"


@needs_nncf
@pytest.mark.slow
def test_vgg16_can_be_quantised(cache: Path) -> None:
    backbone = build_backbone("vgg16", "none", image_size=32, cache=cache)
    network = subject._quantise(backbone, noise(8, 32), lambda *_: None)
    engine = open_engine("openvino", backbone, threads=1, network=network)
    pixels = noise(3, 32)
    reference = backbone(torch.from_numpy(pixels)).numpy()
    assert difference(run(engine, pixels, *backbone.shape), reference) < 0.3
