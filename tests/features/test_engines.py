"""Engines agree, and the features of an image do not depend on the other images of a call."""

import functools
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch

from tests.support.features import (
    SIZE,
    compute_max_difference,
    draw_noise,
    load_photographs,
    run_engine,
)
from veduta.errors import EngineError
from veduta.features import engines, openvino_engine
from veduta.features.engines import Engine, choose_engine, get_engine_version, open_engine
from veduta.networks.backbones import Backbone, build_backbone
from veduta.types import ignore_progress

OVERLAP = 0.5  # seconds that a thread waits for another one, which a lock may block
PACKAGES = {distribution.name for distribution in distributions()}
needs_openvino = pytest.mark.skipif("openvino" not in PACKAGES, reason="openvino is not installed")
EVERY_ENGINE = pytest.mark.parametrize(
    "name", ["torch", pytest.param("openvino", marks=needs_openvino)]
)
LoadEngine = Callable[..., Engine]


@pytest.fixture(scope="module")
def backbone(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", image_size=SIZE, cache=cache)


@pytest.fixture(scope="module")
def load_engine(backbone: Backbone) -> LoadEngine:
    """Return a function that loads engines by name and threads, each once."""
    return functools.cache(lambda name, threads=2: open_engine(name, backbone, threads=threads))


@EVERY_ENGINE
@pytest.mark.parametrize("count", [1, 15, 16, 17, 50])
def test_features_equal_those_of_the_module(
    name: str, count: int, backbone: Backbone, load_engine: LoadEngine
) -> None:
    pixels = draw_noise(count)
    expected = backbone(torch.from_numpy(pixels)).numpy()
    assert compute_max_difference(run_engine(load_engine(name), pixels), expected) < 1e-4


@EVERY_ENGINE
def test_features_of_an_image_do_not_depend_on_other_images(
    name: str, load_engine: LoadEngine
) -> None:
    pixels = draw_noise(50)
    expected = run_engine(load_engine(name), pixels)
    rng = np.random.default_rng(1)
    selections = [np.array([i]) for i in (0, 17, 49)]
    selections += [rng.permutation(50)[:count] for count in (2, 15, 16, 17, 33, 50)]
    selections.append(np.full(20, 7))
    for indices in selections:
        np.testing.assert_array_equal(
            run_engine(load_engine(name), pixels[indices]), expected[indices]
        )


@EVERY_ENGINE
def test_the_number_of_threads_does_not_change_a_bit(name: str, load_engine: LoadEngine) -> None:
    pixels = draw_noise(20)
    single, double = (run_engine(load_engine(name, threads), pixels) for threads in (1, 2))
    np.testing.assert_array_equal(single, double)


@needs_openvino
def test_engines_agree_on_photographs_and_on_noise(cache: Path) -> None:
    size = 150
    backbone = build_backbone("efficientnet_lite0", image_size=size, cache=cache)
    both = [open_engine(name, backbone, threads=2) for name in ("openvino", "torch")]
    for pixels in (
        load_photographs(size),
        draw_noise(12, size),
        np.zeros((1, size, size, 3), np.uint8),
    ):
        features, reference = (run_engine(engine, pixels) for engine in both)
        assert compute_max_difference(features, reference) < 1e-3


@needs_openvino
def test_engines_agree_on_vgg16(cache: Path) -> None:
    backbone = build_backbone("vgg16", "none", image_size=32, cache=cache)
    features, reference = (
        run_engine(open_engine(name, backbone, threads=2), draw_noise(3, 32), *backbone.shape)
        for name in ("openvino", "torch")
    )
    assert compute_max_difference(features, reference) < 1e-3


@EVERY_ENGINE
def test_rows_after_the_images_are_not_written(name: str, load_engine: LoadEngine) -> None:
    out = np.full((8, 1280), 3.0, dtype=np.float32)
    load_engine(name).write_features(draw_noise(5), out[:5], ignore_progress)
    assert (out[5:] == 3.0).all()


@EVERY_ENGINE
@pytest.mark.parametrize("count", [0, 1, 32, 100])
def test_progress_increases_to_the_number_of_images(
    name: str, count: int, load_engine: LoadEngine
) -> None:
    reports: list[tuple[int, int]] = []
    out = np.empty((count, 1280), dtype=np.float32)
    load_engine(name).write_features(draw_noise(count), out, lambda *report: reports.append(report))
    assert reports == sorted(reports)
    assert {total for _, total in reports} <= {count}
    assert (reports[-1] if reports else (0, 0)) == (count, count)


@EVERY_ENGINE
def test_the_backbone_and_the_threads_of_the_caller_are_not_changed(
    name: str, backbone: Backbone, load_engine: LoadEngine
) -> None:
    before = torch.get_num_threads()
    run_engine(load_engine(name, threads=1), draw_noise(2))
    assert torch.get_num_threads() == before
    assert all(tensor.is_contiguous() for tensor in backbone.state_dict().values())


@EVERY_ENGINE
def test_an_interruption_leaves_the_engine_usable(name: str, load_engine: LoadEngine) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    expected = run_engine(load_engine(name), draw_noise(64))
    out = np.empty((64, 1280), dtype=np.float32)
    with pytest.raises(KeyboardInterrupt):
        load_engine(name).write_features(draw_noise(64), out, interrupt)
    np.testing.assert_array_equal(run_engine(load_engine(name), draw_noise(64)), expected)


@EVERY_ENGINE
def test_concurrent_calls_do_not_mix_their_rows(name: str, load_engine: LoadEngine) -> None:
    pixels = draw_noise(50)
    engine, expected = load_engine(name), run_engine(load_engine(name), pixels)
    selections = [np.random.default_rng(i).permutation(50)[: 1 + 7 * (i % 5)] for i in range(20)]
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda indices: run_engine(engine, pixels[indices]), selections)
        for indices, rows in zip(selections, results, strict=True):
            np.testing.assert_array_equal(rows, expected[indices])


