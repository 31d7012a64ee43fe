"""An image's view: the same bytes in any company, order and number of threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample

from tests.augment.test_matrices import noise
from veduta.augment import sampling as subject
from veduta.augment.matrices import LUMA
from veduta.augment.registry import AUGMENTATIONS
from veduta.augment.sampling import augment
from veduta.runtime.streams import mix

COUNT, SIZE = 45, 23  # pixels of no round number: vectors have a rest
KEYS = mix(np.arange(COUNT, dtype=np.uint64))
ALL = tuple(AUGMENTATIONS)


@pytest.fixture(scope="module")
def together() -> np.ndarray:
    return views()


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def views(
    chosen: np.ndarray | slice = slice(None), *, names: tuple[str, ...] = ALL, seed: int = 0,
    view: int = 0, size: int = SIZE,
) -> np.ndarray:  # fmt: skip
    return augment(noise(COUNT, size)[chosen], KEYS[chosen], names=names, seed=seed, view=view)


def test_an_image_is_changed_and_keeps_its_form(together: np.ndarray) -> None:
    assert (together.shape, together.dtype) == ((COUNT, SIZE, SIZE, 3), np.uint8)
    assert together.flags.c_contiguous
    assert (together != noise(COUNT, SIZE)).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [1, 2, 7, 32, 44])
def test_company_and_order_mean_nothing(together: np.ndarray, size: int) -> None:
    order = np.random.default_rng(0).permutation(COUNT)
    parts = [views(order[start : start + size]) for start in range(0, COUNT, size)]
    np.testing.assert_array_equal(np.concatenate(parts), together[order])


@pytest.mark.parametrize("name", ALL)
def test_each_augmentation_alone_is_the_same_alone(name: str) -> None:
    whole = views(names=(name,), size=64)
    for index in (0, 31, 44):
        one = views(slice(index, index + 1), names=(name,), size=64)
        np.testing.assert_array_equal(one[0], whole[index])


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("size", [SIZE, 224])
def test_threads_mean_nothing(size: int) -> None:
    several = views(slice(0, 9), size=size)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(several, views(slice(0, 9), size=size))


def test_the_number_at_once_means_nothing(
    together: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    transform = subject.transform

    def counted(pixels: np.ndarray, changes: subject.Changes) -> np.ndarray:
        at_once.append(len(pixels))
        return transform(pixels, changes)

    monkeypatch.setattr(subject, "transform", counted)
    for pixels, most in ((4 * SIZE**2, 4), (SIZE**2 - 1, 1)):  # a single image always goes
        monkeypatch.setattr(subject, "AT_ONCE", pixels)
        np.testing.assert_array_equal(views(), together)
        assert max(at_once) == most
        at_once.clear()


def test_the_order_of_names_means_nothing(together: np.ndarray) -> None:
    np.testing.assert_array_equal(views(names=ALL[::-1]), together)


def test_seed_view_and_content_decide(together: np.ndarray) -> None:
    same = noise(1, SIZE).repeat(COUNT, axis=0)
    each = augment(same, KEYS, names=ALL, seed=0, view=0)
    assert len(np.unique(each.reshape(COUNT, -1), axis=0)) == COUNT
    assert (views(view=1) != together).any(axis=(1, 2, 3)).all()
    assert (views(seed=1) != together).any(axis=(1, 2, 3)).all()


def test_one_more_name_leaves_the_draws_of_the_others() -> None:
    flipped = views(names=("flip",))
    exact = noise(COUNT, SIZE)[:, :, ::-1]
    turned = (flipped == exact).all(axis=(1, 2, 3))
    assert 10 < turned.sum() < 35
    matrices = subject.drawn(KEYS, ("rotation", "flip"), seed=0, view=0)["positions"]
    np.testing.assert_array_equal(np.linalg.det(matrices) < 0, turned)


def at_length(pixels: np.ndarray, changes: subject.Changes) -> np.ndarray:
    """Views with nothing left out and nothing in place, as the first version made them."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous()
    if (colours := changes.get("colours")) is not None:
        grey = np.array(LUMA) @ pixels.sum(axis=(1, 2), dtype=np.int64).T / pixels.shape[1] ** 2
        weights = torch.from_numpy(colours.astype(np.float32))[..., None, None]
        shifts = torch.from_numpy((colours[:, :, 3] * grey[:, None]).astype(np.float32))
        red, green, blue = (images[:, None, channel] for channel in range(3))
        images = red * weights[:, :, 0] + green * weights[:, :, 1] + blue * weights[:, :, 2]
        images = (images + shifts[:, :, None, None]).clamp(0, 255)
    if (positions := changes.get("positions")) is not None:
        h = torch.from_numpy(positions.astype(np.float32))[..., None, None]
        size = pixels.shape[1]
        ticks = torch.from_numpy(((2 * np.arange(size) + 1) / size - 1).astype(np.float32))
        x, y = ticks[None, None, :], ticks[None, :, None]
        scaled = [h[:, row, 0] * x + h[:, row, 1] * y + h[:, row, 2] for row in range(3)]
        grid = torch.stack([scaled[0] / scaled[2], scaled[1] / scaled[2]], dim=-1)
        images = grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return images.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("size", [SIZE, 64, 129])
@pytest.mark.parametrize(
    "names", ["crop", "flip", "crop+flip", "colour", "colour+crop+flip", "crop+rotation",
              "colour+crop+flip+perspective+rotation"],
)  # fmt: skip
def test_quicker_ways_lead_to_the_same_bytes(names: str, size: int) -> None:
    chosen = tuple(names.split("+"))
    found = views(names=chosen, seed=3, view=2, size=size)
    changes = subject.drawn(KEYS, chosen, seed=3, view=2)
    np.testing.assert_array_equal(found, at_length(noise(COUNT, size), changes))


def test_names_that_mix_are_left_to_mixing(together: np.ndarray) -> None:
    np.testing.assert_array_equal(views(names=(*ALL, "mixup", "cutmix")), together)
    np.testing.assert_array_equal(views(names=("mixup",)), noise(COUNT, SIZE))


def test_no_images_are_no_views() -> None:
    assert views(slice(0, 0)).shape == (0, SIZE, SIZE, 3)


def test_places_beyond_the_edge_are_mirrored() -> None:
    pixels = np.arange(0, 250, 50, dtype=np.uint8)[None, None, :, None]
    pixels = np.broadcast_to(pixels, (1, 5, 5, 3)).copy()
    right = np.array([[[1.0, 0.0, 0.8], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])  # two pixels on
    found = subject.transform(pixels, {"positions": right})
    assert found[0, 0, :, 0].tolist() == [100, 150, 200, 200, 150]
