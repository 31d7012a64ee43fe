"""Versions of dependencies, and the effects of importing Veduta.

`make` installs from the lock file. Commands without GPU and network are tested in
`tests/cli/test_sockets.py`.
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
SAFE_VERSIONS = {  # the first versions without known vulnerabilities
    "filelock": "3.20.3",
    "onnx": "1.21",
    "pillow": "12.3",
    "python-multipart": "0.0.27",
    "starlette": "0.49.1",
    "torch": "2.10",
}
DIRECT = {"pillow", "torch"}  # the others are dependencies of dependencies, or not installed


def read_requirements() -> dict[str, Requirement]:
    """Return the dependencies of `pyproject.toml` by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = map(Requirement, project["dependencies"])
    return {requirement.name: requirement for requirement in requirements}


def read_lock() -> dict[str, Requirement]:
    """Return the dependencies of the lock file by name."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {pin.name: pin for pin in pins}


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_required_versions_have_no_known_vulnerabilities(name: str) -> None:
    specifiers = read_requirements()[name].specifier
    (minimum,) = [specifier for specifier in specifiers if specifier.operator == ">="]
    assert Version(minimum.version) >= Version(SAFE_VERSIONS[name])


def test_locked_versions_have_no_known_vulnerabilities() -> None:
    lock = read_lock()
    assert set(lock) >= DIRECT
    for name in sorted(SAFE_VERSIONS.keys() & lock.keys()):
        (pin,) = lock[name].specifier
        assert pin.operator == "=="
        assert Version(pin.version) >= Version(SAFE_VERSIONS[name]), name


IMPORT = """
import json, sys

events = []
prefixes = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
            "os.system")

def record(event, args):
    if event.startswith(prefixes):
        events.append(" ".join(map(str, (event, *args[:1]))))

sys.addaudithook(record)
{}
print(json.dumps([events, sorted({{name.partition(".")[0] for name in sys.modules}})]))
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
"""Libraries for computing; each takes a tenth of a second to seconds to import."""

LINKER = "subprocess.Popen /sbin/ldconfig"  # torch searches the libraries of the system


def run_imports(program: str) -> tuple[list[str], set[str]]:
    """Return the audit events of a program, and the packages that it imports."""
    command = [sys.executable, "-c", IMPORT.format(program)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    events, packages = json.loads(process.stdout)
    return events, set(packages)


def test_importing_opens_no_socket_and_starts_no_process() -> None:
    assert run_imports("import veduta, veduta.cli.main")[0] == []
    assert set(run_imports("import veduta.api")[0]) <= {LINKER}
    events = run_imports("import socket, subprocess; socket.socket(); subprocess.run(['true'])")[0]
    assert {event.split()[0] for event in events} >= {"socket.__new__", "subprocess.Popen"}


def test_importing_loads_no_heavy_library() -> None:
    loaded = run_imports("import veduta, veduta.cli.main")[1]
    assert {"veduta", "typer"} <= loaded
    assert not loaded & HEAVY
    assert run_imports("import veduta.api")[1] & HEAVY, "the check finds heavy libraries"


@pytest.mark.parametrize("words", [["--help"], ["search", "--help"], ["predict", "--help"]])
def test_help_loads_no_heavy_library(words: list[str]) -> None:
    loaded = run_imports(HELP.format(words))[1]
    assert "rich" in loaded
    assert not loaded & HEAVY