@EVERY_ENGINE
def test_an_interruption_does_not_change_calls_of_other_threads(
    name: str, load_engine: LoadEngine
) -> None:
    pixels = draw_noise(64)
    engine, expected = load_engine(name), run_engine(load_engine(name), pixels)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        others = [pool.submit(run_engine, engine, pixels) for _ in range(3)]
        for _ in range(3):
            out = np.empty((64, 1280), dtype=np.float32)
            with pytest.raises(KeyboardInterrupt):
                engine.write_features(pixels, out, interrupt)
        for other in others:
            np.testing.assert_array_equal(other.result(), expected)


def test_global_settings_of_torch_are_correct_in_both_threads(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread computes after the first one has restored the settings."""

    def get_settings() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    loaded = [open_engine("torch", backbone, threads=1) for _ in range(2)]
    inside, first_finished = Event(), Event()
    during: list[tuple[bool, bool]] = []

    def run_first(*_: object) -> None:
        second.start()
        inside.wait(OVERLAP)
        during.append(get_settings())

    def run_second(*_: object) -> None:
        inside.set()
        first_finished.wait(OVERLAP)
        during.append(get_settings())

    for engine, hook in zip(loaded, (run_first, run_second), strict=True):
        engine._backbone.register_forward_pre_hook(hook)  # type: ignore[attr-defined]
    second = Thread(target=run_engine, args=(loaded[1], draw_noise(1)))
    run_engine(loaded[0], draw_noise(1))
    first_finished.set()
    second.join()
    assert during == [(False, True)] * 2
    assert get_settings() == (True, False)


@EVERY_ENGINE
def test_attributes_describe_the_engine(name: str, load_engine: LoadEngine) -> None:
    engine = load_engine(name)
    assert (engine.name, engine.version) == (name, get_engine_version(name))
    assert engine.precision == "f32"


@pytest.mark.parametrize(
    ("setting", "cuda", "x86", "is_installed", "expected"),
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
def test_the_engine_is_chosen_by_a_fixed_rule(
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    cuda: bool,
    x86: bool,
    is_installed: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(engines, "is_x86", lambda: x86)
    for module in (engines, openvino_engine):
        monkeypatch.setattr(module, "is_installed", lambda _: is_installed)
    assert choose_engine(setting) == expected  # type: ignore[arg-type]


def test_a_missing_engine_is_refused_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, backbone: Backbone
) -> None:
    monkeypatch.setattr(openvino_engine, "is_installed", lambda _: False)
    cure = r"not installed: pip install 'veduta\[openvino\]', or choose engine=torch"
    with pytest.raises(EngineError, match=cure):
        choose_engine("openvino")
    with pytest.raises(EngineError, match=cure):
        open_engine("openvino", backbone, threads=1)


@pytest.mark.parametrize("setting", ["auto", "fastest", "openvino"])
@pytest.mark.parametrize("cuda", [True, False])
def test_int8_selects_openvino(monkeypatch: pytest.MonkeyPatch, setting: str, cuda: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(engines, "is_installed", lambda _: True)
    assert choose_engine(setting, "int8") == "openvino"  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", [("nncf",), ("openvino",), ("openvino", "nncf")])
def test_int8_without_its_packages_is_refused_with_a_cure(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    monkeypatch.setattr(engines, "is_installed", lambda package: package not in missing)
    with pytest.raises(EngineError, match=rf"{' and '.join(missing)} not.*veduta\[int8\]"):
        choose_engine("auto", "int8")


def test_int8_on_torch_is_refused() -> None:
    with pytest.raises(EngineError, match=r"int8 needs OpenVINO; got engine=torch: choose"):
        choose_engine("torch", "int8")


# The telemetry forks a child that opens a socket; the hook reports both on standard error.
PROGRAM = """
import sys
def report(event, args):
    if watching and (event == "os.fork" or event.startswith("socket.")):
        sys.stderr.write(event + str(args))
        sys.stderr.flush()
watching = False
sys.addaudithook(report)
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
engine.write_features(np.zeros((4, 32, 32, 3), np.uint8), out, lambda done, total: None)
assert np.isfinite(out).all()
import time
time.sleep(0.5)
"""


@needs_openvino
@pytest.mark.parametrize("before", [False, True], ids=["fresh", "telemetry loaded before"])
def test_openvino_opens_no_socket_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    if before and "openvino-telemetry" not in PACKAGES:
        pytest.skip("the telemetry is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))  # the telemetry has its consent file there
    monkeypatch.delenv("CI", raising=False)  # it disables the telemetry
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM.format(before=before)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")
    assert before or not list(tmp_path.iterdir())


@pytest.mark.parametrize(("side", "largest"), [(SIZE, 16), (SIZE // 2, 4), (1, 1)])
def test_batches_of_large_images_are_small(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, side: int, largest: int
) -> None:
    monkeypatch.setattr("veduta.features.engines.BATCH_SIDE", side)
    monkeypatch.setattr("veduta.features.engines._get_device", lambda: "cpu")
    engine = open_engine("torch", backbone, threads=1)
    sizes: list[int] = []
    engine._backbone.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))  # type: ignore[attr-defined]
    run_engine(engine, draw_noise(5))
    assert set(sizes) == {largest}
