"""Standard output and standard error whose reader may go away, as in `veduta models | head -1`.

A reader that has seen enough, or a terminal that was closed, is no fault of the work: what would
be printed after that is lost without an error, the work goes on, and its exit code is its own.
"""

import errno
import io
import sys
from typing import TYPE_CHECKING, TextIO, final

from veduta.errors import VedutaError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

GONE = {errno.EPIPE, errno.EIO}
"""A pipe that nobody reads; a terminal that was closed."""


@final
class _Forgiving(io.FileIO):
    """The descriptor of a stream."""

    _full = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or drop what nobody can read any more."""
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in GONE and not self._full:
                self._full = True  # said once; what is left in buffers is dropped
                raise VedutaError(
                    f"what is printed must have room where it goes; {error.strerror}: make room, "
                    "or print elsewhere"
                ) from error
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Let both streams drop what nobody reads, and show what a terminal cannot as an escape."""
    sys.stdout = _prepared(sys.stdout)
    sys.stderr = _prepared(sys.stderr)


def _prepared(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # it is somebody's own, or there is none
        return stream
    try:
        raw = _Forgiving(stream.fileno(), "wb", closefd=False)
    except io.UnsupportedOperation:  # it goes to no file
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
