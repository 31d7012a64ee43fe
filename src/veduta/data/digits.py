"""Embedded data: scikit-learn's handwritten digits, written as class folders."""

from pathlib import Path

import numpy as np
from PIL import Image

from veduta.data.decode import decode, read_file
from veduta.errors import DecodeError, InputError, describe_os_error
from veduta.runtime.disk import replace_folder
from veduta.types import PixelArray


def write_digits(folder: Path) -> int:
    """Write the digits as 8 x 8 grayscale images `digit/number.png`; return their number, 1,797.

    The folder appears once it is complete. A folder that holds exactly the digits is left as it is.

    Raises:
        InputError: the folder holds other files, or cannot be written.
    """
    digits = _load_digits()
    try:
        if folder.exists() and any(folder.iterdir()):
            _require_digits(folder, digits)
        else:
            _write_images(folder, digits)
    except OSError as error:
        raise InputError(
            f"the digits need a writable folder; {folder}: {describe_os_error(error)}; "
            "name another folder"
        ) from error
    return len(digits)


def _load_digits() -> dict[str, PixelArray]:
    """Return the pixels (8, 8), 0 to 255, by file name; those of scikit-learn are 0 to 16."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pairs = enumerate(zip(data.images, data.target, strict=True))
    return {f"{t}/{i:04}.png": np.rint(x * (255 / 16)).astype(np.uint8) for i, (x, t) in pairs}


def _write_images(folder: Path, digits: dict[str, PixelArray]) -> None:
    """Write the digits to a new folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(folder) as building:
        for name, pixels in digits.items():
            path = building / name
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)


def _require_digits(folder: Path, digits: dict[str, PixelArray]) -> None:
    """Raise an InputError unless a folder holds exactly the digits."""
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    differing = sorted(names ^ set(digits)) or [
        name for name, pixels in digits.items() if not _has_pixels(folder / name, pixels)
    ]
    if differing:
        raise InputError(
            f"the digits need a folder of their own; {folder} differs in {len(differing)} files, "
            f"such as {differing[0]!r}; name another folder"
        )


def _has_pixels(path: Path, pixels: PixelArray) -> bool:
    """Return whether a file is a grayscale image with the given pixels."""
    try:
        decoded = decode(read_file(path))
    except DecodeError:
        return False
    return decoded.shape[:2] == pixels.shape and bool((decoded == pixels[..., None]).all())
