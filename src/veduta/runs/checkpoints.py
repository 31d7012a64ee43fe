r"""Checkpoints of a training: what a resume needs, in files that are whole or are not used.

A checkpoint is one file: a line of JSON (how far it is, how many bytes of tensors follow, and their
SHA-256), then the tensors as safetensors. Two generations are kept, so that a file that was damaged
after it was written costs one of them, not the training.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from veduta.errors import InputError
from veduta.runs.files import make_folder, write_atomically

SUFFIX = ".checkpoint"
KEPT = 2  # generations


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a training stood.

    Attributes:
        progress: everything that is not a tensor, as plain JSON values.
        tensors: by name.
    """

    progress: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoints:
    """The last checkpoints of one training.

    Args:
        folder: where; made when the first one is written.
        name: of the training; a file name.
        warn: told of files that cannot be used.
    """

    def __init__(
        self, folder: Path, name: str, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self.name, self._warn = folder, name, warn
        self._damaged: set[int] = set()

    def save(self, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write one more checkpoint, in place of the older of two, and of any known as damaged."""
        numbers = sorted(self._numbers())
        number = numbers[-1] + 1 if numbers else 0
        data = save({name: t.detach().contiguous() for name, t in tensors.items()})
        head = {
            "progress": dict(progress),
            "bytes": len(data),
            "sha256": _digest(progress, data),
        }
        make_folder(self.folder)
        line = json.dumps(head, allow_nan=False).encode() + b"\n"
        write_atomically(self.folder / f"{self.name}.{number}{SUFFIX}", line, data)
        whole = [old for old in numbers if old not in self._damaged]
        for old in {*numbers} - {*whole[len(whole) + 1 - KEPT :]}:
            self._path(old).unlink(missing_ok=True)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None where there is none at all.

        Raises:
            InputError: there are some, and none is whole: hours may have gone into them, so nobody
                but the user decides to start anew.
        """
        numbers = sorted(self._numbers(), reverse=True)
        for place, number in enumerate(numbers):
            found = read_checkpoint(self._path(number))
            if found is not None:
                for newer in numbers[:place]:
                    said = "is no whole checkpoint; one before it is used"
                    self._warn(f"{self._path(newer)} {said}")
                return found
            self._damaged.add(number)
        if numbers:
            names = ", ".join(self._path(number).name for number in numbers)
            raise InputError(
                f"a training goes on from a whole checkpoint; none in {self.folder} is: restore "
                f"{names}, or remove them, and the training starts anew from its first epoch"
            )
        return None

    def exist(self) -> bool:
        """Whether there are any, whole or not."""
        return any(True for _ in self._numbers())

    def keep_last(self) -> None:
        """Remove all but the newest."""
        for number in sorted(self._numbers())[:-1]:
            self._path(number).unlink(missing_ok=True)

    def _numbers(self) -> Iterator[int]:
        """Numbers of the generations that there are."""
        for path in self.folder.glob(f"{self.name}.*{SUFFIX}"):
            number = path.name.removeprefix(f"{self.name}.").removesuffix(SUFFIX)
            if number.isdecimal() and number.isascii():
                yield int(number)

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.name}.{number}{SUFFIX}"


def keep_only(folder: Path, name: str) -> None:
    """Remove all checkpoints in a folder but those of one training, and of `name.` anything."""
    for path in folder.glob(f"*{SUFFIX}"):
        if not path.name.startswith(f"{name}."):
            path.unlink()


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint in a file; None where it is cut, altered, or none of ours."""
    try:
        line, _, data = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        if len(data) != head["bytes"] or _digest(head["progress"], data) != head["sha256"]:
            return None
        return Checkpoint(head["progress"], load(data))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        return None


def _digest(progress: Mapping[str, Any], data: bytes) -> str:
    """SHA-256 of progress and tensors."""
    text = json.dumps(progress, sort_keys=True, allow_nan=False)
    found = sha256(text.encode())
    found.update(data)
    return found.hexdigest()
