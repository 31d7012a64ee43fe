"""The page inspection.html: the problems of a data set, with example images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from veduta.data.checks.findings import GROUP_PROBLEMS, Finding
from veduta.data.checks.inspection import Inspection
from veduta.data.pixels import DecodedImage, decode_samples
from veduta.data.sample import Sample
from veduta.reporting.pages.page import render_page
from veduta.reporting.pictures.media import MEDIA_TYPES, build_data_uri, encode_webp
from veduta.runs.directory import RunDirectory
from veduta.runtime.disk import write_atomically
from veduta.tracking.console import Console
from veduta.types import PixelArray, Progress

PAGE = "inspection.html"


class ProblemDescription(NamedTuple):
    """Title and explanation of a problem."""

    title: str
    text: str


DESCRIPTIONS = {
    "leak": ProblemDescription(
        "Leaks",
        "Identical images, pixel for pixel, in more than one split. A model is then tested on "
        "images it was trained on, and its score is too high. Training drops the copies in the "
        "earlier splits.",
    ),
    "conflict": ProblemDescription(
        "Conflicting labels",
        "Identical images, pixel for pixel, with more than one label. At most one label is right.",
    ),
    "near leak": ProblemDescription(
        "Similar images in more than one split",
        "Images that look alike but are not identical: another size, another frame of a video, a "
        "retouched copy. Training keeps all of them; check whether they show the same object.",
    ),
    "near conflict": ProblemDescription(
        "Similar images with different labels",
        "Images that look alike and have different labels: a wrong label, or classes that overlap.",
    ),
    "duplicate": ProblemDescription(
        "Duplicates",
        "Identical images, pixel for pixel, in one class. Such an image has more weight than "
        "others. Copies stay in the same split when Veduta splits the images.",
    ),
    "near duplicate": ProblemDescription(
        "Similar images of one class",
        "Images of one class that look alike contain less information than their number suggests. "
        "If Veduta splits the images, similar ones can end up in different splits, and the score "
        "is a little too high: split the images yourself to avoid this. Images to be predicted "
        "have no label and cause no leak.",
    ),
    "more similar images": ProblemDescription(
        "Further similar images",
        "So many images look alike that only the most similar ones of each are listed, as in the "
        "frames of a video.",
    ),
    "predict copy": ProblemDescription(
        "Copies of images to be predicted",
        "Images to be predicted that are identical, pixel for pixel, to other images. Training "
        "does not use them; a correct prediction of an image that the model was trained on says "
        "nothing about other images.",
    ),
    "missing class": ProblemDescription("Classes missing from a split", ""),
    "tiny class": ProblemDescription("Tiny classes", ""),
    "class imbalance": ProblemDescription("Class imbalance", ""),
    "blank": ProblemDescription("Blank images", "All pixels have one color."),
    "dark": ProblemDescription("Dark images", "Nearly black."),
    "bright": ProblemDescription("Bright images", "Nearly white."),
    "blurred": ProblemDescription(
        "Blurred images", "Hardly any edges: out of focus, or enlarged from a small image."
    ),
    "aspect ratio": ProblemDescription(
        "Extreme aspect ratios",
        "One side is much longer than the other: resizing to a square distorts them.",
    ),
    "tiny image": ProblemDescription("Tiny images", "Only a few pixels wide or high."),
    "wrong extension": ProblemDescription(
        "Wrong extensions",
        "Veduta reads these files by their content; other programs may trust the file name.",
    ),
    "animated": ProblemDescription("Animations", "The first frame is used."),
    "rotated": ProblemDescription(
        "Rotated by the camera",
        "Veduta turns these images upright by their EXIF orientation; programs that ignore it show "
        "them rotated.",
    ),
    "16-bit": ProblemDescription("16 bits per channel", "Scaled to 8 bits."),
    "not RGB": ProblemDescription(
        "Color modes other than RGB", "Gray, palette or CMYK images are converted to RGB."
    ),
    "transparent": ProblemDescription(
        "Transparent images", "Transparent pixels are shown on white."
    ),
}


def find_description(problem: str) -> ProblemDescription:
    """Return the description of a problem; without one, its name is the title."""
    return DESCRIPTIONS.get(problem, ProblemDescription(problem.capitalize(), ""))


MAX_GROUPS = 12  # groups of similar images per problem
MAX_GROUP_IMAGES = 4
MAX_IMAGES = 16  # per problem of single images
MAX_REJECTED = 50
MAX_CLASSES = 40  # of more classes, the smallest and the largest are listed
CLASS_PROBLEMS = ("missing class", "tiny class", "class imbalance")
COLUMNS = ("train", "validation", "test", "predict", "all")


def write_inspection_page(
    directory: RunDirectory, inspection: Inspection, console: Console
) -> None:
    """Write the page of an inspection, with thumbnails of the files."""
    sections = _build_sections(inspection)
    samples = [
        sample for section in sections for group in section["groups"] for sample in group["samples"]
    ]
    with console.stage("writing the page", "pictures") as advance:
        thumbnails = render_thumbnails(samples, advance)
    findings = inspection.findings
    html = render_page(
        "inspection.html",
        title="Inspection of the data",
        data=str(inspection.folder.root),
        inspection=inspection,
        files=_summarize_files(inspection),
        problems=_list_problems(inspection),
        sections=sections,
        thumbnails=thumbnails,
        classes=_count_classes(inspection),
        class_findings=[f.detail for f in findings if f.problem in CLASS_PROBLEMS],
        rejected=inspection.rejected[:MAX_REJECTED],
    )
    write_atomically(directory.path / PAGE, html)


def _summarize_files(inspection: Inspection) -> dict[str, object]:
    """Return the formats of the images, and the smallest and largest size."""
    traits = [image.traits for image in inspection.images if image.traits]
    sizes = sorted({(one.width, one.height) for one in traits}, key=lambda size: size[0] * size[1])
    return {
        "formats": Counter(one.format for one in traits).most_common(),
        "sizes": (sizes[0], sizes[-1]) if sizes else None,
        "warnings": len(inspection.findings) - len(inspection.errors),
    }


def _list_problems(inspection: Inspection) -> list[dict[str, object]]:
    """Return one row per problem: number of findings and files, severity, actions, section."""
    rows: list[dict[str, object]] = []
    for problem, count in inspection.problems.items():
        findings = [finding for finding in inspection.findings if finding.problem == problem]
        samples = {sample.name for finding in findings for sample in finding.samples}
        rows.append(
            {
                "problem": problem,
                "count": count,
                "files": len(samples),
                "severity": findings[0].severity,
                "actions": sorted({finding.action for finding in findings if finding.samples}),
                "anchor": _choose_anchor(problem, inspection),
            }
        )
    return rows


def _choose_anchor(problem: str, inspection: Inspection) -> str:
    """Return the id of the section that shows a problem."""
    if problem in CLASS_PROBLEMS:
        return "classes"
    if problem in {rejection.problem for rejection in inspection.rejected}:
        return "unreadable"
    return problem.replace(" ", "-")


def _build_sections(inspection: Inspection) -> list[dict[str, Any]]:
    """Return one section per problem of images that can be decoded, errors first."""
    unreadable = {rejection.problem for rejection in inspection.rejected}
    sections = []
    for problem, count in inspection.problems.items():
        if problem in unreadable or problem in CLASS_PROBLEMS:
            continue
        findings = [finding for finding in inspection.findings if finding.problem == problem]
        is_grouped = problem in GROUP_PROBLEMS
        groups = _list_groups(findings[:MAX_GROUPS]) if is_grouped else _list_images(findings)
        sections.append(
            {
                "anchor": problem.replace(" ", "-"),
                "description": find_description(problem),
                "count": count,
                "is_grouped": is_grouped,
                "groups": groups,
                "omitted": count - len(groups),
            }
        )
    return sections


def _list_groups(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return one group per finding of identical or similar images."""
    return [
        {
            "samples": finding.samples[:MAX_GROUP_IMAGES],
            "omitted": len(finding.samples) - MAX_GROUP_IMAGES,
            "detail": finding.detail,
            "action": finding.action,
        }
        for finding in findings
    ]


