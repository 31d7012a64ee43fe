"""What a finding is, and which of them weigh: the words that tables, JSON and exit codes share."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from veduta.data.sample import Sample

LEFT_OUT, KEPT = "left out", "kept"
"""What is done about a finding, besides what `dropped` says."""

PARTS = ("train", "validation", "test")
"""An image that stands in several of them stays in the last: what judges comes first."""

DUPLICATE, CONFLICT, LEAK = "duplicate", "conflict", "leak"
NEAR = {one: f"near {one}" for one in (DUPLICATE, CONFLICT, LEAK)}

ASKED, CROWDED = "predict copy", "more look-alikes"

GROUPS = frozenset({*NEAR, *NEAR.values(), ASKED})
"""Problems of several images with one another."""

GRAVE = (
    *(LEAK, NEAR[LEAK], CONFLICT, NEAR[CONFLICT], DUPLICATE),
    *("missing class", "tiny class", "blank"),
)
"""Problems that weigh, besides those of files that cannot be read, which come first."""

NOTES = (
    *("uneven classes", NEAR[DUPLICATE], CROWDED, ASKED),
    *("blurred", "dark", "bright", "odd shape", "tiny image"),
    *("wrong extension", "animated", "rotated", "16-bit", "not RGB", "transparent"),
)
"""Problems that are read right, or are a matter of taste: no failure under `strict`."""

PLACES = {problem: place for place, problem in enumerate((*GRAVE, *NOTES), 1)}


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with the data, or odd.

    Attributes:
        problem: A short stable word: that of a `DecodeError`, or one of `GRAVE` and `NOTES`. A
            "duplicate" is a group of identical images in one class and split, a "conflict" one with
            several labels, a "leak" one in several splits, a "predict copy" one of which at most
            one image is not to be predicted; "near ..." are pairs that look alike.
        samples: The images that it is about, by name; none where it is about a class.
        detail: A sentence for people.
        action: What a training does about it: `LEFT_OUT`, `KEPT`, or what `dropped` says.
        distance: In how many of 64 bits the perceptual hashes of a near pair differ.
    """

    problem: str
    samples: tuple[Sample, ...]
    detail: str
    action: str = KEPT
    distance: int | None = None

    @property
    def weighs(self) -> bool:
        """Whether it is more than a note."""
        return self.problem not in NOTES

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        found = [{"path": s.name, "label": s.label, "split": s.split} for s in self.samples]
        told = {"problem": self.problem, "detail": self.detail, "action": self.action}
        near = {} if self.distance is None else {"distance": self.distance}
        return {**told, **near, "weighs": self.weighs, "images": found}


def dropped(parts: Collection[str | None]) -> str:
    """What is done about copies of an image in these parts.

    >>> dropped({"train", "test"}), dropped({"train", "validation", "test"})
    ('train copy dropped', 'train and validation copies dropped')
    """
    lower = [part for part in PARTS if part in parts][:-1]
    return f"{' and '.join(lower)} {'copy' if len(lower) == 1 else 'copies'} dropped"


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """How many images, groups of them or classes have each problem, in the order of `PLACES`.

    >>> counted([Finding("dark", (), ""), Finding("leak", (), ""), Finding("dark", (), "")])
    {'leak': 1, 'dark': 2}
    """
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.problem] += 1 if finding.problem in GROUPS else max(1, len(finding.samples))
    return dict(sorted(counts.items(), key=lambda item: (PLACES.get(item[0], 0), item[0])))


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """In the order of `PLACES`, near pairs by distance, then by the names of images."""
    return tuple(
        sorted(
            findings,
            key=lambda one: (
                PLACES.get(one.problem, 0),
                one.problem,
                one.distance or 0,
                [sample.name for sample in one.samples],
                one.detail,
            ),
        )
    )
