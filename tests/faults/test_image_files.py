"""Rows D1 to D17: whatever way a file goes, the verdict is one; no file takes much memory."""

import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.datasets import write_color_folders
from tests.support.image_files import EITHER, HEAVY, VANISHING, VERDICTS, build
from veduta.data.pixels import LEFT_OUT

ROOT = Path(__file__).parents[2]
BYTES = 600 * 10**6
PROBLEMS = {"", "empty", "missing", "not a regular file", "not an image", "too large"}
PROBLEMS |= {"unreadable", "unsupported"}


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """What every file below a folder is: kind, mode, time of change, content or where it leads."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        elif stat.S_ISREG(status.st_mode) and status.st_size < 2**30 and os.access(path, os.R_OK):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name != VANISHING and not path.is_dir():
            found[path.name] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return found


@dataclass(frozen=True)
class Seen:
    """What was said, and the data before and after."""

    told: dict[str, Any]
    before: dict[str, tuple[object, ...]]
    after: dict[str, tuple[object, ...]]

    def rejections(self, name: str) -> dict[str, list[tuple[str, ...]]]:
        """Rows of a table of rejected files that cannot be read, by name of the file."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for path, *row in self.told[name]:
            if row[2:] in ([], [LEFT_OUT]):
                found.setdefault(Path(path).name, []).append(tuple(row))
        return found

    def accepted(self, name: str) -> set[str]:
        """Names of files in a table of accepted ones."""
        return {Path(row[0]).name for row in self.told[name]}


def measured(folder: Path) -> dict[str, tuple[str, int]]:
    """By name: the problem and the bytes of memory, as a process of its own has them."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.faults.decoding_memory", folder],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: tuple(found) for name, found in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    work = tmp_path_factory.mktemp("images")
    data = work / "data"
    write_color_folders(data, 8)
    build(data / "odd")
    before = state(data)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.verdicts", data, work, VANISHING],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return Seen(json.loads((work / "told.json").read_text()), before, state(data))


@pytest.mark.parametrize("name", VERDICTS)
def test_d1_to_d17_every_command_gives_the_same_verdict(seen: Seen, name: str) -> None:
    problem = VERDICTS[name]
    if "mode 000" in name and seen.told["decode"][name] == "":
        pytest.skip("this root cannot give up reading everything")
    assert seen.told["decode"][name] == problem
    for used, rejected in (
        ("used", "left out"),
        ("predicted", "rejected"),
        ("api", "api rejected"),
    ):
        rows = seen.rejections(rejected).get(name, [])
        assert (name in seen.accepted(used)) == (problem == ""), used
        assert [row[0] for row in rows] == [problem][: len(problem)], rejected
        assert all(row[1] for row in rows), rejected
    inspected = seen.rejections("inspected").get(name, [])
    assert [row[0] for row in inspected] == [problem][: len(problem)]


@pytest.mark.parametrize("name", EITHER)
def test_d2_what_may_be_read_or_not_has_one_verdict_too(seen: Seen, name: str) -> None:
    accepted = {used: name in seen.accepted(used) for used in ("used", "predicted", "api")}
    assert set(accepted.values()) == {seen.told["decode"][name] == ""}


def test_d1_to_d17_are_sixty_files_and_the_commands_say_partly(seen: Seen) -> None:
    assert len(VERDICTS) > 60
    assert seen.told["inspect"] == 0
    assert seen.told["search"] == 0
    assert seen.told["predict"] == 3


def test_d1_to_d17_command_line_and_python_give_the_same_probabilities(seen: Seen) -> None:
    told = {path: (label, float(number)) for path, label, number in seen.told["predicted"]}
    assert told == {path: (label, number) for path, label, number in seen.told["api"]}
    assert seen.told["rejected"] == seen.told["api rejected"]


def test_d1_to_d17_the_files_are_as_they_were(seen: Seen) -> None:
    assert seen.before == seen.after


def test_d1_to_d17_no_file_takes_much_memory(tmp_path: Path) -> None:
    build(tmp_path / "odd")
    (tmp_path / "heavy").mkdir()
    for name, (make, _) in HEAVY.items():
        (tmp_path / "heavy" / name).write_bytes(make())
    found = measured(tmp_path)
    assert len(found) > 60
    assert not {name: taken for name, (_, taken) in found.items() if taken > BYTES}
    verdicts = {name: found[f"heavy/{name}"][0] for name in HEAVY}
    assert verdicts == {name: problem for name, (_, problem) in HEAVY.items()}


CORPUS = os.environ.get("VEDUTA_PILLOW_IMAGES", "")


@pytest.mark.skipif(not CORPUS, reason="VEDUTA_PILLOW_IMAGES: Tests/images of Pillow's source")
def test_d18_the_images_that_pillow_is_tested_with() -> None:
    found = measured(Path(CORPUS))
    assert len(found) > 700
    assert {one[0] for one in found.values()} <= PROBLEMS
    assert not {name: taken for name, (_, taken) in found.items() if taken > BYTES}
