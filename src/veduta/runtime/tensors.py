"""The head of a safetensors file, looked at before the rest of the file is read.

The library checks what it reads, but how much it reads is for the file to say: a header may be
100 MB long, and what is not tensors at all may be as large as the disk.
"""

import os
from pathlib import Path

LENGTH = 8  # bytes, little endian, that say how long the header is
MOST = 4 * 2**20  # bytes of header; those of the largest networks of timm have a tenth


def expect_head(path: Path) -> None:
    """Do nothing where a file begins as a safetensors file of its size does.

    Raises:
        ValueError: it does not; the reason, for people.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(LENGTH + 1)
    length = int.from_bytes(start[:LENGTH], "little")
    if len(start) <= LENGTH or start[LENGTH:] != b"{":
        raise ValueError("it does not begin with the length of a header, and the header")
    if length > min(MOST, size - LENGTH):
        raise ValueError(f"its header says that it has {length:,} bytes, too many for such a file")
