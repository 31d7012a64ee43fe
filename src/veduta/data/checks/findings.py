"""Findings of the data checks: the terms that tables, JSON and exit codes share."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from veduta.data.sample import LABELED_SPLITS, Sample

Severity = Literal["error", "warning"]

KEPT = "kept"
"""Action on the images of a finding; others are `pixels.LEFT_OUT` and dropped copies."""

DUPLICATE, CONFLICT, LEAK = "duplicate", "conflict", "leak"
NEAR = {problem: f"near {problem}" for problem in (DUPLICATE, CONFLICT, LEAK)}

PREDICT_COPY, MORE_SIMILAR = "predict copy", "more similar images"

GROUP_PROBLEMS = frozenset({*NEAR, *NEAR.values(), PREDICT_COPY})
"""Problems of several images with one another."""

ERRORS = (
    *(LEAK, NEAR[LEAK], CONFLICT, NEAR[CONFLICT], DUPLICATE),
    *("missing class", "tiny class", "blank"),
)
"""Problems of severity error; unreadable files, which are listed first, are errors too."""

WARNINGS = (
    *("class imbalance", NEAR[DUPLICATE], MORE_SIMILAR, PREDICT_COPY),
    *("blurred", "dark", "bright", "aspect ratio", "tiny image"),
    *("wrong extension", "animated", "rotated", "16-bit", "not RGB", "transparent"),
)
"""Problems of severity warning: the images are decoded correctly, and may be intended."""

PROBLEM_ORDER = {problem: rank for rank, problem in enumerate((*ERRORS, *WARNINGS), 1)}


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or an unusual property of the data.

    Attributes:
        problem: a short fixed term: that of a `DecodeError`, or one of `ERRORS` and `WARNINGS`. A
            "duplicate" is a group of identical images in one class and split, a "conflict" one with
            several labels, a "leak" one in several splits, a "predict copy" one in which all images
            but at most one are to be predicted; "near ..." are pairs of similar images.
        samples: the images of the finding, sorted by name; empty if it concerns a class.
        detail: a sentence for the user.
        action: what training does with the images: `pixels.LEFT_OUT`, `KEPT`, or the result of
            `describe_dropped_copies`.
        distance: number of differing bits, of 64, between the perceptual hashes of a near pair.
    """

    problem: str
    samples: tuple[Sample, ...]
    detail: str
    action: str = KEPT
    distance: int | None = None

    @property
    def severity(self) -> Severity:
        """The severity of the problem; `--strict` fails for errors."""
        return "warning" if self.problem in WARNINGS else "error"


def describe_dropped_copies(splits: Collection[str | None]) -> str:
    """Return the action on the copies of an image that is in several splits.

    >>> describe_dropped_copies({"train", "test"})
    'train copy dropped'
    >>> describe_dropped_copies({"train", "validation", "test"})
    'train and validation copies dropped'
    """
    earlier = [split for split in LABELED_SPLITS if split in splits][:-1]
    return f"{' and '.join(earlier)} {'copy' if len(earlier) == 1 else 'copies'} dropped"


def count_problems(findings: Iterable[Finding]) -> dict[str, int]:
    """Return the number of images, groups or classes with each problem, in fixed order.

    >>> count_problems([Finding("dark", (), ""), Finding("leak", (), ""), Finding("dark", (), "")])
    {'leak': 1, 'dark': 2}
    """
    counts: Counter[str] = Counter()
    for finding in findings:
        is_group = finding.problem in GROUP_PROBLEMS
        counts[finding.problem] += 1 if is_group else max(1, len(finding.samples))
    return dict(sorted(counts.items(), key=lambda item: (PROBLEM_ORDER.get(item[0], 0), item[0])))


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings by `PROBLEM_ORDER`, near pairs by distance, then by image names."""
    return tuple(
        sorted(
            findings,
            key=lambda finding: (
                PROBLEM_ORDER.get(finding.problem, 0),
                finding.problem,
                finding.distance or 0,
                [sample.name for sample in finding.samples],
                finding.detail,
            ),
        )
    )
