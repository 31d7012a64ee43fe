"""The page inspection.html: the problems of a data set, with example images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from veduta.data.checks.findings import GROUPS, Finding
from veduta.data.checks.inspection import Inspection
from veduta.data.sample import Sample
from veduta.diagnostics.inspection import PAGE
from veduta.reporting.pages import page
from veduta.reporting.pictures.embedding import thumbnails
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_atomically
from veduta.tracking.console import Console


class Meaning(NamedTuple):
    """A heading, and what it is about."""

    title: str
    told: str


MEANINGS = {
    "leak": Meaning(
        "Leaks",
        "The same image, pixel for pixel, in more than one split. A model that knows an image by "
        "heart is judged by it: its score flatters. The copy that would train is dropped.",
    ),
    "conflict": Meaning(
        "Conflicting labels",
        "The same image, pixel for pixel, under more than one label. One of them is wrong.",
    ),
    "near leak": Meaning(
        "Look-alikes in more than one split",
        "Images that look alike and are not identical: another size, another frame, a retouched "
        "copy. Nothing is dropped for it; look whether they show one thing.",
    ),
    "near conflict": Meaning(
        "Look-alikes with several labels",
        "Images that look alike under several labels: a wrong label, or classes that overlap.",
    ),
    "duplicate": Meaning(
        "Duplicates",
        "The same image, pixel for pixel, more than once in a class: it counts for more than the "
        "others. Copies stay together when images are divided.",
    ),
    "near duplicate": Meaning(
        "Look-alikes of one class",
        "Images that look alike and may: they teach less than their number says. Where only the "
        "division of a training put them in several splits, its score flatters a little: put them "
        "in one split yourself. One that is to be predicted has no class, and leaks nothing.",
    ),
    "more look-alikes": Meaning(
        "More look-alikes",
        "So many images look alike that only the nearest of each are named; frames of a film do.",
    ),
    "predict copy": Meaning(
        "Copies to be predicted",
        "The same image, pixel for pixel, among those to be predicted. A training leaves these "
        "alone; that a model knows such an image by heart tells nothing about others.",
    ),
    "missing class": Meaning("Classes missing from a split", ""),
    "tiny class": Meaning("Tiny classes", ""),
    "uneven classes": Meaning("Uneven classes", ""),
    "blank": Meaning("Blank images", "All of one colour: there is nothing to learn from."),
    "dark": Meaning("Dark images", "Nearly black."),
    "bright": Meaning("Bright images", "Nearly white."),
    "blurred": Meaning("Blurred images", "Hardly an edge in them: out of focus, or enlarged."),
    "odd shape": Meaning(
        "Odd shapes", "Much longer than broad: what is resized to a square is squashed."
    ),
    "tiny image": Meaning("Tiny images", "A few pixels across: there is little to see."),
    "wrong extension": Meaning(
        "Wrong extensions", "Read by what they hold; other programs may go by the name."
    ),
    "animated": Meaning("Animations", "The first frame is used."),
    "rotated": Meaning(
        "Rotated by their camera", "Turned upright here; programs that do not see them lying."
    ),
    "16-bit": Meaning("16 bits a channel", "Scaled to 8 bits."),
    "not RGB": Meaning("Other colours than RGB", "Grey, palette or CMYK: converted to RGB."),
    "transparent": Meaning("Transparent images", "Laid on white."),
}


def meaning_of(problem: str) -> Meaning:
    """What a problem means; a word that is not known here speaks for itself."""
    return MEANINGS.get(problem, Meaning(problem.capitalize(), ""))


SHOWN = 12  # groups of images that are the same, a problem
TOGETHER = 4  # images of such a group, shown
ODD = 16  # images shown of an oddity
FILES = 50  # that cannot be read, listed
CLASSES = 40  # listed; of more, the smallest and the largest
CLASS_PROBLEMS = ("missing class", "tiny class", "uneven classes")
PARTS = ("train", "validation", "test", "predict", "all")


def write_page(directory: RunDirectory, inspection: Inspection, console: Console) -> None:
    """Draw the page, with pictures from the files."""
    sections = _sections(inspection)
    shown = [one for section in sections for group in section["groups"] for one in group["samples"]]
    with console.stage("drawing the page", "pictures") as advance:
        addresses = thumbnails(shown, advance)
    html = page.render(
        "inspection.html",
        title="What is in the data",
        data=str(inspection.folder.root),
        inspection=inspection,
        there=_there(inspection),
        problems=_problems(inspection),
        sections=sections,
        addresses=addresses,
        classes=_classes(inspection),
        about_classes=[f.detail for f in inspection.findings if f.problem in CLASS_PROBLEMS],
        rejected=inspection.rejected[:FILES],
    )
    write_atomically(directory.path / PAGE, html)


def _there(inspection: Inspection) -> dict[str, Any]:
    """What there is, in numbers."""
    seen = [image.traits for image in inspection.images if image.traits]
    sides = sorted({(one.width, one.height) for one in seen}, key=lambda side: side[0] * side[1])
    return {
        "formats": Counter(one.format for one in seen).most_common(),
        "sizes": (sides[0], sides[-1]) if sides else None,
        "notes": len(inspection.findings) - len(inspection.weighty),
    }


def _problems(inspection: Inspection) -> list[dict[str, Any]]:
    """A row a problem: how often, what is done about it, and where it is shown."""
    rows = []
    for problem, count in inspection.problems.items():
        found = [one for one in inspection.findings if one.problem == problem]
        rows.append(
            {
                "problem": problem,
                "count": count,
                "files": len({sample.name for one in found for sample in one.samples}),
                "weighs": found[0].weighs,
                "actions": sorted({one.action for one in found if one.samples}),
                "anchor": _anchor(problem, inspection),
            }
        )
    return rows


def _anchor(problem: str, inspection: Inspection) -> str:
    """The section that a problem is shown in."""
    if problem in CLASS_PROBLEMS:
        return "classes"
    if problem in {one.problem for one in inspection.rejected}:
        return "unreadable"
    return problem.replace(" ", "-")


def _sections(inspection: Inspection) -> list[dict[str, Any]]:
    """A section a problem of images that can be read, those that weigh first."""
    unreadable = {one.problem for one in inspection.rejected}
    sections = []
    for problem, count in inspection.problems.items():
        if problem in unreadable or problem in CLASS_PROBLEMS:
            continue
        found = [one for one in inspection.findings if one.problem == problem]
        together = problem in GROUPS
        groups = _groups(found[:SHOWN]) if together else _one_by_one(found)
        sections.append(
            {
                "anchor": problem.replace(" ", "-"),
                "meaning": meaning_of(problem),
                "weighs": found[0].weighs,
                "count": count,
                "together": together,
                "groups": groups,
                "more": count - len(groups),
                "what": "groups" if together else "images",
            }
        )
    return sections


def _groups(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Images that are the same or look it, side by side."""
    return [
        {
            "samples": one.samples[:TOGETHER],
            "more": len(one.samples) - TOGETHER,
            "detail": one.detail,
            "action": one.action,
        }
        for one in found
    ]


