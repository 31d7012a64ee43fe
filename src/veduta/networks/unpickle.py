"""Pickled weights, read once, at arm's length: a limited child process makes safetensors of them.

A pickle is a program. Nothing in the product unpickles in its own process: this module's `main`
runs in a child that reads tensors and nothing else, within limits of memory, time, files and file
size that follow from the file's own size. It dies with its parent, and what would reach out of it,
a socket, another program, an object to be built by name, is refused beside that. What it writes is
kept in the cache, with its checksum.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from veduta.errors import WeightsError
from veduta.runtime.disk import digest_of, mode_of_files, sync, write_atomically
from veduta.runtime.process import die_with

MEGABYTE = 2**20
SECONDS = 120  # for a child to start and end, on a slow disk too
CPU_SECONDS, BYTES_A_SECOND = 5, 20 * MEGABYTE  # to read; half a gigabyte takes about five seconds
SPARE = 192 * MEGABYTE  # of address space, besides what follows from the file's size
WRAPPERS = ("state_dict", "model_state_dict", "model")
FIRST_BYTES = (b"PK\x03\x04", b"\x80")  # of a zip archive, as torch.save writes; of a bare pickle
TENSORS_ONLY = "a file of weights holds names and tensors, nothing else"
CURE = "write it with torch.save(network.state_dict(), FILE) or as safetensors"
REACHING_OUT = (
    *("socket.", "subprocess.", "pickle.find_class", "ctypes.dlopen", "ctypes.dlsym"),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill", "os.remove"),
)
"""What reading tensors needs none of: the beginnings of names of Python's audit events."""


def as_safetensors(source: Path, sha256: str, cache: Path) -> Path:
    """The safetensors file with the tensors of a pickled one, made now or found in the cache.

    Args:
        source: file written by `torch.save`.
        sha256: of `source`; the converted file is kept under this name.
        cache: folder of the cache.

    Raises:
        WeightsError: the file is not a state dict of plain tensors, or breaks the child's limits.
    """
    target = cache / "weights" / f"{sha256}.safetensors"
    checksum = target.with_suffix(".sha256")
    if _is_whole(target, checksum):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            _convert_in_child(source, made)
            sync(made)
            digest = digest_of(made)
            made.replace(target)
            write_atomically(checksum, digest)
    except OSError as error:
        raise WeightsError(
            f"the cache must be writable, converted weights are kept there; {error}; "
            "set VEDUTA_CACHE to a folder with room"
        ) from error
    return target


def expect_pickled(source: Path) -> None:
    """Do nothing where a file begins as those of `torch.save` do, however long it is.

    Raises:
        WeightsError: it does not.
    """
    try:
        with source.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        raise WeightsError(
            f"a file of weights must be readable; {source}: {error.strerror or error}; change its "
            "permissions"
        ) from error
    if not first.startswith(FIRST_BYTES):
        raise WeightsError(f"{TENSORS_ONLY}; {source.name} is no file of torch.save; {CURE}")


def _is_whole(target: Path, checksum: Path) -> bool:
    """Whether a converted file is there and holds what was written."""
    with contextlib.suppress(OSError):
        return checksum.read_text(encoding="ascii") == digest_of(target)
    return False


def _convert_in_child(source: Path, made: Path) -> None:
    # -P: a file called torch.py in the current folder must not be what the child imports
    command = [sys.executable, "-P", "-m", __name__, str(source.absolute()), str(made)]
    try:
        child = subprocess.run(  # noqa: S603
            [*command, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{TENSORS_ONLY}; reading {source.name} took over {SECONDS} s; {CURE}"
        ) from error
    if child.returncode != 0 or not made.is_file():
        reason = child.stdout.strip().splitlines()[-1:] or ["it breaks the limits for its size"]
        raise WeightsError(f"{TENSORS_ONLY}; {source.name}: {reason[0]}; {CURE}")


def limit_resources(size: int) -> None:
    """Bound what this process may take while it reads a file of `size` bytes, where Unix can."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime)
        + CPU_SECONDS
        + size // BYTES_A_SECOND,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_FSIZE: 2 * size + 16 * MEGABYTE,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + 4 * size + SPARE
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))


def stay_inside(event: str, _: object) -> None:
    """An audit hook: whatever reaches out of this process is refused.

    Raises:
        PermissionError: the event does.
    """
    if event.startswith(REACHING_OUT):
        raise PermissionError(f"it asks for {event}")


def state_dict_in(content: object) -> dict[str, Tensor]:
    """The names and tensors in what a file of weights held, wrappers of training scripts removed.

    >>> list(state_dict_in({"epoch": 3, "state_dict": {"bias": torch.zeros(2)}}))
    ['bias']

    Raises:
        ValueError: it is something else.
    """
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"it holds a {type(content).__name__}, not names and tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{name!r} is a {type(value).__name__}, not a tensor")
    return dict(content)


def main(source: str, made: str, parent: str) -> int:
    """Read `source` as tensors only and write them to `made`; print the reason where it cannot be.

    The order of the tensors, which safetensors does not keep, is noted in the file's metadata.
    `parent` is the process that waits for it.
    """
    die_with(int(parent))
    torch.set_num_threads(1)
    limit_resources(Path(source).stat().st_size)
    sys.addaudithook(stay_inside)
    try:
        state = state_dict_in(torch.load(source, map_location="cpu", weights_only=True))
        names = json.dumps(list(state))
        save_file({n: t.contiguous().clone() for n, t in state.items()}, made, {"names": names})
        Path(made).chmod(mode_of_files())  # the library makes it private
    except Exception as error:  # noqa: BLE001 - whatever a foreign file sets off, it is refused
        refused = type(error).__name__ == "UnpicklingError"
        reason = "it holds Python objects besides tensors" if refused else str(error)
        print(" ".join(reason.split())[:200] or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
