"""What an installation is made of, and what importing it does (rows H).

A clean install from the lock file (H1) is what `make` does on every fresh machine. That every
command works without a GPU (H6) and without a network (H7) is shown in `tests/cli/test_sockets.py`.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
FLOORS = {  # the first version without the faults that are known
    "filelock": "3.20.3",
    "onnx": "1.21",
    "pillow": "12.3",
    "python-multipart": "0.0.27",
    "starlette": "0.49.1",
    "torch": "2.10",
}
OURS = {"pillow", "torch"}  # asked for by name; the others come with others, or not at all


def asked_for() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {one.name: one for one in map(Requirement, project["dependencies"])}


def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {one.name: one for one in found}


@pytest.mark.parametrize("name", sorted(OURS))
def test_h3_what_we_ask_for_begins_where_the_known_faults_end(name: str) -> None:
    before = Version(FLOORS[name])
    (least,) = [one for one in asked_for()[name].specifier if one.operator == ">="]
    assert Version(least.version) >= before


def test_h3_what_is_locked_is_past_the_known_faults() -> None:
    found = locked()
    assert set(found) >= OURS
    for name in sorted(FLOORS.keys() & found.keys()):
        (pin,) = found[name].specifier
        assert pin.operator == "=="
        assert Version(pin.version) >= Version(FLOORS[name]), name


IMPORT = """
import json, sys

told = []
begins = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system")

def tell(event, args):
    if event.startswith(begins):
        told.append(" ".join(map(str, (event, *args[:1]))))

sys.addaudithook(tell)
{}
print(json.dumps([told, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""
HELP = """
import contextlib, io
from veduta.cli.main import app
with contextlib.redirect_stdout(io.StringIO()):
    app({}, standalone_mode=False)
"""

HEAVY = {
    *("PIL", "filelock", "jinja2", "matplotlib", "nncf", "numpy", "openvino", "pandas"),
    *("safetensors", "scipy", "sklearn", "tensorboard", "timm", "torch", "torchvision"),
}
"""What a command loads when it computes, a tenth of a second to seconds each."""

LINKER = "subprocess.Popen /sbin/ldconfig"  # torch asks it where the system's libraries are


def imported(program: str) -> tuple[list[str], set[str]]:
    """What a program of imports does, and the packages that it loads."""
    command = [sys.executable, "-c", IMPORT.format(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, loaded = json.loads(done.stdout)
    return told, set(loaded)


def test_h4_importing_opens_no_socket_and_starts_no_process() -> None:
    assert imported("import veduta, veduta.cli.main")[0] == []
    assert set(imported("import veduta.api")[0]) <= {LINKER}
    others = imported("import socket, subprocess; socket.socket(); subprocess.run(['true'])")[0]
    assert {one.split()[0] for one in others} >= {"socket.__new__", "subprocess.Popen"}


def test_h5_importing_loads_no_heavy_library() -> None:
    loaded = imported("import veduta, veduta.cli.main")[1]
    assert {"veduta", "typer"} <= loaded
    assert not loaded & HEAVY
    assert imported("import veduta.api")[1] & HEAVY, "they are told of where they are loaded"


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["predict", "--help"]])
def test_h5_help_loads_no_heavy_library(words: list[str]) -> None:
    loaded = imported(HELP.format(words))[1]
    assert "rich" in loaded
    assert not loaded & HEAVY
