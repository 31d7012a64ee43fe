"""What is odd about an image: each rule just on either side of it."""

import math
from dataclasses import replace

import pytest

from tests.data.checks.looks import TRAITS, made_up
from veduta.data.checks.findings import NOTES
from veduta.data.checks.inspection import BLURRED, odd_findings, oddities

ODD: list[tuple[str, dict[str, object], str]] = [
    ("a/1.jpg", {}, ""),
    ("a/1.JPEG", {}, ""),
    ("a/1", {}, ""),
    ("a/1.jpg", {"format": "PNG"}, "wrong extension"),
    ("a/1.heic", {}, "wrong extension"),
    ("a/1.jpg", {"format": "MPO"}, ""),
    ("a/1.jpg", {"animated": True}, "animated"),
    ("a/1.jpg", {"mode": "CMYK"}, "not RGB"),
    ("a/1.png", {"format": "PNG", "mode": "RGBA", "transparent": True}, "transparent"),
    ("a/1.png", {"format": "PNG", "mode": "I;16", "deep": True}, "16-bit"),
    ("a/1.png", {"format": "PNG", "mode": "RGB", "deep": True}, "16-bit"),
    ("a/1.jpg", {"orientation": 6}, "rotated"),
    ("a/1.jpg", {"width": 400, "height": 100}, "odd shape"),
    ("a/1.jpg", {"width": 100, "height": 401}, "odd shape"),
    ("a/1.jpg", {"width": 399, "height": 100}, ""),
    ("a/1.jpg", {"width": 15, "height": 20}, "tiny image"),
    ("a/1.jpg", {"width": 16, "height": 16}, ""),
    ("a/1.jpg", {"blank": True, "brightness": 0.0}, "blank"),
    ("a/1.jpg", {"brightness": 15.9}, "dark"),
    ("a/1.jpg", {"brightness": 16.0}, ""),
    ("a/1.jpg", {"brightness": 240.1}, "bright"),
    ("a/1.jpg", {"sharpness": BLURRED * 0.99}, "blurred"),
    ("a/1.jpg", {"sharpness": BLURRED}, ""),
    ("a/1.jpg", {"sharpness": math.inf}, ""),
]


@pytest.mark.parametrize(("name", "traits", "problem"), ODD)
def test_each_rule(name: str, traits: dict[str, object], problem: str) -> None:
    found = list(oddities(name, replace(TRAITS, **traits)))  # type: ignore[arg-type]
    assert [one for one, _ in found] == ([problem] if problem else [])
    assert problem in {"", "blank", *NOTES}


def test_several_oddities_of_one_image_are_all_told() -> None:
    traits = replace(TRAITS, format="PNG", mode="LA", transparent=True, brightness=3.0, width=9)
    assert [problem for problem, _ in oddities("1.gif", traits)] == [
        *("wrong extension", "not RGB", "transparent", "odd shape", "tiny image", "dark")
    ]


def test_what_most_images_have_is_how_the_data_are() -> None:
    grey = [made_up(f"g{n}", f"a/g{n}.jpg", mode="L") for n in range(6)]
    rest = [made_up(f"r{n}", f"a/r{n}.jpg") for n in range(5)]
    (found,) = odd_findings([*grey, *rest])
    assert found.problem == "not RGB"
    assert [sample.name for sample in found.samples] == [f"a/g{n}.jpg" for n in range(6)]
    assert found.detail.startswith("6 of 11 images, such as: mode L of a JPEG file")
    assert len(odd_findings([*grey[:5], *rest])) == 5
    assert [len(one.samples) for one in odd_findings(grey[:1])] == [1]
