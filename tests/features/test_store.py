"""The store of features: each image runs once, and the key says all that decides the result."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from veduta.augment.views import Augmented, HorizontalFlip, View
from veduta.data.pixels import Image, Resize
from veduta.data.row_store import Rows, RowStore
from veduta.data.sample import Sample
from veduta.features import store as subject
from veduta.features.store import Extractor, Features, compute_features, load_features
from veduta.networks.backbones import Backbone, build_backbone
from veduta.runtime.streams import sample_keys

SIZE = 32
RESIZE = Resize(SIZE)


class CountingEngine:
    """Torch, image by image, that remembers how many images it has seen."""

    name, version, precision = "torch", "0", "f32"

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.seen = 0
        self.blocks: list[int] = []

    def features(
        self, pixels: NDArray[np.uint8], out: NDArray[np.float32], progress: Callable[[int], None]
    ) -> None:
        self.blocks.append(len(pixels))
        for index, image in enumerate(pixels):
            out[index] = self.backbone(torch.from_numpy(image[None]))[0].numpy()
            self.seen += 1
            progress(1)


@pytest.fixture(scope="module")
def backbone(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", "none", image_size=SIZE, cache=cache)


@pytest.fixture
def engine(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> CountingEngine:
    counting = CountingEngine(backbone)
    monkeypatch.setattr(subject, "open_engine", lambda *_, **__: counting)
    return counting


@pytest.fixture
def extractor(backbone: Backbone) -> Extractor:
    return Extractor(backbone, "torch", RESIZE, threads=1)


def data(count: int, root: Path, copies: int = 0) -> tuple[list[Image], Rows]:
    """Images of noise, then the first one again `copies` times."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(count)]
    arrays += [arrays[0]] * copies
    digests = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    store = RowStore(root, "pixels", {}, shape=(SIZE, SIZE, 3), dtype="uint8")
    with store.fill(digests) as block:
        for index, key in enumerate(block.keys):
            block.rows[index] = arrays[digests.index(key)]
    samples = [Sample(Path(f"{i}.png"), f"{i}.png", None, None) for i in range(len(arrays))]
    images = [Image(sample, digest) for sample, digest in zip(samples, digests, strict=True)]
    return images, store.rows(digests)


def expected(backbone: Backbone, pixels: Rows) -> NDArray[np.float32]:
    return backbone(torch.from_numpy(pixels.take())).numpy()


def assert_right(found: Features, backbone: Backbone, pixels: Rows) -> None:
    assert found.rows.dtype == np.float32
    np.testing.assert_allclose(found.rows.take(), expected(backbone, pixels), atol=1e-4, rtol=1e-4)


