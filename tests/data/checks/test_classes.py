"""Missing, tiny and imbalanced classes, with numbers worked by hand."""

from tests.support.traits import build_image
from veduta.data.checks.inspection import check_classes
from veduta.data.pixels import Image


def build_images(count: int, folder: str) -> list[Image]:
    return [build_image(f"{folder}{n}", f"{folder}/{n}") for n in range(count)]


def test_large_and_even_classes_have_no_findings() -> None:
    images = build_images(10, "train/a") + build_images(99, "train/b")
    assert check_classes(images, ("a", "b")) == []


def test_a_class_with_fewer_than_ten_distinct_images_is_tiny() -> None:
    images = build_images(9, "a") + build_images(30, "b")
    images += [build_image("a0", f"a/copy{n}") for n in range(5)]
    (finding,) = check_classes(images, ("a", "b"))
    assert (finding.problem, finding.samples) == ("tiny class", ())
    assert "'a' has 9 " in finding.detail


def test_a_ratio_of_ten_is_a_class_imbalance() -> None:
    images = build_images(10, "train/a") + build_images(100, "train/b")
    (finding,) = check_classes(images, ("a", "b"))
    assert finding.problem == "class imbalance"
    assert "'b' has 100 " in finding.detail
    assert "'a' 10" in finding.detail


def test_a_class_without_images_in_a_split_is_missing() -> None:
    images = build_images(20, "train/a") + build_images(20, "train/b")
    images += build_images(3, "test/a") + build_images(3, "predict/b")
    (finding,) = check_classes(images, ("a", "b"))
    assert finding.problem == "missing class"
    assert "test image of 'b'" in finding.detail


def test_a_class_without_readable_images_is_tiny() -> None:
    (finding,) = check_classes(build_images(20, "a"), ("a", "b"))
    assert finding.problem == "tiny class"
    assert "'b' has 0 " in finding.detail
    assert [finding.problem for finding in check_classes([], ("a",))] == ["tiny class"]
