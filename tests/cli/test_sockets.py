"""No command opens a socket or needs a GPU: watched in all its processes, by Python and the kernel.

An audit hook writes down what Python code does with sockets, in the process of the command, in
what it forks and in every interpreter it starts: it comes as a `sitecustomize`. Libraries need not
go through Python to reach the network: a filter in the kernel, which children inherit, kills a
process that asks for a socket of the internet's families. Sockets of the family AF_UNIX stay inside
the machine and are let through; so is asking for the machine's name, which TensorBoard puts into
the names of its files.
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
    """Runs commands under watch, in a folder and with a cache of their own."""

    folder: Path

    def __call__(self, *words: object, guard: bool = LINUX) -> tuple[int, str, list[list[str]]]:
        """Exit code, standard error, and what was done with sockets."""
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
        """Run a command of Veduta, which must succeed and touch no socket."""
        self.commands(words)

    def commands(self, *all_words: tuple[object, ...]) -> None:
        """The same for several, in one process."""
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
REACHES = "import socket; socket.socket()"
THROUGH_C = (
    "import ctypes; print(ctypes.CDLL(None).socket(2, 1, 0))"  # Python's hook does not see it
)


@pytest.mark.parametrize(
    "program",
    [
        REACHES,
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {REACHES!r}])",
        f"import os\nif os.fork() == 0:\n    {REACHES}\nelse:\n    os.wait()",
        "import socket; socket.getaddrinfo('localhost', 80)",
    ],
    ids=["itself", "an interpreter it starts", "a process it forks", "a name it looks up"],
)
def test_the_watch_sees_what_python_does(watch: Watch, program: str) -> None:
    assert watch("-c", program, guard=False)[2]


@pytest.mark.skipif(not LINUX, reason="the filter is written for Linux on x86-64")
def test_the_filter_stops_what_c_does(watch: Watch) -> None:
    code, _, events = watch("-c", THROUGH_C)
    assert (code, events) == (-31, [])  # SIGSYS
    assert watch("-c", THROUGH_C, guard=False)[0] == 0


def test_what_stays_inside_the_machine_is_let_through(watch: Watch) -> None:
    program = "import socket; socket.gethostname(); [one.close() for one in socket.socketpair()]"
    assert watch("-c", program) == (0, "", [])


SMALL = ("--image-size", "32", "--epochs", "1", "--grid", "lr=1e-3,1e-2")
ENGINES = ["auto", *(["fastest"] if "openvino" in PACKAGES else [])]


CNN = ("--model", "cnn", "--channels", "8x12", "--image-size", "32", "--epochs", "1")


@pytest.mark.parametrize("engine", ENGINES)
def test_h7_a_search_opens_no_socket(watch: Watch, colours: Path, engine: str) -> None:
    watch.command("search", colours, *SMALL, "--engine", engine, "--out", f"search-{engine}")


@pytest.mark.slow
@pytest.mark.skipif(not {"nncf", "openvino"} <= PACKAGES, reason="nncf is not installed")
def test_h7_a_search_in_int8_opens_no_socket_nor_does_what_its_model_does(
    watch: Watch, colours: Path
) -> None:
    watch.commands(
        ("search", colours, *SMALL, "--precision", "int8", "--out", "int8"),
        ("predict", "int8", colours / "red", "--out", "int8-predicted"),
        ("evaluate", "int8", colours, "--out", "int8-evaluated"),
    )


def commands_on(data: Path) -> list[tuple[object, ...]]:
    """Every command that is quick, in an order that they can be given in."""
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


def test_h6_h7_every_command_works_without_gpu_and_network(watch: Watch, colours: Path) -> None:
    words = commands_on(colours)
    watch.commands(*words)
    known = {one.name or getattr(one.callback, "__name__", "") for one in app.registered_commands}
    assert {str(first) for first, *_ in words} == (known | {"--help"}) - {"demo"}


@pytest.mark.slow
def test_h7_the_demo_opens_no_socket(watch: Watch) -> None:
    watch.command("demo", "--out", "demo-run")
