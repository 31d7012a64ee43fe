"""A server that runs commands of `veduta` as forks, so that torch is imported once for all.

`python -m tests.faults.command_server` reads one JSON object per line from standard input: a
command to run in a child process, which leads its own session. It answers with one line that
contains the process id, and with another line that contains the exit code. The child runs `main` of
the command line with its own file descriptors and the installed signal handlers; a fault can be
injected before.
"""

import fcntl
import importlib
import io
import json
import os
import pkgutil
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import veduta
from veduta import api
from veduta.cli import main as command_line
from veduta.data import files as files_module
from veduta.data import pixels as pixels_module
from veduta.data.decode import decode_with_properties, read_file
from veduta.experiment import run as run_module
from veduta.features.engines import TorchEngine
from veduta.runs import test_set as test_set_module
from veduta.runs.checkpoints import Checkpoints
from veduta.runtime import interruption
from veduta.tuning import study as study_module
from veduta.tuning.executors.serial import run_serial

VERY_LONG = 600.0
"""Seconds, much longer than a test waits."""

MARKER = Path("marker")
"""A file in the working directory which says that the injected fault was reached."""


def mark_and_call(action: Callable[[], None]) -> Callable[..., Any]:
    """Return a function that creates the marker file and then calls `action`."""

    def replacement(*_: object, **__: object) -> None:
        MARKER.touch()
        action()

    return replacement


def loop_forever() -> None:
    """Run Python code that never ends, but that a signal handler can interrupt."""
    while True:
        time.sleep(0.01)


def replace_function(module: ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Replace a function that a module has defined or imported."""
    setattr(module, name, function)


def hang_in_save() -> None:
    """Let the save of a checkpoint hang, with a short grace period after a signal."""
    interruption.GRACE_SECONDS = 1.0
    Checkpoints.save = mark_and_call(lambda: time.sleep(VERY_LONG))  # type: ignore[method-assign]


def hang_in_save_until_second_signal() -> None:
    """Let the save of a checkpoint hang; a second signal counts however soon it is sent."""
    interruption.DUPLICATE_SECONDS = 0.0
    Checkpoints.save = mark_and_call(lambda: time.sleep(VERY_LONG))  # type: ignore[method-assign]


def ignore_duplicate_signals() -> None:
    """Let two equal signals count as one, however slow the machine is."""
    interruption.DUPLICATE_SECONDS = VERY_LONG


def decode_slowly() -> None:
    """Let decoding take a second per image; the marker file has one byte per image."""

    def decode(data: bytes) -> Any:
        with MARKER.open("ab") as marker:
            marker.write(b".")
        time.sleep(1)
        return decode_with_properties(data)

    replace_function(pixels_module, "decode_with_properties", decode)


def hang_in_features() -> None:
    """Let the computation of features hang."""
    TorchEngine.write_features = mark_and_call(loop_forever)  # type: ignore[method-assign]


def send_signal_at(module: ModuleType, name: str, number: int, *, before: bool) -> None:
    """Send a signal to this process just before or after the first call of a function."""
    original = getattr(module, name)

    def call(*args: object, **kwargs: object) -> object:
        result = None if before else original(*args, **kwargs)
        replace_function(module, name, original)
        os.kill(os.getpid(), number)
        return original(*args, **kwargs) if before else result

    replace_function(module, name, call)


def crash_trial(lr: float) -> None:
    """Let the trial with this learning rate crash the process."""

    def run_or_crash(tile: Any, *args: Any, **options: Any) -> Iterator[Any]:
        for epoch in run_serial(tile, *args, **options):
            if tile[0].settings.lr == lr:
                os.kill(os.getpid(), signal.SIGSEGV)
            yield epoch

    replace_function(study_module, "run_serial", run_or_crash)


def hang_in_reading() -> None:
    """Let the first file hang while it is read, as on a disk that does not respond."""
    files_module.MAX_IDLE_SECONDS = 0.5

    def read_or_hang(path: Path) -> bytes:
        while path.name == "000.png" and path.parent.name == "blue":
            time.sleep(0.05)
        return read_file(path)

    replace_function(files_module, "read_file", read_or_hang)


def ignore_hangup() -> None:
    """Ignore SIGHUP, as `nohup` does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


FAULTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "hang in save": hang_in_save,
    "hang in save until second signal": hang_in_save_until_second_signal,
    "ignore duplicate signals": ignore_duplicate_signals,
    "slow decoding": decode_slowly,
    "hang in features": hang_in_features,
    "interrupted while the test set is evaluated": lambda: send_signal_at(
        test_set_module, "record_evaluation", signal.SIGINT, before=False
    ),
    "killed while the test set is evaluated": lambda: send_signal_at(
        test_set_module, "record_evaluation", signal.SIGKILL, before=False
    ),
    "interrupted before the report": lambda: send_signal_at(
        run_module, "write_report", signal.SIGINT, before=True
    ),
    "ignore hangup": ignore_hangup,
    "crash": lambda: crash_trial(1e-2),
    "hang in reading": hang_in_reading,
}


def run_command(request: dict[str, Any]) -> None:
    """Run a command in the child process.

    The request has the keys `folder` and `words`, and can have `terminal` (device of a terminal),
    `unread` (nobody reads standard output), `environment`, `fault` (a key of FAULTS), and `library`
    (search by Python with `data` and `settings` instead of a command).
    """
    os.setsid()
    os.chdir(request["folder"])
    if terminal := request.get("terminal"):
        out = os.open(terminal, os.O_RDWR)
        fcntl.ioctl(out, termios.TIOCSCTTY, 0)
        error = out
    else:
        out = os.open("out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        error = os.open("err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if request.get("unread"):
        read_end, out = os.pipe()
        os.close(read_end)
    os.dup2(os.open(terminal or os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(error, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "wb", closefd=False)) for n in (1, 2))
    os.environ.update(request.get("environment", {}))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run with it ignored
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    interruption.GRACE_SECONDS = VERY_LONG  # saving takes longer on a busy machine
    FAULTS[request.get("fault", "")]()
    if request.get("library"):
        try:
            api.search(request["data"], out="run", grid={"lr": [1e-3, 1e-2]}, **request["settings"])
        except KeyboardInterrupt:
            MARKER.write_text("KeyboardInterrupt")
        return
    sys.argv = ["veduta", *request["words"]]
    command_line.main()


def run_child(request: dict[str, Any]) -> None:
    """Run a command and end the process with its exit code."""
    code = 1
    try:
        run_command(request)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve requests until standard input is closed."""
    torch.zeros(2).sum()
    for module in pkgutil.walk_packages(veduta.__path__, "veduta."):
        importlib.import_module(module.name)  # what commands import late
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run_child(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"code": code}), flush=True)


if __name__ == "__main__":
    main()
