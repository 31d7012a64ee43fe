"""Data that need no network: scikit-learn's handwritten digits, as a folder like any user's."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veduta.data.decode import decode, read_file
from veduta.errors import DecodeError, InputError
from veduta.runtime.disk import replace_folder


def write_digits(folder: Path) -> int:
    """Write the digits as `digit/number.png`, greyscale, 8 x 8 pixels; how many there are: 1,797.

    The folder appears when all of it is written. One that holds exactly the digits already is left
    as it is.

    Raises:
        InputError: there is something else, or the folder cannot be written.
    """
    wanted = _digits()
    try:
        if folder.exists() and any(folder.iterdir()):
            _expect_digits(folder, wanted)
        else:
            _write(folder, wanted)
    except OSError as error:
        raise InputError(
            f"the digits need a folder that can be written; {folder}: {error.strerror or error}; "
            "name another"
        ) from error
    return len(wanted)


def _digits() -> dict[str, NDArray[np.uint8]]:
    """Name -> pixels (8, 8), 0 to 255; scikit-learn counts from 0 to 16."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pairs = enumerate(zip(data.images, data.target, strict=True))
    return {f"{t}/{i:04}.png": np.rint(x * (255 / 16)).astype(np.uint8) for i, (x, t) in pairs}


def _write(folder: Path, wanted: dict[str, NDArray[np.uint8]]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as building:
        for name, pixels in wanted.items():
            path = building / name
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)


def _expect_digits(folder: Path, wanted: dict[str, NDArray[np.uint8]]) -> None:
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    differing = sorted(there ^ set(wanted)) or [
        name for name, pixels in wanted.items() if not _same(folder / name, pixels)
    ]
    if differing:
        raise InputError(
            f"the digits need a folder of their own; {folder} differs in {len(differing)} files, "
            f"such as {differing[0]!r}; name another"
        )


def _same(path: Path, pixels: NDArray[np.uint8]) -> bool:
    try:
        found = decode(read_file(path))
    except DecodeError:
        return False
    return found.shape[:2] == pixels.shape and bool((found == pixels[..., None]).all())
