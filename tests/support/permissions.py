"""File permissions that hold for root, too."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CAPABILITY_VERSION = 0x20080522
OVERRIDE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: read and write whatever the mode


class Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Capabilities(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@contextmanager
def without_root_privileges() -> Iterator[None]:
    """Let modes of files restrict root, in this thread and in threads that it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc, header, capabilities = ctypes.CDLL(None), Header(CAPABILITY_VERSION, 0), Capabilities * 2
    sets = capabilities()
    assert libc.capget(ctypes.byref(header), sets) == 0
    before = sets[0].effective
    try:
        sets[0].effective = before & ~OVERRIDE
        assert libc.capset(ctypes.byref(header), sets) == 0
        yield
    finally:
        sets[0].effective = before
        assert libc.capset(ctypes.byref(header), sets) == 0
