"""Data that need no network: scikit-learn's handwritten digits, as a folder like any user's."""

from pathlib import Path

import numpy as np
from PIL import Image

from veduta.errors import InputError


def write_digits(folder: Path) -> int:
    """Write 1,797 greyscale images of 8 x 8 pixels as `digit/number.png`; how many there are.

    A folder that holds exactly them is left as it is.

    Raises:
        InputError: the folder holds something else.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    wanted = {
        f"{target}/{number:04}.png": np.rint(image * (255 / 16)).astype(np.uint8)
        for number, (image, target) in enumerate(zip(digits.images, digits.target, strict=True))
    }
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if strange := there - set(wanted):
        raise InputError(
            f"the digits need a folder of their own; {folder} holds {min(strange)!r}; name another"
        )
    for name, pixels in wanted.items():
        path = folder / name
        if name not in there:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return len(wanted)
