"""Identical images and images that look alike, on made-up groups and on pictures."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.data.checks.looks import made_up
from veduta.data.checks import duplicates
from veduta.data.checks.duplicates import (
    conflicting,
    copies,
    exact_findings,
    near_findings,
    serving,
)
from veduta.data.checks.findings import Finding
from veduta.data.hashing import MOST
from veduta.data.pixels import Image


def told(findings: Sequence[Finding]) -> list[tuple[str, list[str], str]]:
    return [(f.problem, [s.name for s in f.samples], f.action) for f in findings]


IMAGES = [
    made_up("twice", "train/a/1"),
    made_up("twice", "train/a/2"),
    made_up("leak", "train/a/3"),
    made_up("leak", "test/a/4"),
    made_up("conflict", "train/b/5"),
    made_up("conflict", "train/a/6"),
    made_up("both", "validation/a/7"),
    made_up("both", "test/b/8"),
    made_up("alone", "train/a/9"),
]


def test_a_group_is_told_by_where_its_images_stand() -> None:
    expected = [
        ("leak", ["test/a/4", "train/a/3"], "train copy dropped"),
        ("leak", ["test/b/8", "validation/a/7"], "validation copy dropped"),
        ("conflict", ["test/b/8", "validation/a/7"], "kept"),
        ("duplicate", ["train/a/1", "train/a/2"], "kept"),
        ("conflict", ["train/a/6", "train/b/5"], "kept"),
    ]
    assert told(exact_findings(IMAGES)) == expected
    assert told(exact_findings(IMAGES[::-1])) == expected
    kept = told(exact_findings(IMAGES, keep_leaks=True))
    assert kept == [(problem, names, "kept") for problem, names, _ in expected]
    assert conflicting(IMAGES) == {"train/b/5", "train/a/6", "validation/a/7", "test/b/8"}


def test_images_to_predict_neither_leak_nor_contradict() -> None:
    judged, asked = made_up("one", "test/a/1"), made_up("one", "predict/a/2")
    asked = replace(asked, sample=replace(asked.sample, label=None))
    assert told(exact_findings([judged, asked])) == [
        ("predict copy", ["predict/a/2", "test/a/1"], "kept")
    ]
    assert not any(found.weighs for found in exact_findings([judged, asked]))
    twice = [judged, made_up("one", "test/a/0"), asked]
    assert [found.problem for found in exact_findings(twice)] == ["duplicate"]
    assert not conflicting([judged, asked])


def test_a_file_that_was_not_looked_at_is_known_by_its_bytes() -> None:
    one = Image(IMAGES[0].sample, "00ff")
    assert copies([one, Image(IMAGES[1].sample, "00ff"), IMAGES[2]]) == [
        [one, Image(IMAGES[1].sample, "00ff")]
    ]


def test_near_pairs_have_their_distance_and_identical_ones_are_none() -> None:
    images = [
        made_up("x", "train/a/1", look=0b0),
        made_up("x", "train/a/2", look=0b0),
        made_up("y", "test/a/3", look=0b111),
        made_up("z", "test/b/4", look=0b101),
        made_up("far", "train/a/5", look=2**64 - 1),
    ]
    found = near_findings(images)
    assert [(f.problem, *(s.name for s in f.samples), f.distance) for f in found] == [
        ("near conflict", "test/a/3", "test/b/4", 1),
        ("near leak", "test/a/3", "train/a/1", 3),
        ("near leak", "test/a/3", "train/a/2", 3),
        ("near leak", "test/b/4", "train/a/1", 2),
        ("near conflict", "test/b/4", "train/a/1", 2),
        ("near leak", "test/b/4", "train/a/2", 2),
        ("near conflict", "test/b/4", "train/a/2", 2),
    ]
    assert found[1].detail.endswith("3 of 64 bits differ")


def test_flat_images_and_other_colours_do_not_look_alike() -> None:
    flat = [made_up(f"{n}", f"a/{n}", look=7, contrast=0.5) for n in range(3)]
    assert near_findings(flat) == []
    blue, red = bytes([0, 0, 200] * 64), bytes([200, 0, 0] * 64)
    shades = [made_up("1", "a/1", look=7, thumbnail=blue), made_up("2", "a/2", look=7)]
    shades += [made_up("3", "a/3", look=7, thumbnail=red)]
    assert near_findings(shades[::2]) == []
    assert len(near_findings([shades[0], replace(shades[0], sample=shades[1].sample)])) == 0
    alike = made_up("4", "a/4", look=7, thumbnail=red)
    assert len(near_findings([*shades, alike])) == 1


def test_thumbnails_are_compared_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [made_up(name, f"a/{name}", look=7) for name in "vwxyz"]
    whole = near_findings(images)
    monkeypatch.setattr(duplicates, "PART", 3)
    assert (near_findings(images), len(whole)) == (whole, 10)


def test_of_a_film_the_nearest_are_named_and_the_others_counted() -> None:
    frames = [made_up(f"{n}", f"train/a/{n:02}", look=1 << (n % 6)) for n in range(40)]
    frames += [made_up("judges", "test/a/far", look=0b111111)]
    found = near_findings(frames)
    assert len(found) <= MOST * len(frames) + 1
    assert found == near_findings(frames[::-1])
    crowd = found[-1]
    assert (crowd.problem, crowd.weighs) == ("more look-alikes", False)
    listed = len(found) - 1
    assert crowd.detail.endswith(f"about {41 * 40 // 2 - listed:,} pairs more")
    leaks = [one for one in found if one.problem == "near leak"]
    assert len(leaks) == 40  # farther than the frames are from one another, and named before


def test_our_own_division_makes_no_leak_of_what_looks_alike() -> None:
    came = [made_up("x", "a/1", look=0), made_up("y", "a/2", look=1), made_up("z", "b/3", look=3)]
    came = [replace(one, sample=replace(one.sample, split=None)) for one in came]
    parts = ("train", "test", "test")
    divided = [
        replace(one, sample=replace(one.sample, split=part))
        for one, part in zip(came, parts, strict=True)
    ]
    found = near_findings(divided, came={one.sample.name: one.sample for one in came})
    assert [one.problem for one in found] == [one.problem for one in near_findings(came)]
    assert [one.problem for one in found] == ["near duplicate", "near conflict", "near conflict"]
    assert found[0].detail == (
        "they look alike and were divided in test and train: 1 of 64 bits differ"
    )


def test_what_serves_is_what_a_training_keeps() -> None:
    assert [image.sample.name for image in serving(IMAGES)] == [
        *("train/a/1", "train/a/2", "test/a/4", "train/b/5", "train/a/6", "test/b/8", "train/a/9")
    ]
