"""Checkpoints of numbered epochs, whose content is compared when they are loaded."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from veduta.runs.checkpoints import Checkpoint, Checkpoints


def make_tensors(number: int) -> dict[str, Tensor]:
    """Return a channels-last tensor and a scalar that depend on `number`."""
    maps = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    return {"network.weight": maps + number, "optimizer.0.step": torch.tensor(float(number))}


def save_checkpoints(
    folder: Path, count: int, warn: Callable[[str], None] = lambda _: None
) -> Checkpoints:
    """Save checkpoints of the epochs 0, 1, ..."""
    checkpoints = Checkpoints(folder, "trial", warn)
    for number in range(count):
        checkpoints.save({"epoch": number, "loss": number / 3}, make_tensors(number))
    return checkpoints


def list_names(folder: Path) -> list[str]:
    """Return the sorted names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def check_epoch(checkpoint: Checkpoint | None) -> int | None:
    """Return the epoch of a checkpoint after comparing all of its content."""
    if checkpoint is None:
        return None
    number: int = checkpoint.progress["epoch"]
    tensors = make_tensors(number)
    assert checkpoint.progress == {"epoch": number, "loss": number / 3}
    assert checkpoint.tensors.keys() == tensors.keys()
    assert all(torch.equal(checkpoint.tensors[name], tensors[name]) for name in tensors)
    return number
