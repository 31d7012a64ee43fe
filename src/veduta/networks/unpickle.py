"""Convert pickled weights to safetensors, once, in a child process with limited rights.

A pickle is a program, so Veduta never unpickles in its own process. `main` runs in a child process
that reads only tensors (`weights_only=True`). Memory, CPU time, number of files and file size are
limited according to the size of the file. The child ends with its parent, and an audit hook refuses
sockets, other programs and the construction of objects by name. The converted file is kept in the
cache with its checksum.

This is own code because `weights_only=True` alone limits neither memory nor time, and libraries
such as picklescan inspect a pickle without bounding what reading it may do.
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

from veduta.errors import WeightsError, describe_os_error
from veduta.runtime.disk import compute_digest, get_file_mode, sync, write_atomically
from veduta.runtime.process import exit_with_parent

MEGABYTE = 2**20
TIMEOUT_SECONDS = 120  # for the child to start and end, on a slow disk too
CPU_SECONDS, BYTES_PER_SECOND = 5, 20 * MEGABYTE  # half a gigabyte takes about five seconds
SPARE_BYTES = 192 * MEGABYTE  # of address space, in addition to what the file size allows
WRAPPERS = ("state_dict", "model_state_dict", "model")
FIRST_BYTES = (b"PK\x03\x04", b"\x80")  # of a zip archive, as torch.save writes; of a bare pickle
TENSORS_ONLY = "a file of weights must hold names and tensors, nothing else"
CURE = "write it with torch.save(network.state_dict(), FILE) or as safetensors"
REFUSED_EVENTS = (
    *("socket.", "subprocess.", "pickle.find_class", "ctypes.dlopen", "ctypes.dlsym"),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill", "os.remove"),
)
"""Prefixes of Python's audit events that reading tensors never raises."""


def convert_to_safetensors(source: Path, sha256: str, cache: Path) -> Path:
    """Return the safetensors file with the tensors of a pickled file, from the cache or new.

    Args:
        source: file written by `torch.save`.
        sha256: SHA-256 of `source`; the converted file is kept under this name.
        cache: folder of the cache.

    Raises:
        WeightsError: the file is not a state dict of plain tensors, or exceeds a limit.
    """
    target = cache / "weights" / f"{sha256}.safetensors"
    checksum = target.with_suffix(".sha256")
    if _is_intact(target, checksum):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            converted = Path(scratch) / target.name
            _convert_in_child(source, converted)
            sync(converted)
            digest = compute_digest(converted)
            converted.replace(target)
            write_atomically(checksum, digest)
    except OSError as error:
        raise WeightsError(
            f"the cache must be writable, converted weights are kept there; {error}: "
            "set VEDUTA_CACHE to a folder with free space"
        ) from error
    return target


def check_pickle_header(source: Path) -> None:
    """Check that a file starts as those of `torch.save` do, however long it is.

    Raises:
        WeightsError: the file starts otherwise.
    """
    try:
        with source.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        raise WeightsError(
            f"a file of weights must be readable; {source}: {describe_os_error(error)}: change its "
            "permissions"
        ) from error
    if not first.startswith(FIRST_BYTES):
        raise WeightsError(f"{TENSORS_ONLY}; {source.name} is not a file of torch.save: {CURE}")


def _is_intact(target: Path, checksum: Path) -> bool:
    """Return whether a converted file exists and has the bytes that were written."""
    with contextlib.suppress(OSError):
        return checksum.read_text(encoding="ascii") == compute_digest(target)
    return False


def _convert_in_child(source: Path, target: Path) -> None:
    # -P: the child must not import a file called torch.py in the current folder
    command = [sys.executable, "-P", "-m", __name__, str(source.absolute()), str(target)]
    try:
        child = subprocess.run(  # noqa: S603
            [*command, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{TENSORS_ONLY}; reading {source.name} took over {TIMEOUT_SECONDS} s: {CURE}"
        ) from error
    if child.returncode != 0 or not target.is_file():
        reason = child.stdout.strip().splitlines()[-1:] or ["it exceeds the limits for its size"]
        raise WeightsError(f"{TENSORS_ONLY}; {source.name}: {reason[0]}: {CURE}")


def limit_resources(size: int) -> None:
    """Limit the resources of this process for reading a file of `size` bytes, on Unix only."""
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        resource.RLIMIT_CPU: int(usage.ru_utime + usage.ru_stime)
        + CPU_SECONDS
        + size // BYTES_PER_SECOND,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_FSIZE: 2 * size + 16 * MEGABYTE,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + 4 * size + SPARE_BYTES
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))


def refuse_outside_access(event: str, _: object) -> None:
    """Refuse, as an audit hook, what leaves this process.

    Raises:
        PermissionError: the event is one of `REFUSED_EVENTS`.
    """
    if event.startswith(REFUSED_EVENTS):
        raise PermissionError(f"it asks for {event}")


def extract_state_dict(content: object) -> dict[str, Tensor]:
    """Return the state dict in the content of a file, without the wrappers of training scripts.

    >>> list(extract_state_dict({"epoch": 3, "state_dict": {"bias": torch.zeros(2)}}))
    ['bias']

    Raises:
        ValueError: the content is something else.
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


def main(source: str, target: str, parent: str) -> int:
    """Read the tensors in `source` and write them to `target`; print the reason of a failure.

    The metadata of the file hold the order of the tensors, which safetensors does not keep.

    Args:
        source: file written by `torch.save`.
        target: safetensors file to write.
        parent: id of the process that waits for this one.

    Returns:
        The exit code.
    """
    exit_with_parent(int(parent))
    torch.set_num_threads(1)
    limit_resources(Path(source).stat().st_size)
    sys.addaudithook(refuse_outside_access)
    try:
        state = extract_state_dict(torch.load(source, map_location="cpu", weights_only=True))
        names = json.dumps(list(state))
        save_file({n: t.contiguous().clone() for n, t in state.items()}, target, {"names": names})
        Path(target).chmod(get_file_mode())  # safetensors makes the file readable by its owner only
    except Exception as error:  # noqa: BLE001 - any error of an untrusted file refuses it
        has_objects = type(error).__name__ == "UnpicklingError"
        reason = "it holds Python objects besides tensors" if has_objects else str(error)
        print(" ".join(reason.split())[:200] or type(error).__name__)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
