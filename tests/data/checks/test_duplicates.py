"""Identical and similar images: findings on constructed groups of images."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.traits import build_image
from veduta.data.checks import duplicates
from veduta.data.checks.duplicates import (
    MAX_NEIGHBORS,
    drop_earlier_copies,
    find_conflicting_names,
    find_duplicates,
    find_near_duplicates,
    group_copies,
)
from veduta.data.checks.findings import Finding
from veduta.data.pixels import Image


def summarize(findings: Sequence[Finding]) -> list[tuple[str, list[str], str]]:
    return [(f.problem, [s.name for s in f.samples], f.action) for f in findings]


IMAGES = [
    build_image("twice", "train/a/1"),
    build_image("twice", "train/a/2"),
    build_image("leak", "train/a/3"),
    build_image("leak", "test/a/4"),
    build_image("conflict", "train/b/5"),
    build_image("conflict", "train/a/6"),
    build_image("both", "validation/a/7"),
    build_image("both", "test/b/8"),
    build_image("single", "train/a/9"),
]


def test_splits_and_labels_decide_the_problem_of_a_group() -> None:
    expected = [
        ("leak", ["test/a/4", "train/a/3"], "train copy dropped"),
        ("leak", ["test/b/8", "validation/a/7"], "validation copy dropped"),
        ("conflict", ["test/b/8", "validation/a/7"], "kept"),
        ("duplicate", ["train/a/1", "train/a/2"], "kept"),
        ("conflict", ["train/a/6", "train/b/5"], "kept"),
    ]
    assert summarize(find_duplicates(IMAGES)) == expected
    assert summarize(find_duplicates(IMAGES[::-1])) == expected
    kept = summarize(find_duplicates(IMAGES, keep_leaks=True))
    assert kept == [(problem, names, "kept") for problem, names, _ in expected]
    assert find_conflicting_names(IMAGES) == {
        "train/b/5",
        "train/a/6",
        "validation/a/7",
        "test/b/8",
    }


def test_images_to_predict_cause_neither_leak_nor_conflict() -> None:
    test_image = build_image("same", "test/a/1")
    predict_image = build_image("same", "predict/a/2")
    predict_image = replace(predict_image, sample=replace(predict_image.sample, label=None))
    findings = find_duplicates([test_image, predict_image])
    assert summarize(findings) == [("predict copy", ["predict/a/2", "test/a/1"], "kept")]
    assert [finding.severity for finding in findings] == ["warning"]
    group = [test_image, build_image("same", "test/a/0"), predict_image]
    assert [finding.problem for finding in find_duplicates(group)] == ["duplicate"]
    assert not find_conflicting_names([test_image, predict_image])


def test_images_without_traits_are_compared_by_their_bytes() -> None:
    first, second = (Image(image.sample, "00ff") for image in IMAGES[:2])
    assert group_copies([first, second, IMAGES[2]]) == [[first, second]]


def test_near_pairs_have_a_distance_and_exclude_identical_images() -> None:
    images = [
        build_image("x", "train/a/1", perceptual_hash=0b0),
        build_image("x", "train/a/2", perceptual_hash=0b0),
        build_image("y", "test/a/3", perceptual_hash=0b111),
        build_image("z", "test/b/4", perceptual_hash=0b101),
        build_image("far", "train/a/5", perceptual_hash=2**64 - 1),
    ]
    findings = find_near_duplicates(images)
    assert [(f.problem, *(s.name for s in f.samples), f.distance) for f in findings] == [
        ("near conflict", "test/a/3", "test/b/4", 1),
        ("near leak", "test/a/3", "train/a/1", 3),
        ("near leak", "test/a/3", "train/a/2", 3),
        ("near leak", "test/b/4", "train/a/1", 2),
        ("near conflict", "test/b/4", "train/a/1", 2),
        ("near leak", "test/b/4", "train/a/2", 2),
        ("near conflict", "test/b/4", "train/a/2", 2),
    ]
    assert "3 of 64 bits" in findings[1].detail


def test_flat_images_and_images_of_other_colors_are_not_similar() -> None:
    flat = [build_image(f"{n}", f"a/{n}", perceptual_hash=7, contrast=0.5) for n in range(3)]
    assert find_near_duplicates(flat) == []
    blue, red = bytes([0, 0, 200] * 64), bytes([200, 0, 0] * 64)
    shades = [
        build_image("1", "a/1", perceptual_hash=7, thumbnail=blue),
        build_image("2", "a/2", perceptual_hash=7),
        build_image("3", "a/3", perceptual_hash=7, thumbnail=red),
    ]
    assert find_near_duplicates(shades[::2]) == []
    assert len(find_near_duplicates([shades[0], replace(shades[0], sample=shades[1].sample)])) == 0
    similar = build_image("4", "a/4", perceptual_hash=7, thumbnail=red)
    assert len(find_near_duplicates([*shades, similar])) == 1


def test_the_size_of_thumbnail_blocks_does_not_change_the_findings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [build_image(name, f"a/{name}", perceptual_hash=7) for name in "vwxyz"]
    findings = find_near_duplicates(images)
    assert len(findings) == 10
    monkeypatch.setattr(duplicates, "PAIRS_PER_BLOCK", 3)
    assert find_near_duplicates(images) == findings


def test_of_video_frames_the_nearest_pairs_are_listed_and_the_others_counted() -> None:
    frames = [
        build_image(f"{n}", f"train/a/{n:02}", perceptual_hash=1 << (n % 6)) for n in range(40)
    ]
    frames += [build_image("leak", "test/a/far", perceptual_hash=0b111111)]
    findings = find_near_duplicates(frames)
    assert len(findings) <= MAX_NEIGHBORS * len(frames) + 1
    assert findings == find_near_duplicates(frames[::-1])
    last = findings[-1]
    assert (last.problem, last.severity) == ("more similar images", "warning")
    listed = len(findings) - 1
    assert f"about {41 * 40 // 2 - listed:,} " in last.detail
    leaks = [finding for finding in findings if finding.problem == "near leak"]
    assert len(leaks) == 40  # more distant than the frames from one another, but listed first


def test_splits_assigned_by_veduta_make_no_leak_of_similar_images() -> None:
    images = [
        build_image("x", "a/1", perceptual_hash=0),
        build_image("y", "a/2", perceptual_hash=1),
        build_image("z", "b/3", perceptual_hash=3),
    ]
    assigned = [
        replace(image, sample=replace(image.sample, split=split))
        for image, split in zip(images, ("train", "test", "test"), strict=True)
    ]
    originals = {image.sample.name: image.sample for image in images}
    findings = find_near_duplicates(assigned, original_samples=originals)
    problems = ["near duplicate", "near conflict", "near conflict"]
    assert [finding.problem for finding in findings] == problems
    assert [finding.problem for finding in find_near_duplicates(images)] == problems
    assert "test and train" in findings[0].detail
    assert "1 of 64 bits" in findings[0].detail


def test_earlier_copies_are_dropped() -> None:
    assert [image.sample.name for image in drop_earlier_copies(IMAGES)] == [
        *("train/a/1", "train/a/2", "test/a/4", "train/b/5", "train/a/6", "test/b/8", "train/a/9")
    ]
