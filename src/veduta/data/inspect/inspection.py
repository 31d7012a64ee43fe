"""The gate as a whole: every file looked at once, and all that is wrong said in a fixed order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from veduta.data.inspect.balance import class_findings
from veduta.data.inspect.duplicates import exact_findings, near_findings, serving
from veduta.data.inspect.findings import Finding, counted, ordered
from veduta.data.inspect.oddities import odd_findings
from veduta.data.inspect.traits import rows_of, sight_of, trait_store
from veduta.data.making import Progress, Wanted, make_rows, silent
from veduta.data.pixels import Image, Rejection, gathered
from veduta.data.sample import Folder


@final
@dataclass(frozen=True, slots=True)
class Inspection:
    """What there is in a folder of images, and all that is wrong with it.

    Attributes:
        folder: As it was found.
        images: What can be read, with its traits, in the order of the folder's samples.
        rejected: What cannot, in that order.
        findings: All that is wrong or odd, rejected files too; what weighs most comes first.
    """

    folder: Folder
    images: tuple[Image, ...]
    rejected: tuple[Rejection, ...]
    findings: tuple[Finding, ...]

    @property
    def weighty(self) -> tuple[Finding, ...]:
        """The findings that are more than notes: what `strict` fails for."""
        return tuple(finding for finding in self.findings if finding.weighs)

    @property
    def problems(self) -> dict[str, int]:
        """How many images, groups of them or classes have each problem; what weighs comes first."""
        return counted(self.findings)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images that can be read, by split ("all" where there are none) and class, by name."""
        found = Counter((i.sample.split or "all", i.sample.label or "") for i in self.images)
        table: dict[str, dict[str, int]] = {}
        for (split, label), count in sorted(found.items()):
            table.setdefault(split, {})[label] = count
        return table

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "data": str(self.folder.root),
            "layout": self.folder.layout,
            "classes": list(self.folder.classes),
            "files": len(self.folder.samples),
            "readable": len(self.images),
            "rejected": len(self.rejected),
            "ignored": self.folder.ignored,
            "counts": self.counts,
            "problems": self.problems,
            "weigh": len(self.weighty),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def inspect_folder(
    folder: Folder,
    *,
    cache: Path,
    progress: Progress = silent,
    threads: int,
    keep_leaks: bool = False,
) -> Inspection:
    """Look at every file of a folder, images to be predicted too; nothing of it is changed.

    Args:
        folder: What is looked at.
        cache: Where traits are kept: a file whose content is known is only hashed.
        progress: Called with (files done, files in all).
        threads: How many threads read and decode; they do not change the result.
        keep_leaks: Whether a training would keep images that stand in test too.

    Raises:
        InputError: the cache cannot be written, or has no room.
    """
    store = trait_store(cache)
    wanted = [Wanted(store, sight_of, rows_of)]
    outcomes, _ = make_rows(folder.samples, wanted, progress=progress, threads=threads)
    images, rejected = gathered(folder.samples, outcomes, store)
    findings = findings_of(images, rejected, folder, keep_leaks=keep_leaks)
    return Inspection(folder, images, rejected, findings)


def findings_of(
    images: Sequence[Image],
    rejected: Sequence[Rejection],
    folder: Folder,
    *,
    keep_leaks: bool = False,
) -> tuple[Finding, ...]:
    """All that is wrong with images that were looked at; arguments as for `inspect_folder`.

    The splits of `images` may be of our own making; those of `folder` are as it was found.
    """
    samples = {sample.name: sample for sample in folder.samples}
    return ordered(
        [
            *(Finding(r.problem, (samples[r.name],), r.detail, r.action) for r in rejected),
            *exact_findings(images, keep_leaks=keep_leaks),
            *near_findings(images, samples),
            *class_findings(images if keep_leaks else serving(images), folder.classes),
            *odd_findings(images),
        ]
    )
