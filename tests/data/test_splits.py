"""Splits and folds: sizes, independence of order and names, copies, and leaks."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.traits import add_distinct_traits
from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.splits import assign_folds, assign_splits, find_leaks
from veduta.errors import InputError


def build_image(
    content: str, label: str, split: str | None = None, name: str | None = None
) -> Image:
    name = name or f"{split}/{label}/{content}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Image(Sample(Path(name), name, label, split), digest)


def build_images(count: int, label: str, split: str | None = None) -> list[Image]:
    return [build_image(f"{label}{split}{i}", label, split) for i in range(count)]


def assign_by_name(images: Sequence[Image], *, seed: int = 0) -> dict[str, str]:
    """Return the assigned split of each image by name."""
    splits = assign_splits(images, test=0.2, validation=0.2, seed=seed)
    return {image.sample.name: split for image, split in zip(images, splits, strict=True)}


def count_images(images: Sequence[Image], splits: Sequence[str]) -> dict[str, Counter[str]]:
    table: dict[str, Counter[str]] = {}
    for image, split in zip(images, splits, strict=True):
        table.setdefault(str(image.sample.label), Counter())[split] += 1
    return table


Sizes = st.lists(st.integers(3, 60), min_size=1, max_size=5)
Fraction = st.floats(0.01, 0.5)


@settings(deadline=None)
@given(Sizes, Fraction, Fraction, st.integers(0, 10**6))
def test_each_class_is_split_by_the_documented_rule(
    sizes: list[int], test: float, validation: float, seed: int
) -> None:
    images = [image for k, n in enumerate(sizes) for image in build_images(n, f"c{k}")]
    table = count_images(images, assign_splits(images, test=test, validation=validation, seed=seed))
    for k, n in enumerate(sizes):
        test_count = min(max(round(test * n), 1), n - 2)
        rest = n - test_count
        validation_count = min(max(round(validation * rest), 1), rest - 1)
        assert table[f"c{k}"] == {
            "test": test_count,
            "validation": validation_count,
            "train": rest - validation_count,
        }


def test_split_sizes_by_hand() -> None:
    images = build_images(100, "a") + build_images(10, "b") + build_images(3, "c")
    assert count_images(images, assign_splits(images, test=0.2, validation=0.25, seed=1)) == {
        "a": {"test": 20, "validation": 20, "train": 60},
        "b": {"test": 2, "validation": 2, "train": 6},
        "c": {"test": 1, "validation": 1, "train": 1},
    }


@settings(deadline=None)
@given(Sizes, st.integers(0, 100), st.randoms())
def test_order_and_names_of_files_do_not_matter(
    sizes: list[int], seed: int, shuffler: random.Random
) -> None:
    images = [image for k, n in enumerate(sizes) for image in build_images(n, f"c{k}")]
    before = dict(
        zip(
            [image.digest for image in images],
            assign_by_name(images, seed=seed).values(),
            strict=True,
        )
    )
    renamed = [
        Image(
            Sample(image.sample.path, f"{shuffler.random()}", image.sample.label, None),
            image.digest,
        )
        for image in images
    ]
    shuffler.shuffle(renamed)
    splits = assign_splits(renamed, test=0.2, validation=0.2, seed=seed)
    assert before == {image.digest: split for image, split in zip(renamed, splits, strict=True)}


def test_another_seed_gives_another_split() -> None:
    images = build_images(50, "a") + build_images(50, "b")
    assert assign_by_name(images, seed=1) != assign_by_name(images, seed=2)


def test_classes_are_split_independently() -> None:
    images = build_images(30, "a")
    alone = assign_by_name(images)
    assert alone.items() <= assign_by_name(build_images(40, "b") + images).items()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), min_size=1, max_size=80),
    st.integers(0, 9),
)
def test_identical_files_stay_together(pairs: list[tuple[int, str]], seed: int) -> None:
    copies = [build_image(str(n), label, name=f"{i}") for i, (n, label) in enumerate(pairs)]
    images = build_images(9, "a") + build_images(9, "b") + copies
    splits = assign_splits(images, test=0.3, validation=0.3, seed=seed)
    by_digest: dict[str, set[str]] = {}
    for image, split in zip(images, splits, strict=True):
        by_digest.setdefault(image.digest, set()).add(split)
    assert all(len(found_splits) == 1 for found_splits in by_digest.values())
    assert not find_leaks(images, splits)
    for split_counts in count_images(images, splits).values():
        assert set(split_counts) == {"train", "validation", "test"}


def test_copies_count_once() -> None:
    images = build_images(10, "a") + [
        build_image("aNone0", "a", name=f"copy{i}") for i in range(90)
    ]
    distinct = {
        image.digest: split
        for image, split in zip(images, assign_by_name(images).values(), strict=True)
    }
    assert Counter(distinct.values()) == {"test": 2, "validation": 2, "train": 6}


def test_splits_of_the_data_set_are_kept() -> None:
    images = (
        build_images(10, "a", "train")
        + build_images(7, "a", "validation")
        + build_images(5, "a", "test")
    )
    assert [image.sample.split for image in images] == list(assign_by_name(images).values())


def test_validation_images_come_from_training_only() -> None:
    images = build_images(20, "a", "train") + build_images(9, "a", "test")
    assert count_images(images, list(assign_by_name(images).values())) == {
        "a": {"train": 16, "validation": 4, "test": 9}
    }


def test_test_images_come_from_training_only() -> None:
    images = build_images(20, "a", "train") + build_images(9, "a", "validation")
    assert count_images(images, list(assign_by_name(images).values())) == {
        "a": {"train": 16, "validation": 9, "test": 4}
    }


@settings(deadline=None)
@given(st.randoms())
def test_a_test_folder_does_not_change_the_training_split(shuffler: random.Random) -> None:
    train = build_images(30, "a", "train") + build_images(20, "b", "train")
    before = assign_splits(train, test=None, validation=0.2, seed=3)
    test_images = [
        build_image(f"p{i}", shuffler.choice("abz"), "test") for i in range(shuffler.randrange(20))
    ]
    test_images += [
        build_image(f"btrain{shuffler.randrange(20)}", "a", "test")
        for _ in range(5)  # copies
    ]
    images = train + test_images
    shuffler.shuffle(images)
    splits = assign_splits(images, test=None, validation=0.2, seed=3)
    after = {image.sample.name: split for image, split in zip(images, splits, strict=True)}
    expected = {image.sample.name: split for image, split in zip(train, before, strict=True)}
    assert expected.items() <= after.items()
    if test_images:
        assert splits == assign_splits(images, test=0.2, validation=0.2, seed=3)


def test_none_assigns_no_images() -> None:
    images = build_images(5, "a")
    assert set(assign_splits(images, test=None, validation=None, seed=0)) == {"train"}
    assert "test" not in assign_splits(images, test=None, validation=0.5, seed=0)
    assert "validation" not in assign_splits(images, test=0.5, validation=None, seed=0)


def test_all_classes_that_are_too_small_are_named() -> None:
    images = build_images(2, "few") + build_images(1, "one") + build_images(9, "fine")
    with pytest.raises(InputError) as caught:
        assign_by_name(images)
    (fault,) = caught.value.faults
    assert "at least 3 distinct readable images, for training, validation and test" in fault
    assert "'few' has 2, 'one' has 1 (identical images count once" in fault
    assert "fine" not in fault
    images = (
        build_images(2, "a", "train") + build_images(1, "b", "train") + build_images(1, "a", "test")
    )
    with pytest.raises(InputError, match=r"at least 2 .* for training and validation; 'b' has 1 "):
        assign_by_name(images)


def test_copies_do_not_make_a_class_large_enough() -> None:
    images = build_images(5, "a") + [build_image("same", "b", name=f"{i}") for i in range(9)]
    with pytest.raises(InputError, match="'b' has 1 "):
        assign_by_name(images)


def test_leaks_refer_to_the_copy_in_the_last_split() -> None:
    images = [
        build_image("ab", "a", "train", "t/1"),
        build_image("ab", "a", "test", "t/2"),
        build_image("ab", "b", "test", "t/3"),
        build_image("tv", "a", "train", "t/4"),
        build_image("tv", "a", "validation", "t/5"),
        build_image("all", "a", "train", "t/6"),
        build_image("all", "b", "validation", "t/7"),
        build_image("all", "a", "test", "t/8"),
        build_image("twice", "a", "train", "t/9"),
        build_image("twice", "a", "train", "t/10"),
    ]
    leaks = find_leaks(images, [str(image.sample.split) for image in images])
    names = {images[i].sample.name: images[kept].sample.name for i, kept in leaks.items()}
    assert names == {"t/1": "t/2", "t/4": "t/5", "t/6": "t/8", "t/7": "t/8"}


def reencode(images: Sequence[Image]) -> list[Image]:
    """Return copies with the same pixels in files of other bytes."""
    copies = []
    for image in images:
        name = f"again/{image.sample.name}"
        sample = Sample(Path(name), name, image.sample.label, image.sample.split)
        digest = hashlib.sha256(f"again {image.digest}".encode()).hexdigest()
        copies.append(Image(sample, digest, image.traits))
    return copies


@pytest.mark.parametrize("folds", [None, 3])
def test_reencoded_images_share_the_split_of_the_original(folds: int | None) -> None:
    images = [add_distinct_traits(image) for image in build_images(20, "a") + build_images(20, "b")]
    copies = reencode(images)
    splits = assign_splits([*images, *copies], test=0.2, validation=0.25, seed=1, folds=folds)
    assert splits[: len(images)] == splits[len(images) :]
    assert Counter(splits[: len(images)])["test"] == 8
    if folds:
        fold = assign_folds([*images, *copies], folds, 1)
        assert [fold[image.digest] for image in images] == [fold[image.digest] for image in copies]


def test_traits_do_not_change_the_split_of_distinct_images() -> None:
    images = build_images(30, "a") + build_images(30, "b")
    with_traits = [add_distinct_traits(image) for image in images]
    assert list(assign_by_name(with_traits).values()) == list(assign_by_name(images).values())
    assert assign_folds(with_traits, 4, 2) == assign_folds(images, 4, 2)


@settings(deadline=None)
@given(st.lists(st.integers(7, 40), min_size=1, max_size=5), st.integers(2, 6), st.integers(0, 99))
def test_folds_differ_by_at_most_one_image(sizes: list[int], folds: int, seed: int) -> None:
    images = [image for k, n in enumerate(sizes) for image in build_images(n, f"c{k}")]
    fold = assign_folds(images, folds, seed)
    groups = [
        images,
        *([image for image in images if image.sample.label == f"c{k}"] for k in range(5)),
    ]
    for group in filter(None, groups):
        fold_counts = Counter(fold[image.digest] for image in group)
        assert set(fold_counts) == set(range(1, folds + 1))
        assert max(fold_counts.values()) - min(fold_counts.values()) <= 1


@settings(deadline=None)
@given(st.randoms())
def test_folds_depend_only_on_content_and_seed(shuffler: random.Random) -> None:
    images = build_images(20, "a") + build_images(13, "b")
    renamed = [
        Image(
            Sample(image.sample.path, f"{shuffler.random()}", image.sample.label, None),
            image.digest,
        )
        for image in images
    ]
    shuffler.shuffle(renamed)
    assert assign_folds(renamed, 5, 1) == assign_folds(images, 5, 1)
    assert assign_folds(images, 5, 1) != assign_folds(images, 5, 2)


def test_copies_share_a_fold_and_count_once() -> None:
    images = build_images(4, "a") + build_images(4, "b")
    copies = [
        build_image("aNone0", label, name=f"copy{i}{label}") for i in range(9) for label in "ab"
    ]
    assert assign_folds(images + copies, 2, 0) == assign_folds(images, 2, 0)


def test_folds_have_no_validation_split() -> None:
    images = build_images(20, "a", "train") + build_images(10, "a", "validation")
    splits = assign_splits(images, test=0.2, validation=0.2, seed=0, folds=5)
    assert Counter(splits) == {"train": 24, "test": 6}
    images += build_images(4, "a", "test")
    splits = assign_splits(images, test=None, validation=None, seed=0, folds=5)
    assert Counter(splits) == {"train": 30, "test": 4}
    assert set(splits[-4:]) == {"test"}


def test_the_test_split_leaves_an_image_per_fold() -> None:
    images = build_images(6, "a")
    splits = assign_splits(images, test=0.5, validation=0.2, seed=0, folds=5)
    assert Counter(splits) == {"train": 5, "test": 1}
    with pytest.raises(InputError) as caught:
        assign_splits(build_images(5, "a") + images, test=0.2, validation=0.2, seed=0, folds=6)
    (fault,) = caught.value.faults
    assert "at least 7 distinct readable images, for 6 folds and test; 'a' has 6 " in fault
    assert "use fewer folds" in fault
    with pytest.raises(InputError, match=r"at least 7 .* for 7 folds; 'a' has 6 "):
        assign_splits(images, test=None, validation=None, seed=0, folds=7)
