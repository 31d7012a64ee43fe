"""A network as OpenVINO writes it, which a model in int8 must carry: no weights give it back.

It is held as the bytes of its two files, so that what was hashed is what runs, whatever becomes of
the files.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Network:
    """An intermediate representation.

    Attributes:
        operations: the `.xml` file, a graph of operations.
        constants: the `.bin` file, the numbers in it.
    """

    operations: bytes
    constants: bytes

    @cached_property
    def sha256(self) -> str:
        """Of both files, one after the other."""
        return hashlib.sha256(self.operations + self.constants).hexdigest()
