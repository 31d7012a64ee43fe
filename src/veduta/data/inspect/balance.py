"""What is wrong with how many images the classes have."""

from collections import Counter
from collections.abc import Sequence

from veduta.data.inspect.findings import Finding
from veduta.data.pixels import Image

FEW = 10  # different images to train on, below which a class is tiny
UNEVEN = 10.0  # times as many images as the smallest class has


def class_findings(images: Sequence[Image], classes: Sequence[str]) -> list[Finding]:
    """Classes missing from a split, tiny, or very uneven; identical images of a class count once.

    Args:
        images: Those that can be read and serve.
        classes: That there are.
    """
    different = {(i.sample.split, i.sample.label, i.content) for i in images}
    counts = Counter((split, label) for split, label, _ in different)
    splits = sorted({split for split, _ in counts if split in {"validation", "test"}}, key=str)
    findings = [
        Finding("missing class", (), f"there is no {split} image of {name!r} that can be read")
        for split in splits
        for name in classes
        if not counts[split, name]
    ]
    trained = {name: counts["train", name] + counts[None, name] for name in classes}
    findings += [
        Finding("tiny class", (), f"{name!r} has {count} different images to train on")
        for name, count in trained.items()
        if count < FEW
    ]
    most, least = max(trained, key=trained.__getitem__), min(trained, key=trained.__getitem__)
    if trained[least] and trained[most] >= UNEVEN * trained[least]:
        told = f"{most!r} has {trained[most]:,} images to train on, {least!r} {trained[least]:,}"
        findings.append(Finding("uneven classes", (), told))
    return findings
