"""Checkpoints of a training: everything needed to continue it, in files that are verified.

A checkpoint is one file: a line of JSON (progress, size and SHA-256), then the tensors as
safetensors. The last two checkpoints are kept, so that training can continue from the older one
if the newer one is damaged.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from veduta.errors import InputError
from veduta.runtime.disk import make_folder, write_atomically

SUFFIX = ".checkpoint"
MAX_CHECKPOINTS = 2  # kept per training


@final
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training.

    Attributes:
        progress: everything that is not a tensor, as JSON values.
        tensors: tensors by name.
    """

    progress: dict[str, Any]
    tensors: dict[str, Tensor]


@final
class Checkpoints:
    """The last checkpoints of one training.

    Args:
        folder: folder of the checkpoints; it is created when the first one is saved.
        name: file name of the training, without number and suffix.
        warn: called with a message about each damaged file.
    """

    def __init__(
        self, folder: Path, name: str, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self.name, self._warn = folder, name, warn
        self._damaged: set[int] = set()

    def save(self, progress: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint; remove damaged ones, and the older of two intact ones."""
        numbers = sorted(self._list_numbers())
        number = numbers[-1] + 1 if numbers else 0
        data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
        header = {
            "progress": dict(progress),
            "bytes": len(data),
            "sha256": _compute_digest(progress, data),
        }
        make_folder(self.folder)
        line = json.dumps(header, allow_nan=False).encode() + b"\n"
        write_atomically(self._build_path(number), line, data)
        intact = [old for old in numbers if old not in self._damaged]
        for old in {*numbers} - {*intact[len(intact) + 1 - MAX_CHECKPOINTS :]}:
            self._build_path(old).unlink(missing_ok=True)

    def load_newest(self) -> Checkpoint | None:
        """Return the newest intact checkpoint, or None if there is no checkpoint.

        Raises:
            InputError: all checkpoints are damaged. The user must decide whether to restart a
                training that may have taken hours.
        """
        numbers = sorted(self._list_numbers(), reverse=True)
        for index, number in enumerate(numbers):
            checkpoint = read_checkpoint(self._build_path(number))
            if checkpoint is not None:
                for newer in numbers[:index]:
                    self._warn(f"{self._build_path(newer)} is damaged; an older checkpoint is used")
                return checkpoint
            self._damaged.add(number)
        if numbers:
            names = ", ".join(self._build_path(number).name for number in numbers)
            raise InputError(
                "a training continues from an intact checkpoint; all checkpoints in "
                f"{self.folder} are damaged: restore {names}, or remove them to start the training "
                "again from its first epoch"
            )
        return None

    def exist(self) -> bool:
        """Return whether there is any checkpoint, intact or damaged."""
        return any(True for _ in self._list_numbers())

    def keep_newest(self) -> None:
        """Remove all checkpoints except the newest."""
        for number in sorted(self._list_numbers())[:-1]:
            self._build_path(number).unlink(missing_ok=True)

    def _list_numbers(self) -> Iterator[int]:
        """Yield the numbers of the existing checkpoints."""
        for path in self.folder.glob(f"{self.name}.*{SUFFIX}"):
            number = path.name.removeprefix(f"{self.name}.").removesuffix(SUFFIX)
            if number.isdecimal() and number.isascii():
                yield int(number)

    def _build_path(self, number: int) -> Path:
        """Return the path of a checkpoint."""
        return self.folder / f"{self.name}.{number}{SUFFIX}"


def remove_other_checkpoints(folder: Path, name: str) -> None:
    """Remove all checkpoints in a folder whose names do not begin with `name` and a dot."""
    for path in folder.glob(f"*{SUFFIX}"):
        if not path.name.startswith(f"{name}."):
            path.unlink()


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Return the checkpoint in a file, or None if the file is damaged or not a checkpoint."""
    try:
        line, _, data = path.read_bytes().partition(b"\n")
        header = json.loads(line)
        progress = header["progress"]
        if (len(data), _compute_digest(progress, data)) != (header["bytes"], header["sha256"]):
            return None
        return Checkpoint(progress, load(data))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        return None


def _compute_digest(progress: Mapping[str, object], data: bytes) -> str:
    """Return the SHA-256 of progress and tensors."""
    text = json.dumps(progress, sort_keys=True, allow_nan=False)
    digest = sha256(text.encode())
    digest.update(data)
    return digest.hexdigest()
