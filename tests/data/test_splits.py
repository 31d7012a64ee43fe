"""Who trains, who chooses, who judges: counts, independence, copies, and the poisoned test set."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.checks.looks import seen
from veduta.data.pixels import Image
from veduta.data.sample import Sample
from veduta.data.splits import assign, fold_of, leaking
from veduta.errors import InputError


def image(content: str, label: str, split: str | None = None, name: str | None = None) -> Image:
    name = name or f"{split}/{label}/{content}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Image(Sample(Path(name), name, label, split), digest)


def many(count: int, label: str, split: str | None = None) -> list[Image]:
    return [image(f"{label}{split}{i}", label, split) for i in range(count)]


def placed(images: Sequence[Image], *, seed: int = 0) -> dict[str, str]:
    """Name -> part."""
    parts = assign(images, test=0.2, validation=0.2, seed=seed)
    return {one.sample.name: part for one, part in zip(images, parts, strict=True)}


def counts(images: Sequence[Image], parts: Sequence[str]) -> dict[str, Counter[str]]:
    table: dict[str, Counter[str]] = {}
    for one, part in zip(images, parts, strict=True):
        table.setdefault(str(one.sample.label), Counter())[part] += 1
    return table


Sizes = st.lists(st.integers(3, 60), min_size=1, max_size=5)
Share = st.floats(0.01, 0.5)


@settings(deadline=None)
@given(Sizes, Share, Share, st.integers(0, 10**6))
def test_each_class_is_divided_by_the_stated_rule(
    sizes: list[int], test: float, validation: float, seed: int
) -> None:
    images = [one for k, n in enumerate(sizes) for one in many(n, f"c{k}")]
    table = counts(images, assign(images, test=test, validation=validation, seed=seed))
    for k, n in enumerate(sizes):
        judged = min(max(round(test * n), 1), n - 2)
        chosen = min(max(round(validation * (n - judged)), 1), n - judged - 1)
        assert table[f"c{k}"] == {
            "test": judged,
            "validation": chosen,
            "train": n - judged - chosen,
        }


def test_by_hand() -> None:
    images = many(100, "a") + many(10, "b") + many(3, "c")
    assert counts(images, assign(images, test=0.2, validation=0.25, seed=1)) == {
        "a": {"test": 20, "validation": 20, "train": 60},
        "b": {"test": 2, "validation": 2, "train": 6},
        "c": {"test": 1, "validation": 1, "train": 1},
    }


@settings(deadline=None)
@given(Sizes, st.integers(0, 100), st.randoms())
def test_order_and_names_of_files_do_not_matter(
    sizes: list[int], seed: int, shuffler: random.Random
) -> None:
    images = [one for k, n in enumerate(sizes) for one in many(n, f"c{k}")]
    before = dict(
        zip([one.digest for one in images], placed(images, seed=seed).values(), strict=True)
    )
    renamed = [
        Image(Sample(one.sample.path, f"{shuffler.random()}", one.sample.label, None), one.digest)
        for one in images
    ]
    shuffler.shuffle(renamed)
    parts = assign(renamed, test=0.2, validation=0.2, seed=seed)
    assert before == {one.digest: part for one, part in zip(renamed, parts, strict=True)}


def test_another_seed_another_division() -> None:
    images = many(50, "a") + many(50, "b")
    assert placed(images, seed=1) != placed(images, seed=2)


def test_the_classes_are_divided_independently() -> None:
    images = many(30, "a")
    alone = placed(images)
    assert alone.items() <= placed(many(40, "b") + images).items()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), min_size=1, max_size=80),
    st.integers(0, 9),
)
def test_identical_files_stay_together(pairs: list[tuple[int, str]], seed: int) -> None:
    copies = [image(str(n), label, name=f"{i}") for i, (n, label) in enumerate(pairs)]
    images = many(9, "a") + many(9, "b") + copies
    parts = assign(images, test=0.3, validation=0.3, seed=seed)
    by_digest: dict[str, set[str]] = {}
    for one, part in zip(images, parts, strict=True):
        by_digest.setdefault(one.digest, set()).add(part)
    assert all(len(found) == 1 for found in by_digest.values())
    assert not leaking(images, parts)
    for found in counts(images, parts).values():
        assert set(found) == {"train", "validation", "test"}


def test_copies_count_once() -> None:
    images = many(10, "a") + [image("aNone0", "a", name=f"copy{i}") for i in range(90)]
    distinct = {one.digest: part for one, part in zip(images, placed(images).values(), strict=True)}
    assert Counter(distinct.values()) == {"test": 2, "validation": 2, "train": 6}


def test_splits_that_came_with_the_data_are_kept() -> None:
    images = many(10, "a", "train") + many(7, "a", "validation") + many(5, "a", "test")
    assert [one.sample.split for one in images] == list(placed(images).values())


def test_validation_is_taken_from_training_only() -> None:
    images = many(20, "a", "train") + many(9, "a", "test")
    assert counts(images, list(placed(images).values())) == {
        "a": {"train": 16, "validation": 4, "test": 9}
    }


def test_a_sealed_test_part_is_taken_from_training_only() -> None:
    images = many(20, "a", "train") + many(9, "a", "validation")
    assert counts(images, list(placed(images).values())) == {
        "a": {"train": 16, "validation": 9, "test": 4}
    }


@settings(deadline=None)
@given(st.randoms())
def test_a_poisoned_test_folder_cannot_change_who_trains(shuffler: random.Random) -> None:
    train = many(30, "a", "train") + many(20, "b", "train")
    before = assign(train, test=None, validation=0.2, seed=3)
    poison = [image(f"p{i}", shuffler.choice("abz"), "test") for i in range(shuffler.randrange(20))]
    poison += [
        image(f"btrain{shuffler.randrange(20)}", "a", "test")
        for _ in range(5)  # copies
    ]
    images = train + poison
    shuffler.shuffle(images)
    parts = assign(images, test=None, validation=0.2, seed=3)
    after = {one.sample.name: part for one, part in zip(images, parts, strict=True)}
    expected = {one.sample.name: part for one, part in zip(train, before, strict=True)}
    assert expected.items() <= after.items()
    if poison:
        assert parts == assign(images, test=0.2, validation=0.2, seed=3)


def test_none_takes_nothing() -> None:
    images = many(5, "a")
    assert set(assign(images, test=None, validation=None, seed=0)) == {"train"}
    assert "test" not in assign(images, test=None, validation=0.5, seed=0)
    assert "validation" not in assign(images, test=0.5, validation=None, seed=0)


def test_classes_that_are_too_small_are_all_named() -> None:
    images = many(2, "few") + many(1, "one") + many(9, "fine")
    with pytest.raises(InputError) as caught:
        placed(images)
    (fault,) = caught.value.faults
    assert "at least 3 different readable images, for training, validation and test" in fault
    assert "'few' has 2, 'one' has 1 (identical images count once" in fault
    assert "fine" not in fault
    images = many(2, "a", "train") + many(1, "b", "train") + many(1, "a", "test")
    with pytest.raises(InputError, match=r"at least 2 .* for training and validation; 'b' has 1 "):
        placed(images)


def test_copies_do_not_make_a_class_large_enough() -> None:
    images = many(5, "a") + [image("same", "b", name=f"{i}") for i in range(9)]
    with pytest.raises(InputError, match="'b' has 1 "):
        placed(images)


def test_what_judges_keeps_its_images() -> None:
    images = [
        image("ab", "a", "train", "t/1"),
        image("ab", "a", "test", "t/2"),
        image("ab", "b", "test", "t/3"),
        image("tv", "a", "train", "t/4"),
        image("tv", "a", "validation", "t/5"),
        image("all", "a", "train", "t/6"),
        image("all", "b", "validation", "t/7"),
        image("all", "a", "test", "t/8"),
        image("twice", "a", "train", "t/9"),
        image("twice", "a", "train", "t/10"),
    ]
    found = leaking(images, [str(one.sample.split) for one in images])
    names = {images[one].sample.name: images[kept].sample.name for one, kept in found.items()}
    assert names == {"t/1": "t/2", "t/4": "t/5", "t/6": "t/8", "t/7": "t/8"}


def written_anew(images: Sequence[Image]) -> list[Image]:
    """Copies with the same pixels in files of other bytes."""
    found = []
    for one in images:
        name = f"again/{one.sample.name}"
        sample = Sample(Path(name), name, one.sample.label, one.sample.split)
        digest = hashlib.sha256(f"again {one.digest}".encode()).hexdigest()
        found.append(Image(sample, digest, one.traits))
    return found


@pytest.mark.parametrize("folds", [None, 3])
def test_images_written_anew_stay_with_their_like(folds: int | None) -> None:
    images = [seen(one) for one in many(20, "a") + many(20, "b")]
    copies = written_anew(images)
    parts = assign([*images, *copies], test=0.2, validation=0.25, seed=1, folds=folds)
    assert parts[: len(images)] == parts[len(images) :]
    assert Counter(parts[: len(images)])["test"] == 8
    if folds:
        fold = fold_of([*images, *copies], folds, 1)
        assert [fold[one.digest] for one in images] == [fold[one.digest] for one in copies]


def test_an_image_of_its_own_is_placed_by_its_file_as_ever() -> None:
    images = many(30, "a") + many(30, "b")
    looked_at = [seen(one) for one in images]
    assert list(placed(looked_at).values()) == list(placed(images).values())
    assert fold_of(looked_at, 4, 2) == fold_of(images, 4, 2)


@settings(deadline=None)
@given(st.lists(st.integers(7, 40), min_size=1, max_size=5), st.integers(2, 6), st.integers(0, 99))
def test_folds_differ_by_one_image_at_most(sizes: list[int], folds: int, seed: int) -> None:
    images = [one for k, n in enumerate(sizes) for one in many(n, f"c{k}")]
    fold = fold_of(images, folds, seed)
    groups = [images, *([one for one in images if one.sample.label == f"c{k}"] for k in range(5))]
    for group in filter(None, groups):
        found = Counter(fold[one.digest] for one in group)
        assert set(found) == set(range(1, folds + 1))
        assert max(found.values()) - min(found.values()) <= 1


@settings(deadline=None)
@given(st.randoms())
def test_folds_know_content_and_seed_alone(shuffler: random.Random) -> None:
    images = many(20, "a") + many(13, "b")
    renamed = [
        Image(Sample(one.sample.path, f"{shuffler.random()}", one.sample.label, None), one.digest)
        for one in images
    ]
    shuffler.shuffle(renamed)
    assert fold_of(renamed, 5, 1) == fold_of(images, 5, 1)
    assert fold_of(images, 5, 1) != fold_of(images, 5, 2)


def test_copies_share_a_fold_and_count_once() -> None:
    images = many(4, "a") + many(4, "b")
    copies = [image("aNone0", label, name=f"copy{i}{label}") for i in range(9) for label in "ab"]
    assert fold_of(images + copies, 2, 0) == fold_of(images, 2, 0)


def test_with_folds_nothing_is_set_apart_to_choose() -> None:
    images = many(20, "a", "train") + many(10, "a", "validation")
    parts = assign(images, test=0.2, validation=0.2, seed=0, folds=5)
    assert Counter(parts) == {"train": 24, "test": 6}
    images += many(4, "a", "test")
    parts = assign(images, test=None, validation=None, seed=0, folds=5)
    assert Counter(parts) == {"train": 30, "test": 4}
    assert set(parts[-4:]) == {"test"}


def test_the_test_part_leaves_an_image_a_fold() -> None:
    images = many(6, "a")
    parts = assign(images, test=0.5, validation=0.2, seed=0, folds=5)
    assert Counter(parts) == {"train": 5, "test": 1}
    with pytest.raises(InputError) as caught:
        assign(many(5, "a") + images, test=0.2, validation=0.2, seed=0, folds=6)
    (fault,) = caught.value.faults
    assert "at least 7 different readable images, for 6 folds and test; 'a' has 6 " in fault
    assert "ask for fewer folds" in fault
    with pytest.raises(InputError, match=r"at least 7 .* for 7 folds; 'a' has 6 "):
        assign(images, test=None, validation=None, seed=0, folds=7)
