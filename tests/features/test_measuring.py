"""The stopwatch behind `fastest`: what counts and what does not, by a clock that is told."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from veduta.features import engines as subject
from veduta.features.engines import candidates
from veduta.networks.backbones import build_backbone

BACKBONE = SimpleNamespace(shape=(5, 2, 2))


class Fake:
    """Engines whose passes take the seconds that a table says, on a clock of their own."""

    def __init__(self, seconds: dict[str, list[float]]) -> None:
        self.now = 0.0
        self.left = {name: list(values) for name, values in seconds.items()}
        self.shapes: set[tuple[int, ...]] = set()

    def open(self, name: str, *_: object, **__: object) -> SimpleNamespace:
        self.now += 100.0  # opening must not count

        def features(pixels: np.ndarray, out: np.ndarray, progress: object) -> None:
            out[:] = np.ones((len(pixels), *BACKBONE.shape))  # maps, where stages are cut
            self.shapes.add(pixels.shape)
            self.now += self.left[name].pop(0)

        return SimpleNamespace(features=features)


def measured(fake: Fake, monkeypatch: pytest.MonkeyPatch, images: int = 16) -> dict[str, float]:
    monkeypatch.setattr(subject, "open_engine", fake.open)
    pixels = np.zeros((images, 4, 4, 3), np.uint8)
    return subject.measure(
        tuple(fake.left), BACKBONE, pixels, threads=1, clock=lambda: fake.now  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_best_pass_after_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake({"a": [9.0, 0.3, 0.1, 0.2], "b": [0.01, 0.2, 0.2, 0.2]})
    assert measured(fake, monkeypatch) == pytest.approx({"a": 160.0, "b": 80.0})


def test_a_slow_engine_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake({"a": [4.0, 4.0, 0.1]})
    assert measured(fake, monkeypatch) == {"a": 4.0}
    assert fake.left["a"] == [0.1]


@pytest.mark.parametrize("images", [1, 3, 16, 40])
def test_a_pass_is_sixteen_images_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch, images: int
) -> None:
    fake = Fake({"a": [1.0] * 4})
    measured(fake, monkeypatch, images)
    assert fake.shapes == {(16, 4, 4, 3)}


def test_every_engine_of_this_machine_can_be_measured(cache: Path) -> None:
    backbone = build_backbone("efficientnet_lite0", "none", image_size=32, cache=cache)
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    rates = subject.measure(candidates(), backbone, pixels, threads=1)
    assert tuple(rates) == candidates()
    assert all(rate > 0 for rate in rates.values())
