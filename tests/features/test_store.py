"""Features are computed once per image, and their key contains everything that determines them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.features import draw_noise, store_images
from veduta.augment.views import Augmented, HorizontalFlip, View
from veduta.data.pixels import Image, Resize
from veduta.data.row_store import Rows, RowStore
from veduta.features import store
from veduta.features.store import Extractor, Features, compute_features, load_features
from veduta.networks.backbones import Backbone, build_backbone
from veduta.runtime.environment import get_content_folder
from veduta.runtime.streams import derive_sample_keys
from veduta.types import Float32Array, PixelArray, Progress

SIZE = 32
RESIZE = Resize(SIZE)


class CountingEngine:
    """Runs torch image by image, and counts the images."""

    name, version, precision = "torch", "0", "f32"

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.images = 0
        self.blocks: list[int] = []

    def write_features(self, pixels: PixelArray, out: Float32Array, progress: Progress) -> None:
        self.blocks.append(len(pixels))
        for index, image in enumerate(pixels):
            out[index] = self.backbone(torch.from_numpy(image[None]))[0].numpy()
            self.images += 1
            progress(index + 1, len(pixels))


@pytest.fixture(scope="module")
def backbone(cache: Path) -> Backbone:
    return build_backbone("efficientnet_lite0", "none", image_size=SIZE, cache=cache)


@pytest.fixture
def engine(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> CountingEngine:
    counting = CountingEngine(backbone)
    monkeypatch.setattr(store, "open_engine", lambda *_, **__: counting)
    return counting


@pytest.fixture
def extractor(backbone: Backbone) -> Extractor:
    return Extractor(backbone, "torch", RESIZE, threads=1)


def create_images(count: int, root: Path, copies: int = 0) -> tuple[list[Image], Rows]:
    """Create images of noise, followed by `copies` copies of the first one."""
    pixels = draw_noise(count, SIZE)
    return store_images(np.concatenate([pixels, *[pixels[:1]] * copies]), root)


def compute_expected(backbone: Backbone, pixels: Rows) -> Float32Array:
    return backbone(torch.from_numpy(pixels.take())).numpy()


def assert_correct(features: Features, backbone: Backbone, pixels: Rows) -> None:
    assert features.rows.dtype == np.float32
    np.testing.assert_allclose(
        features.rows.take(), compute_expected(backbone, pixels), atol=1e-4, rtol=1e-4
    )


def test_rows_have_the_order_of_the_images(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(10, tmp_path)
    features = load_features(images, pixels, extractor, cache=tmp_path)
    assert_correct(features, extractor.backbone, pixels)
    assert (features.reused, features.computed, features.engine) == (0, 10, "torch")


def test_cached_features_are_loaded_without_the_engine(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, pixels = create_images(10, tmp_path)
    first = load_features(images, pixels, extractor, cache=tmp_path)
    monkeypatch.setattr(store, "open_engine", None)
    cached = load_features(images, pixels, extractor, cache=tmp_path)
    np.testing.assert_array_equal(cached.rows.take(), first.rows.take())
    assert (cached.reused, cached.computed, cached.key) == (10, 0, first.key)
    assert engine.images == 10


def test_only_missing_features_are_computed(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(10, tmp_path)
    selected = [7, 2, 5]
    digests = [images[i].digest for i in selected]
    rows = RowStore(tmp_path, "pixels", {}, shape=(SIZE, SIZE, 3), dtype="uint8")
    load_features([images[i] for i in selected], rows.load_rows(digests), extractor, cache=tmp_path)
    features = load_features(images, pixels, extractor, cache=tmp_path)
    assert_correct(features, extractor.backbone, pixels)
    assert (features.reused, features.computed, engine.images) == (3, 7, 10)


def test_features_of_copies_are_computed_once(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(4, tmp_path, copies=3)
    features = load_features(images, pixels, extractor, cache=tmp_path)
    assert_correct(features, extractor.backbone, pixels)
    assert (features.computed, engine.images) == (7, 4)


def test_blocks_and_shards_do_not_change_the_result(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IMAGES_PER_SHARD", 7)
    monkeypatch.setattr(store, "IMAGES_PER_BLOCK", 3)
    images, pixels = create_images(20, tmp_path)
    features = load_features(images, pixels, extractor, cache=tmp_path)
    assert_correct(features, extractor.backbone, pixels)
    assert engine.images == 20


def test_blocks_of_large_images_are_small(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, pixels = create_images(20, tmp_path)
    image_bytes = pixels.take().nbytes // 20
    for max_bytes, largest in ((7 * image_bytes + 1, 7), (image_bytes - 1, 1)):
        monkeypatch.setattr(store, "BYTES_PER_BLOCK", max_bytes)
        features = load_features(images, pixels, extractor, cache=tmp_path / str(largest))
        assert_correct(features, extractor.backbone, pixels)
        assert max(engine.blocks) == largest
        engine.blocks.clear()


def test_features_computed_before_an_interruption_are_kept(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IMAGES_PER_SHARD", 4)
    images, pixels = create_images(12, tmp_path)

    def interrupt(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_features(images, pixels, extractor, cache=tmp_path, progress=interrupt)
    features = load_features(images, pixels, extractor, cache=tmp_path)
    assert_correct(features, extractor.backbone, pixels)
    assert (features.reused, features.computed) == (8, 4)


def test_progress_increases_to_the_number_of_images(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(6, tmp_path)
    reports: list[tuple[int, int]] = []
    for _ in range(2):
        load_features(
            images,
            pixels,
            extractor,
            cache=tmp_path,
            progress=lambda *report: reports.append(report),
        )
    assert reports[0] == (0, 6)
    assert reports[-1] == (6, 6)
    assert all(total == 6 for _, total in reports)
    assert [done for done, _ in reports][:-1] == sorted(done for done, _ in reports[:-1])


def test_everything_that_determines_a_feature_is_in_its_key(
    backbone: Backbone, extractor: Extractor, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    other_seed = build_backbone("efficientnet_lite0", "none", image_size=SIZE, seed=1, cache=cache)
    other_model = build_backbone("efficientnet_lite1", "none", image_size=SIZE, cache=cache)
    specs = [
        extractor.spec(),
        replace(extractor, backbone=other_seed).spec(),
        replace(extractor, backbone=other_model).spec(),
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
            patch.setattr(store, name, value)
            specs.append(extractor.spec())
    assert len({repr(spec) for spec in specs}) == len(specs)
    assert replace(extractor, threads=7).spec() == extractor.spec()
    assert extractor.spec()["weights"] == backbone.weights_sha256


@pytest.mark.parametrize(
    "view", [HorizontalFlip(), Augmented(("crop", "color"), 0, 1)], ids=["flip", "augmented"]
)
def test_features_of_a_view_are_computed_from_its_pixels(
    tmp_path: Path,
    extractor: Extractor,
    engine: CountingEngine,
    monkeypatch: pytest.MonkeyPatch,
    view: View,
) -> None:
    monkeypatch.setattr(store, "IMAGES_PER_SHARD", 7)
    monkeypatch.setattr(store, "IMAGES_PER_BLOCK", 3)
    images, pixels = create_images(20, tmp_path, copies=1)
    plain = load_features(images, pixels, extractor, cache=tmp_path)
    features = load_features(images, pixels, extractor, cache=tmp_path, view=view)
    view_pixels = view.apply(pixels.take(), derive_sample_keys([image.digest for image in images]))
    expected = extractor.backbone(torch.from_numpy(view_pixels)).numpy()
    np.testing.assert_allclose(features.rows.take(), expected, atol=1e-4, rtol=1e-4)
    assert abs(features.rows.take() - plain.rows.take()).max() > 1e-2
    assert (features.computed, engine.images, features.key != plain.key) == (21, 40, True)


def test_each_view_is_computed_once(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(4, tmp_path)
    for count, computed in ((2, 8), (3, 12), (3, 12)):
        for number in range(count):
            view = Augmented(("flip", "crop"), 0, number)
            load_features(images, pixels, extractor, cache=tmp_path, view=view)
        assert engine.images == computed


def test_the_key_names_the_folder_in_the_cache(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(2, tmp_path)
    features = load_features(images, pixels, extractor, cache=tmp_path)
    assert [path.name for path in (get_content_folder(tmp_path) / "features").iterdir()] == [
        features.key
    ]


def test_no_images_have_no_features(
    tmp_path: Path, extractor: Extractor, engine: CountingEngine
) -> None:
    images, pixels = create_images(1, tmp_path)
    features = load_features([], pixels, extractor, cache=tmp_path)
    assert features.rows.take().shape == (0, 1280)
    assert images


def test_features_computed_without_the_cache_are_the_same(
    tmp_path: Path, extractor: Extractor, backbone: Backbone
) -> None:
    images, pixels = create_images(20, tmp_path)
    cached = load_features(images, pixels, extractor, cache=tmp_path).rows.take()
    engine = extractor.loaded_engine
    for indices in (np.arange(20), np.array([13]), np.array([4, 2])):
        features = compute_features(pixels.take(indices), backbone, engine)
        np.testing.assert_array_equal(features, cached[indices])
