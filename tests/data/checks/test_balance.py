"""Classes that are missing, tiny or uneven, on numbers worked by hand."""

from tests.data.checks.looks import made_up
from veduta.data.checks.inspection import class_findings
from veduta.data.pixels import Image


def many(count: int, where: str) -> list[Image]:
    return [made_up(f"{where}{n}", f"{where}/{n}") for n in range(count)]


def test_enough_of_everything_is_no_finding() -> None:
    assert class_findings(many(10, "train/a") + many(99, "train/b"), ("a", "b")) == []


def test_a_class_is_tiny_below_ten_different_images() -> None:
    images = many(9, "a") + many(30, "b")
    images += [made_up("a0", f"a/copy{n}") for n in range(5)]
    (found,) = class_findings(images, ("a", "b"))
    assert (found.problem, found.samples) == ("tiny class", ())
    assert found.detail == "'a' has 9 different images to train on"


def test_classes_are_uneven_from_ten_times_as_many() -> None:
    (found,) = class_findings(many(10, "train/a") + many(100, "train/b"), ("a", "b"))
    assert found.problem == "uneven classes"
    assert found.detail == "'b' has 100 images to train on, 'a' 10"


def test_a_class_that_a_split_lacks_is_missing() -> None:
    images = many(20, "train/a") + many(20, "train/b") + many(3, "test/a") + many(3, "predict/b")
    (found,) = class_findings(images, ("a", "b"))
    assert found.problem == "missing class"
    assert found.detail == "there is no test image of 'b' that can be read"


def test_a_class_of_which_nothing_can_be_read() -> None:
    found = class_findings(many(20, "a"), ("a", "b"))
    assert [one.detail for one in found] == ["'b' has 0 different images to train on"]
    assert [one.problem for one in class_findings([], ("a",))] == ["tiny class"]