def test_rows_stand_in_the_order_of_the_images(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(10, tmp_path)
    found = load_features(images, pixels, extractor, cache=tmp_path)
    assert_right(found, extractor.backbone, pixels)
    assert (found.reused, found.computed, found.engine) == (0, 10, "torch")


def test_the_second_time_the_engine_is_not_opened(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, pixels = data(10, tmp_path)
    first = load_features(images, pixels, extractor, cache=tmp_path)
    monkeypatch.setattr(subject, "open_engine", None)
    again = load_features(images, pixels, extractor, cache=tmp_path)
    np.testing.assert_array_equal(again.rows.take(), first.rows.take())
    assert (again.reused, again.computed, again.key) == (10, 0, first.key)
    assert engine.seen == 10


def test_only_what_is_missing_is_computed(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(10, tmp_path)
    some = [7, 2, 5]
    digests = [images[i].digest for i in some]
    store = RowStore(tmp_path, "pixels", {}, shape=(SIZE, SIZE, 3), dtype="uint8")
    load_features([images[i] for i in some], store.rows(digests), extractor, cache=tmp_path)
    found = load_features(images, pixels, extractor, cache=tmp_path)
    assert_right(found, extractor.backbone, pixels)
    assert (found.reused, found.computed, engine.seen) == (3, 7, 10)


def test_copies_of_an_image_run_once(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(4, tmp_path, copies=3)
    found = load_features(images, pixels, extractor, cache=tmp_path)
    assert_right(found, extractor.backbone, pixels)
    assert (found.computed, engine.seen) == (7, 4)


def test_blocks_and_shards_do_not_change_the_result(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "KEPT", 7)
    monkeypatch.setattr(subject, "BLOCK", 3)
    images, pixels = data(20, tmp_path)
    found = load_features(images, pixels, extractor, cache=tmp_path)
    assert_right(found, extractor.backbone, pixels)
    assert engine.seen == 20


def test_large_images_are_handed_over_a_few_at_a_time(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, pixels = data(20, tmp_path)
    row = pixels.take().nbytes // 20
    for room, largest in ((7 * row + 1, 7), (row - 1, 1)):  # a single image always goes
        monkeypatch.setattr(subject, "BLOCK_BYTES", room)
        found = load_features(images, pixels, extractor, cache=tmp_path / str(largest))
        assert_right(found, extractor.backbone, pixels)
        assert max(engine.blocks) == largest
        engine.blocks.clear()


def test_what_was_computed_before_an_interruption_is_kept(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "KEPT", 4)
    images, pixels = data(12, tmp_path)

    def interrupt(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_features(images, pixels, extractor, cache=tmp_path, progress=interrupt)
    found = load_features(images, pixels, extractor, cache=tmp_path)
    assert_right(found, extractor.backbone, pixels)
    assert (found.reused, found.computed) == (8, 4)


def test_progress_rises_to_the_number_of_images(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(6, tmp_path)
    told: list[tuple[int, int]] = []
    for _ in range(2):
        load_features(
            images, pixels, extractor, cache=tmp_path, progress=lambda *now: told.append(now)
        )
    assert told[0] == (0, 6)
    assert told[-1] == (6, 6)
    assert all(total == 6 for _, total in told)
    assert [done for done, _ in told][:-1] == sorted(done for done, _ in told[:-1])


def test_everything_that_decides_a_feature_is_in_its_key(
    backbone: Backbone, extractor: Extractor, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    seeded = build_backbone("efficientnet_lite0", "none", image_size=SIZE, seed=1, cache=cache)
    other = build_backbone("efficientnet_lite1", "none", image_size=SIZE, cache=cache)
    specs = [
        extractor.spec(),
        replace(extractor, backbone=seeded).spec(),
        replace(extractor, backbone=other).spec(),
        replace(extractor, engine="openvino").spec(),
        replace(extractor, resize=Resize(SIZE, "bilinear")).spec(),
        replace(extractor, resize=Resize(SIZE, fit="crop")).spec(),
        replace(extractor, resize=Resize(SIZE + 1)).spec(),
        extractor.spec(HorizontalFlip()),
        extractor.spec(Augmented(("flip",), 0, 0)),
        extractor.spec(Augmented(("flip",), 0, 1)),
    ]
    for name, value in (("CODE", 0), ("DECODER", "another")):
        with monkeypatch.context() as patch:
            patch.setattr(subject, name, value)
            specs.append(extractor.spec())
    assert len({repr(spec) for spec in specs}) == len(specs)
    assert replace(extractor, threads=7).spec() == extractor.spec()
    assert extractor.spec()["weights"] == backbone.weights_sha256


@pytest.mark.parametrize(
    "view", [HorizontalFlip(), Augmented(("crop", "colour"), 0, 1)], ids=["mirror", "augmented"]
)
def test_a_view_is_computed_from_the_pixels_that_it_shows(
    tmp_path: Path,
    extractor: Extractor,
    engine: CountingEngine,
    monkeypatch: pytest.MonkeyPatch,
    view: View,
) -> None:
    monkeypatch.setattr(subject, "KEPT", 7)
    monkeypatch.setattr(subject, "BLOCK", 3)
    images, pixels = data(20, tmp_path, copies=1)
    plain = load_features(images, pixels, extractor, cache=tmp_path)
    found = load_features(images, pixels, extractor, cache=tmp_path, view=view)
    shown = view.apply(pixels.take(), sample_keys([image.digest for image in images]))
    wanted = extractor.backbone(torch.from_numpy(shown)).numpy()
    np.testing.assert_allclose(found.rows.take(), wanted, atol=1e-4, rtol=1e-4)
    assert abs(found.rows.take() - plain.rows.take()).max() > 1e-2
    assert (found.computed, engine.seen, found.key != plain.key) == (21, 40, True)


def test_a_later_view_is_a_row_of_its_own(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(4, tmp_path)
    for count, seen in ((2, 8), (3, 12), (3, 12)):
        for number in range(count):
            view = Augmented(("flip", "crop"), 0, number)
            load_features(images, pixels, extractor, cache=tmp_path, view=view)
        assert engine.seen == seen


def test_the_key_names_the_folder_in_the_cache(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(2, tmp_path)
    found = load_features(images, pixels, extractor, cache=tmp_path)
    assert [path.name for path in (tmp_path / "features").iterdir()] == [found.key]


def test_no_images_are_no_features(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = data(1, tmp_path)
    found = load_features([], pixels, extractor, cache=tmp_path)
    assert found.rows.take().shape == (0, 1280)
    assert images


def test_features_of_images_that_are_not_kept_are_the_same(
    tmp_path: Path, extractor: Extractor, backbone: Backbone
) -> None:
    images, pixels = data(20, tmp_path)
    kept = load_features(images, pixels, extractor, cache=tmp_path).rows.take()
    engine = extractor.opened
    for chosen in (np.arange(20), np.array([13]), np.array([4, 2])):
        now = compute_features(pixels.take(chosen), backbone, engine)
        np.testing.assert_array_equal(now, kept[chosen])