def _one_by_one(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Images that are odd by themselves; of a finding about most of them, the first few."""
    each: list[tuple[Sample, str]] = [(s, one.detail) for one in found for s in one.samples]
    return [
        {"samples": (sample,), "more": 0, "detail": detail, "action": ""}
        for sample, detail in each[:ODD]
    ]


def _classes(inspection: Inspection) -> dict[str, Any]:
    """Images of each class by split; of many classes the smallest and the largest."""
    counts: Mapping[str, Mapping[str, int]] = inspection.counts
    parts = [part for part in PARTS if part in counts and part != "predict"]
    rows: list[dict[str, Any]] = [
        {"name": name, "counts": [counts[part].get(name, 0) for part in parts]}
        for name in inspection.folder.classes
    ]
    left = max(0, len(rows) - CLASSES)
    if left:
        by_size = sorted(rows, key=lambda row: (sum(row["counts"]), row["name"]))
        rows = [*by_size[: CLASSES // 2], *by_size[-CLASSES // 2 :]]
    most = [max([1, *(row["counts"][place] for row in rows)]) for place in range(len(parts))]
    names = ["images" if part == "all" else part for part in parts]
    predict = sum(counts.get("predict", {}).values())
    return {"parts": names, "rows": rows, "most": most, "left": left, "predict": predict}
