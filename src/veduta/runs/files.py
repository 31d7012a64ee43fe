"""What a run writes, so that a reader sees the old content or the new, never half of either."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veduta.errors import VedutaError
from veduta.runtime.disk import make_folder, replace_folder, write_atomically

__all__ = [
    "expect_room",
    "make_folder",
    "replace_folder",
    "write_arrays",
    "write_atomically",
    "write_json",
]


@contextmanager
def expect_room(folder: Path) -> Iterator[None]:
    """Turn the errors of a file system into one line that says what is needed.

    Raises:
        VedutaError: something inside could not be written.
    """
    try:
        yield
    except OSError as error:
        raise VedutaError(
            f"{folder} must be writable and have room until the work is done; "
            f"{error.strerror or error}: make room, or choose another place"
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON."""
    write_atomically(path, json_of(content))


def json_of(content: Mapping[str, Any]) -> bytes:
    """A mapping as a file: indented JSON, in its own order."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays by name as one compressed .npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())
