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
import json, sys, time

told = []
begins = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system")

def tell(event, args):
    if event.startswith(begins):
        told.append(" ".join(map(str, (event, *args[:1]))))

sys.addaudithook(tell)
started = time.process_time()
{}
spent = time.process_time() - started
heavy = {{"torch", "pandas", "numpy", "timm", "sklearn", "PIL", "openvino"}} & set(sys.modules)
print(json.dumps([told, spent, sorted(heavy)]))
"""


LINKER = "subprocess.Popen /sbin/ldconfig"  # torch asks it where the system's libraries are


def imported(*modules: str) -> tuple[list[str], float, list[str]]:
    """What importing does, how many seconds it computes, what heavy libraries it loads."""
    script = IMPORT.format("\n".join(f"import {name}" for name in modules))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, spent, heavy = json.loads(done.stdout)
    return told, spent, heavy


def test_h4_importing_opens_no_socket_and_starts_no_process() -> None:
    assert imported("veduta", "veduta.cli.main")[0] == []
    assert set(imported("veduta.api")[0]) <= {LINKER}
    others = imported("socket; socket.socket()", "subprocess; subprocess.run(['true'])")[0]
    assert {one.split()[0] for one in others} >= {"socket.__new__", "subprocess.Popen"}


def test_h5_importing_takes_less_than_three_tenths_of_a_second_and_no_torch() -> None:
    """Of computing, the best of three: what a busy machine adds is not ours."""
    found = [imported("veduta", "veduta.cli.main") for _ in range(3)]
    assert all(not heavy for _, _, heavy in found)
    assert min(spent for _, spent, _ in found) < 0.3