def _list_images(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return one group per image of findings on single images, up to the maximum."""
    images = [(sample, finding.detail) for finding in findings for sample in finding.samples]
    return [
        {"samples": (sample,), "omitted": 0, "detail": detail, "action": ""}
        for sample, detail in images[:MAX_IMAGES]
    ]


def _count_classes(inspection: Inspection) -> dict[str, object]:
    """Return images by class and split; of many classes the smallest and the largest."""
    counts: Mapping[str, Mapping[str, int]] = inspection.counts
    splits = [split for split in COLUMNS if split in counts and split != "predict"]
    rows = [
        (name, [counts[split].get(name, 0) for split in splits])
        for name in inspection.folder.classes
    ]
    omitted = max(0, len(rows) - MAX_CLASSES)
    if omitted:
        by_size = sorted(rows, key=lambda row: (sum(row[1]), row[0]))
        rows = [*by_size[: MAX_CLASSES // 2], *by_size[-MAX_CLASSES // 2 :]]
    return {
        "columns": ["images" if split == "all" else split for split in splits],
        "rows": rows,
        "largest": [max([1, *(row[column] for _, row in rows)]) for column in range(len(splits))],
        "omitted": omitted,
        "predict": sum(counts.get("predict", {}).values()),
    }


THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 160, 72  # pixels of the longer side, and WebP quality


def render_thumbnails(samples: Sequence[Sample], progress: Progress) -> dict[str, str]:
    """Return thumbnails of samples by name as data URIs; undecodable files have none."""
    different = list({sample.name: sample for sample in samples}.values())
    thumbnails = {}
    for count, item in enumerate(decode_samples(different, _shrink), start=1):
        if isinstance(item, DecodedImage):
            content = encode_webp(Image.fromarray(item.pixels), quality=THUMBNAIL_QUALITY, method=2)
            thumbnails[item.sample.name] = build_data_uri(content, MEDIA_TYPES[".webp"])
        progress(count, len(different))
    return thumbnails


def _shrink(pixels: PixelArray) -> PixelArray:
    """Return pixels reduced to `THUMBNAIL_SIDE` on the longer side."""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(image)
