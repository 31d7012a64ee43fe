"""Unusual properties of an image: each rule on both sides of its limit."""

import math
from dataclasses import replace

import pytest

from tests.support.traits import TRAITS, build_image
from veduta.data.checks.findings import WARNINGS
from veduta.data.checks.inspection import MIN_SHARPNESS, check_properties, list_unusual_properties

CASES: list[tuple[str, dict[str, object], str]] = [  # name, traits, problem or ""
    ("a/1.jpg", {}, ""),
    ("a/1.JPEG", {}, ""),
    ("a/1", {}, ""),
    ("a/1.jpg", {"format": "PNG"}, "wrong extension"),
    ("a/1.heic", {}, "wrong extension"),
    ("a/1.jpg", {"format": "MPO"}, ""),
    ("a/1.jpg", {"is_animated": True}, "animated"),
    ("a/1.jpg", {"mode": "CMYK"}, "not RGB"),
    ("a/1.png", {"format": "PNG", "mode": "RGBA", "has_transparency": True}, "transparent"),
    ("a/1.png", {"format": "PNG", "mode": "I;16", "is_16_bit": True}, "16-bit"),
    ("a/1.png", {"format": "PNG", "mode": "RGB", "is_16_bit": True}, "16-bit"),
    ("a/1.jpg", {"orientation": 6}, "rotated"),
    ("a/1.jpg", {"width": 400, "height": 100}, "aspect ratio"),
    ("a/1.jpg", {"width": 100, "height": 401}, "aspect ratio"),
    ("a/1.jpg", {"width": 399, "height": 100}, ""),
    ("a/1.jpg", {"width": 15, "height": 20}, "tiny image"),
    ("a/1.jpg", {"width": 16, "height": 16}, ""),
    ("a/1.jpg", {"is_blank": True, "brightness": 0.0}, "blank"),
    ("a/1.jpg", {"brightness": 15.9}, "dark"),
    ("a/1.jpg", {"brightness": 16.0}, ""),
    ("a/1.jpg", {"brightness": 240.1}, "bright"),
    ("a/1.jpg", {"sharpness": MIN_SHARPNESS * 0.99}, "blurred"),
    ("a/1.jpg", {"sharpness": MIN_SHARPNESS}, ""),
    ("a/1.jpg", {"sharpness": math.inf}, ""),
]


@pytest.mark.parametrize(("name", "traits", "problem"), CASES)
def test_each_rule(name: str, traits: dict[str, object], problem: str) -> None:
    properties = list_unusual_properties(name, replace(TRAITS, **traits))  # type: ignore[arg-type]
    assert [found for found, _ in properties] == ([problem] if problem else [])
    assert problem in {"", "blank", *WARNINGS}


def test_all_unusual_properties_of_an_image_are_listed() -> None:
    traits = replace(
        TRAITS, format="PNG", mode="LA", has_transparency=True, brightness=3.0, width=9
    )
    assert [problem for problem, _ in list_unusual_properties("1.gif", traits)] == [
        *("wrong extension", "not RGB", "transparent", "aspect ratio", "tiny image", "dark")
    ]


def test_a_property_of_most_images_is_one_finding() -> None:
    gray = [build_image(f"g{n}", f"a/g{n}.jpg", mode="L") for n in range(6)]
    color = [build_image(f"r{n}", f"a/r{n}.jpg") for n in range(5)]
    (finding,) = check_properties([*gray, *color])
    assert finding.problem == "not RGB"
    assert [sample.name for sample in finding.samples] == [f"a/g{n}.jpg" for n in range(6)]
    assert "6 of 11 images" in finding.detail
    assert "mode L of a JPEG file" in finding.detail
    assert len(check_properties([*gray[:5], *color])) == 5
    assert [len(finding.samples) for finding in check_properties(gray[:1])] == [1]
