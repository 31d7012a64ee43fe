"""Engines: they agree, and an image's features do not depend on its company."""

import functools
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from veduta.errors import EngineError
from veduta.features import engines as subject
from veduta.features import openvino_engine
from veduta.features.engines import Engine, choose_engine, engine_version, open_engine
from veduta.networks.backbones import Backbone, build_backbone

INTEL = Path(__file__).parents[3] / "shared" / "data" / "intel" / "test"
SIZE = 64
PACKAGES = {distribution.name for distribution in distributions()}
needs_openvino = pytest.mark.skipif("openvino" not in PACKAGES, reason="openvino is not installed")
BOTH = pytest.mark.parametrize("name", ["torch", pytest.param("openvino", marks=needs_openvino)])
Open = Callable[..., Engine]


@pytest.fixture(scope="module")
def backbone(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=SIZE, cache=cache)


@pytest.fixture(scope="module")
def opened(backbone: Backbone) -> Open:
    """Engines by name and threads, each opened once."""
    return functools.cache(lambda name, threads=2: open_engine(name, backbone, threads=threads))


def noise(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def photographs(size: int) -> NDArray[np.uint8]:
    """Squares cut from photographs: Intel's where they are, scikit-learn's otherwise."""
    if paths := sorted(INTEL.rglob("*.jpg"))[::60]:
        images = [Image.open(path).convert("RGB") for path in paths]
    else:
        whole = [Image.fromarray(image) for image in load_sample_images().images]
        boxes = [(x, y, x + 200, y + 200) for x in (0, 200, 400) for y in (0, 200)]
        images = [image.crop(box) for image in whole for box in boxes]
    return np.stack([np.asarray(image.resize((size, size))) for image in images])


def run(engine: Engine, pixels: NDArray[np.uint8], width: int = 1280) -> NDArray[np.float32]:
    out = np.full((len(pixels), width), np.nan, dtype=np.float32)
    engine.features(pixels, out, lambda _: None)
    return out


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest distance of two rows, relative to the length of the row."""
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


@BOTH
@pytest.mark.parametrize("count", [1, 15, 16, 17, 50])
def test_features_are_those_of_the_module(
    name: str, count: int, backbone: Backbone, opened: Open
) -> None:
    pixels = noise(count)
    expected = backbone(torch.from_numpy(pixels)).numpy()
    assert difference(run(opened(name), pixels), expected) < 1e-4


@BOTH
def test_an_image_has_the_same_features_in_any_company(name: str, opened: Open) -> None:
    pixels = noise(50)
    whole = run(opened(name), pixels)
    rng = np.random.default_rng(1)
    companies = [np.array([i]) for i in (0, 17, 49)]
    companies += [rng.permutation(50)[:count] for count in (2, 15, 16, 17, 33, 50)]
    companies.append(np.full(20, 7))
    for chosen in companies:
        np.testing.assert_array_equal(run(opened(name), pixels[chosen]), whole[chosen])


@BOTH
def test_threads_do_not_change_a_bit(name: str, opened: Open) -> None:
    pixels = noise(20)
    one, two = (run(opened(name, threads), pixels) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@needs_openvino
def test_both_agree_on_photographs_and_on_noise(cache: Path) -> None:
    size = 150
    backbone = build_backbone("efficientnet_lite0", image_size=size, cache=cache)
    engines = [open_engine(name, backbone, threads=2) for name in ("openvino", "torch")]
    for pixels in (photographs(size), noise(12, size), np.zeros((1, size, size, 3), np.uint8)):
        ours, reference = (run(engine, pixels) for engine in engines)
        assert difference(ours, reference) < 1e-3


@needs_openvino
def test_both_agree_on_vgg16(cache: Path) -> None:
    backbone = build_backbone("vgg16", "none", image_size=32, cache=cache)
    ours, reference = (
        run(open_engine(name, backbone, threads=2), noise(3, 32), *backbone.shape)
        for name in ("openvino", "torch")
    )
    assert difference(ours, reference) < 1e-3


@BOTH
def test_rows_beyond_the_images_are_left_alone(name: str, opened: Open) -> None:
    out = np.full((8, 1280), 3.0, dtype=np.float32)
    opened(name).features(noise(5), out[:5], lambda _: None)
    assert (out[5:] == 3.0).all()


@BOTH
@pytest.mark.parametrize("count", [0, 1, 32, 100])
def test_progress_counts_every_image_once(name: str, count: int, opened: Open) -> None:
    done: list[int] = []
    out = np.empty((count, 1280), dtype=np.float32)
    opened(name).features(noise(count), out, done.append)
    assert sum(done) == count


@BOTH
def test_the_caller_keeps_its_backbone_and_its_threads(
    name: str, backbone: Backbone, opened: Open
) -> None:
    before = torch.get_num_threads()
    run(opened(name, threads=1), noise(2))
    assert torch.get_num_threads() == before
    assert all(tensor.is_contiguous() for tensor in backbone.state_dict().values())


@BOTH
def test_an_interruption_leaves_the_engine_usable(name: str, opened: Open) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    expected = run(opened(name), noise(64))
    out = np.empty((64, 1280), dtype=np.float32)
    with pytest.raises(KeyboardInterrupt):
        opened(name).features(noise(64), out, interrupt)
    np.testing.assert_array_equal(run(opened(name), noise(64)), expected)


@BOTH
def test_an_engine_says_what_it_is(name: str, opened: Open) -> None:
    engine = opened(name)
    assert (engine.name, engine.version) == (name, engine_version(name))
    assert engine.precision == "f32"


@pytest.mark.parametrize(
    ("setting", "cuda", "x86", "there", "expected"),
    [
        ("auto", True, True, True, "torch"),
        ("auto", False, True, True, "openvino"),
        ("auto", False, False, True, "torch"),
        ("auto", False, True, False, "torch"),
        ("torch", True, True, True, "torch"),
        ("openvino", True, False, True, "openvino"),
        ("fastest", True, True, True, "fastest"),
        ("fastest", False, False, True, "torch"),
        ("fastest", False, True, False, "torch"),
    ],
)
def test_the_choice_is_a_fixed_rule(
    monkeypatch: pytest.MonkeyPatch, setting: str, cuda: bool, x86: bool, there: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(subject, "is_x86", lambda: x86)
    for module in (subject, openvino_engine):
        monkeypatch.setattr(module, "installed", lambda _: there)
    assert choose_engine(setting) == expected  # type: ignore[arg-type]


def test_an_engine_that_is_missing_comes_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, backbone: Backbone
) -> None:
    monkeypatch.setattr(openvino_engine, "installed", lambda _: False)
    cure = r"not installed; pip install 'veduta\[openvino\]', or choose engine=torch"
    with pytest.raises(EngineError, match=cure):
        choose_engine("openvino")
    with pytest.raises(EngineError, match=cure):
        open_engine("openvino", backbone, threads=1)


@pytest.mark.parametrize("setting", ["auto", "fastest", "openvino"])
@pytest.mark.parametrize("cuda", [True, False])
def test_int8_means_openvino(monkeypatch: pytest.MonkeyPatch, setting: str, cuda: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(subject, "installed", lambda _: True)
    assert choose_engine(setting, "int8") == "openvino"  # type: ignore[arg-type]


@pytest.mark.parametrize("lost", [("nncf",), ("openvino",), ("openvino", "nncf")])
def test_int8_without_its_packages_comes_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    monkeypatch.setattr(subject, "installed", lambda package: package not in lost)
    with pytest.raises(EngineError, match=rf"{' and '.join(lost)} not.*veduta\[int8\]"):
        choose_engine("auto", "int8")


def test_int8_on_torch_is_refused() -> None:
    with pytest.raises(EngineError, match=r"int8 needs OpenVINO; got engine=torch: choose"):
        choose_engine("torch", "int8")


# The telemetry forks a child which opens the socket: both are told on standard error, at once.
WATCHED = """
import sys
def tell(event, args):
    if watching and (event == "os.fork" or event.startswith("socket.")):
        sys.stderr.write(event + str(args))
        sys.stderr.flush()
watching = False
sys.addaudithook(tell)
if {before}:
    import openvino_telemetry
    openvino_telemetry.Telemetry(tid="x", app_name="x", app_version="x", backend="ga4",
                                 enable_opt_in_dialog=False)
watching = True
import numpy as np
from pathlib import Path
from veduta.features.engines import open_engine
from veduta.networks.backbones import build_backbone
backbone = build_backbone("efficientnet_lite0", "none", image_size=32, cache=Path("cache"))
out = np.empty((4, 1280), np.float32)
engine = open_engine("openvino", backbone, threads=1)
engine.features(np.zeros((4, 32, 32, 3), np.uint8), out, lambda n: None)
assert np.isfinite(out).all()
import time
time.sleep(0.5)
"""


@needs_openvino
@pytest.mark.parametrize("before", [False, True], ids=["fresh", "telemetry loaded before"])
def test_openvino_opens_no_socket_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    if before and "openvino-telemetry" not in PACKAGES:
        pytest.skip("there is no telemetry to load")
    monkeypatch.setenv("HOME", str(tmp_path))  # telemetry keeps its consent file there
    monkeypatch.delenv("CI", raising=False)  # where it would be silent anyway
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCHED.format(before=before)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    assert before or not list(tmp_path.iterdir())


@pytest.mark.parametrize(("side", "largest"), [(SIZE, 16), (SIZE // 2, 4), (1, 1)])
def test_large_images_go_through_torch_a_few_at_a_time(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, side: int, largest: int
) -> None:
    monkeypatch.setattr("veduta.features.engines.BATCH_SIDE", side)
    monkeypatch.setattr("veduta.features.engines._device", lambda: "cpu")
    engine = open_engine("torch", backbone, threads=1)
    asked: list[int] = []
    engine._backbone.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))  # type: ignore[attr-defined]
    run(engine, noise(5))
    assert set(asked) == {largest}
