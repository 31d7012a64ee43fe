"""Speed measurement for `engine=fastest`, with a simulated clock."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from veduta.features import engines
from veduta.features.engines import list_candidate_engines
from veduta.networks.backbones import build_backbone

BACKBONE = SimpleNamespace(shape=(5, 2, 2))


class FakeEngines:
    """Engines whose passes have given durations on a simulated clock."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.now = 0.0
        self.durations = {name: list(values) for name, values in seconds.items()}
        self.shapes: set[tuple[int, ...]] = set()

    def open(self, name: str, *_: object, **__: object) -> SimpleNamespace:
        self.now += 100.0  # loading must not count

        def write_features(pixels: np.ndarray, out: np.ndarray, progress: object) -> None:
            out[:] = np.ones((len(pixels), *BACKBONE.shape))  # feature maps
            self.shapes.add(pixels.shape)
            self.now += self.durations[name].pop(0)

        return SimpleNamespace(write_features=write_features)


def measure(
    fake: FakeEngines, monkeypatch: pytest.MonkeyPatch, images: int = 16
) -> dict[str, float]:
    monkeypatch.setattr(engines, "open_engine", fake.open)
    pixels = np.zeros((images, 4, 4, 3), np.uint8)
    return engines.measure_speeds(
        tuple(fake.durations), BACKBONE, pixels, threads=1, clock=lambda: fake.now  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_fastest_pass_after_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeEngines({"a": [9.0, 0.3, 0.1, 0.2], "b": [0.01, 0.2, 0.2, 0.2]})
    assert measure(fake, monkeypatch) == pytest.approx({"a": 160.0, "b": 80.0})


def test_a_slow_engine_runs_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeEngines({"a": [4.0, 4.0, 0.1]})
    assert measure(fake, monkeypatch) == {"a": 4.0}
    assert fake.durations["a"] == [0.1]


@pytest.mark.parametrize("images", [1, 3, 16, 40])
def test_a_pass_has_sixteen_images_for_any_number_of_images(
    monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    fake = FakeEngines({"a": [1.0] * 4})
    measure(fake, monkeypatch, images)
    assert fake.shapes == {(16, 4, 4, 3)}


def test_all_engines_of_this_machine_are_measured(cache: Path) -> None:
    backbone = build_backbone("efficientnet_lite0", "none", image_size=32, cache=cache)
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    speeds = engines.measure_speeds(list_candidate_engines(), backbone, pixels, threads=1)
    assert tuple(speeds) == list_candidate_engines()
    assert all(speed > 0 for speed in speeds.values())
