"""A program that runs commands of `veduta` as forks of itself, so that each starts in no time.

`python -m tests.faults.commands`: torch is loaded once. Then each line on standard input, a JSON
object, is a command to run in a child that leads a session of its own; a line on standard output
tells its process, another what it ended with. The child runs the command line's own `main`, on
descriptors of its own, with the installed handlers; only a `fault` may be put into it first.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import veduta
from veduta import api
from veduta.cli import main as command_line
from veduta.data import files as reading
from veduta.data import pixels as making
from veduta.features.engines import TorchEngine
from veduta.reporting import report as writing
from veduta.runs import test_set as sealed
from veduta.runs.checkpoints import Checkpoints
from veduta.runtime import interruption
from veduta.tuning import study

AGES = 600.0  # seconds, much longer than a test waits
MARK = Path("mark")  # in the folder of the command: it is where the test wants it


def marked_then(after: Callable[[], None]) -> Callable[..., Any]:
    """In place of a function: say that it was called, and do something else."""

    def called(*_: object, **__: object) -> None:
        MARK.touch()
        after()

    return called


def forever() -> None:
    while True:
        time.sleep(0.01)


def endless_save() -> None:
    """A save that does not come back; nobody waits for it long."""
    interruption.GRACE = 1.0
    Checkpoints.save = marked_then(lambda: time.sleep(AGES))  # type: ignore[method-assign]


def deaf_save() -> None:
    """A save that does not come back; a second signal ends the wait, however soon it comes."""
    interruption.SAME = 0.0
    Checkpoints.save = marked_then(lambda: time.sleep(AGES))  # type: ignore[method-assign]


def sent_twice() -> None:
    """However long the second of two equal signals takes to come."""
    interruption.SAME = AGES


def slow_decoding() -> None:
    real = making.picture_of

    def picture_of(data: bytes) -> Any:
        with MARK.open("ab") as mark:
            mark.write(b".")  # one an image
        time.sleep(1)
        return real(data)

    making.picture_of = picture_of


def slow_features() -> None:
    TorchEngine.features = marked_then(forever)  # type: ignore[method-assign]


def ended_in(module: Any, name: str, number: int, *, before: bool) -> None:
    """A signal to ourselves, just before or after a function is called for the first time."""
    real = getattr(module, name)

    def called(*args: object, **kwargs: object) -> object:
        found = None if before else real(*args, **kwargs)
        setattr(module, name, real)
        os.kill(os.getpid(), number)
        return real(*args, **kwargs) if before else found

    setattr(module, name, called)


def crashing(lr: float) -> None:
    """One trial of a search brings the process down, the others do not."""
    real = study.run_alone

    def run_alone(tile: Any, folds: Any, **kwargs: Any) -> Any:
        for came in real(tile, folds, **kwargs):
            if tile[0].settings.lr == lr:
                os.kill(os.getpid(), signal.SIGSEGV)
            yield came

    study.run_alone = run_alone


def stuck_reading() -> None:
    """The first file that is read does not come, as on a disk that does not answer."""
    reading.HANG = 0.5
    real = reading.read_file

    def read_file(path: Path) -> bytes:
        while path.name == "000.png" and path.parent.name == "blue":
            time.sleep(0.05)
        return real(path)

    reading.read_file = read_file


FAULTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "endless save": endless_save,
    "deaf save": deaf_save,
    "a signal is sent twice": sent_twice,
    "slow decoding": slow_decoding,
    "slow features": slow_features,
    "interrupted while the test is opened": lambda: ended_in(
        sealed, "record_opening", signal.SIGINT, before=False
    ),
    "killed while the test is opened": lambda: ended_in(
        sealed, "record_opening", signal.SIGKILL, before=False
    ),
    "interrupted before the report": lambda: ended_in(
        writing, "write_report", signal.SIGINT, before=True
    ),
    "hang-up is ignored": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
    "crash": lambda: crashing(1e-2),
    "stuck reading": stuck_reading,
}


def run_command(request: dict[str, Any]) -> None:
    """In the child: take its place, and run it."""
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
        listen, out = os.pipe()
        os.close(listen)
    os.dup2(os.open(terminal or os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(error, 2)
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "wb", closefd=False)) for n in (1, 2))
    os.environ.update(request.get("environment", {}))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, perhaps, where tests are
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    interruption.GRACE = AGES  # a slow machine saves for longer than a user would wait
    FAULTS[request.get("fault", "")]()
    if request.get("library"):
        try:
            api.search(request["data"], out="run", grid={"lr": [1e-3, 1e-2]}, **request["settings"])
        except KeyboardInterrupt:
            MARK.write_text("KeyboardInterrupt")
        return
    sys.argv = ["veduta", *request["words"]]
    command_line.main()


def child(request: dict[str, Any]) -> None:
    code = 1
    try:
        run_command(request)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # noqa: BLE001 - as the interpreter would
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    torch.zeros(2).sum()
    for module in pkgutil.walk_packages(veduta.__path__, "veduta."):
        importlib.import_module(module.name)  # what commands load late, once for all of them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"code": code}), flush=True)


if __name__ == "__main__":
    main()
