"""No command opens a socket or needs a GPU: all its processes are monitored by Python and kernel.

An audit hook records all use of sockets by Python code in the process of the command, in its forks
and in every interpreter that it starts, because it is installed as `sitecustomize`. Native code
does not need Python to reach the network: a filter in the kernel, which child processes inherit,
kills a process that creates a socket of the internet families. Sockets of the family AF_UNIX stay
inside the machine and are allowed, and so is the query of the host name, which TensorBoard writes
into the names of its files.
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest

from veduta.cli.main import app

PACKAGES = {distribution.name for distribution in distributions()}
LINUX = sys.platform == "linux" and platform.machine() == "x86_64"

WATCH = """
import ctypes, json, os, struct, sys

def tell(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        if event == "socket.__new__" and args[1] == 1:
            return  # AF_UNIX
        where = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(where, (json.dumps([event, repr(args)]) + "\\n").encode())
        os.close(where)

sys.addaudithook(tell)
LOAD, EQUAL, RETURN, SOCKET = 0x20, 0x15, 0x06, 41
KILL, ALLOW = 0x80000000, 0x7FFF0000
STEPS = [  # code, steps to skip where equal, where not, operand
    (LOAD, 0, 0, 0), (EQUAL, 0, 4, SOCKET), (LOAD, 0, 0, 16),
    (EQUAL, 1, 0, 2), (EQUAL, 0, 1, 10), (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW),
]
if os.environ["FILTER"] == "yes":
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in STEPS))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(STEPS), ctypes.addressof(code))
    )
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # no new privileges
    assert libc.prctl(22, 2, program) == 0  # seccomp, by a filter
"""


@dataclass
class Watch:
    """Runs monitored commands in a separate folder with a separate cache."""

    folder: Path

    def __call__(self, *words: object, guard: bool = LINUX) -> tuple[int, str, list[list[str]]]:
        """Run an interpreter; return exit code, standard error, and the recorded socket events."""
        told = self.folder / "told"
        told.unlink(missing_ok=True)
        paths = [self.folder / "site", *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
        environment = {
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "HOME": str(self.folder / "home"),  # telemetry keeps its consent file there
            "VEDUTA_CACHE": str(self.folder / "cache"),
            "WATCHED": str(told),
            "FILTER": "yes" if guard else "no",
            "CUDA_VISIBLE_DEVICES": "",
        }
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True, text=True, check=False, cwd=self.folder, env=environment,
        )  # fmt: skip
        lines = told.read_text().splitlines() if told.exists() else []
        return done.returncode, done.stderr, [json.loads(line) for line in lines]

    def command(self, *words: object) -> None:
        """Run a command of Veduta, which must succeed without socket events."""
        self.commands(words)

    def commands(self, *all_words: tuple[object, ...]) -> None:
        """Run several commands in one process, which must succeed without socket events."""
        given = json.dumps([[*map(str, words)] for words in all_words])
        code, error, events = self("-c", SCRIPT, given)
        assert events == []
        assert code == 0, error


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    folder = tmp_path_factory.mktemp("watched")
    for name in ("site", "home"):
        (folder / name).mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WATCH)
    return Watch(folder)


SCRIPT = """
import json, sys
from veduta.cli.main import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["veduta", *words]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""
OPEN_SOCKET = "import socket; socket.socket()"
OPEN_SOCKET_IN_C = (
    "import ctypes; print(ctypes.CDLL(None).socket(2, 1, 0))"  # invisible to the audit hook
)


@pytest.mark.parametrize(
    "program",
    [
        OPEN_SOCKET,
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {OPEN_SOCKET!r}])",
        f"import os\nif os.fork() == 0:\n    {OPEN_SOCKET}\nelse:\n    os.wait()",
        "import socket; socket.getaddrinfo('localhost', 80)",
    ],
    ids=["process", "child interpreter", "fork", "name lookup"],
)
def test_audit_hook_records_sockets_of_python(watch: Watch, program: str) -> None:
    assert watch("-c", program, guard=False)[2]


@pytest.mark.skipif(not LINUX, reason="the filter is written for Linux on x86-64")
def test_kernel_filter_stops_sockets_of_native_code(watch: Watch) -> None:
    code, _, events = watch("-c", OPEN_SOCKET_IN_C)
    assert (code, events) == (-31, [])  # SIGSYS
    assert watch("-c", OPEN_SOCKET_IN_C, guard=False)[0] == 0


def test_local_sockets_are_allowed(watch: Watch) -> None:
    program = "import socket; socket.gethostname(); [one.close() for one in socket.socketpair()]"
    assert watch("-c", program) == (0, "", [])


SMALL = ("--image-size", "32", "--epochs", "1", "--grid", "lr=1e-3,1e-2")
ENGINES = ["auto", *(["fastest"] if "openvino" in PACKAGES else [])]


CNN = ("--model", "cnn", "--channels", "8x12", "--image-size", "32", "--epochs", "1")


@pytest.mark.parametrize("engine", ENGINES)
def test_search_opens_no_socket(watch: Watch, color_folder: Path, engine: str) -> None:
    watch.command("search", color_folder, *SMALL, "--engine", engine, "--out", f"search-{engine}")


@pytest.mark.slow
@pytest.mark.skipif(not {"nncf", "openvino"} <= PACKAGES, reason="nncf is not installed")
def test_int8_search_prediction_and_evaluation_open_no_socket(
    watch: Watch, color_folder: Path
) -> None:
    watch.commands(
        ("search", color_folder, *SMALL, "--precision", "int8", "--out", "int8"),
        ("predict", "int8", color_folder / "red", "--out", "int8-predicted"),
        ("evaluate", "int8", color_folder, "--out", "int8-evaluated"),
    )


def commands_on(data: Path) -> list[tuple[object, ...]]:
    """Return every quick command, in an order in which they can run."""
    return [
        ("inspect", data, "--out", "inspected"),
        ("train", data, "--image-size", "32", "--epochs", "1", "--engine", "torch", "--out", "run"),
        ("predict", "run", data / "red", "--out", "predicted"),
        ("evaluate", "run", data, "--out", "evaluated"),
        ("explain", "run", data / "red" / "000.png", "--out", "explained"),
        ("compare", "run", "run", "--out", "compared"),
        ("report", "run", "--out", "page.html"),
        ("rebuild", "run"),
        ("search", data, *CNN, "--grid", "lr=1e-3,1e-2", "--out", "searched"),
        ("train", data, *CNN, "--augment", "crop", "--preview", "--out", "preview"),
        ("lr-find", data, *CNN, "--batch-size", "8", "--out", "rates"),
        ("models",),
        ("equations", "--html", "equations.html"),
        ("cache",),
        ("--help",),
    ]


def test_every_command_works_without_gpu_and_network(watch: Watch, color_folder: Path) -> None:
    words = commands_on(color_folder)
    watch.commands(*words)
    known = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    assert {str(first) for first, *_ in words} == (known | {"--help"}) - {"demo"}


@pytest.mark.slow
def test_demo_opens_no_socket(watch: Watch) -> None:
    watch.command("demo", "--out", "demo-run")
