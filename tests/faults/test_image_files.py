"""Damaged, unusual and malicious image files: all commands agree, and no file takes much memory."""

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
from tests.support.image_files import EITHER, HEAVY, VANISHING, VERDICTS, create_image_files
from veduta.data.pixels import LEFT_OUT

ROOT = Path(__file__).parents[2]
MAX_BYTES = 600 * 10**6
PROBLEMS = {"", "empty", "missing", "not a regular file", "not an image", "too large"}
PROBLEMS |= {"unreadable", "unsupported"}


def read_state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return mode, size, time, and content or target of every file below a folder."""
    state: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISLNK(status.st_mode):
            content = path.readlink()
        elif stat.S_ISREG(status.st_mode) and status.st_size < 2**30 and os.access(path, os.R_OK):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name != VANISHING and not path.is_dir():
            state[path.name] = (status.st_mode, status.st_size, status.st_mtime_ns, content)
    return state


@dataclass(frozen=True)
class Verdicts:
    """Results of `tests.faults.verdicts`, and the state of the data before and after."""

    results: dict[str, Any]
    before: dict[str, tuple[object, ...]]
    after: dict[str, tuple[object, ...]]

    def read_rejections(self, name: str) -> dict[str, list[tuple[str, ...]]]:
        """Return the rows of unreadable files in a table of rejected files, by file name."""
        rows: dict[str, list[tuple[str, ...]]] = {}
        for path, *row in self.results[name]:
            if row[2:] in ([], [LEFT_OUT]):
                rows.setdefault(Path(path).name, []).append(tuple(row))
        return rows

    def read_accepted(self, name: str) -> set[str]:
        """Return the names of the files in a table of accepted files."""
        return {Path(row[0]).name for row in self.results[name]}


def measure_decoding(folder: Path) -> dict[str, tuple[str, int]]:
    """Return problem and bytes of memory by file name, measured in a new process."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.faults.decoding_memory", folder],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: (problem, taken) for name, (problem, taken) in json.loads(done.stdout).items()}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """What all commands do with all files."""
    work = tmp_path_factory.mktemp("images")
    data = work / "data"
    write_color_folders(data, 8)
    create_image_files(data / "odd")
    before = read_state(data)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.verdicts", data, work, VANISHING],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    results = json.loads((work / "results.json").read_text())
    return Verdicts(results, before, read_state(data))


@pytest.mark.parametrize("name", VERDICTS)
def test_every_command_gives_the_same_verdict(verdicts: Verdicts, name: str) -> None:
    problem = VERDICTS[name]
    if "mode 000" in name and verdicts.results["decode"][name] == "":
        pytest.skip("root cannot give up its right to read every file")
    assert verdicts.results["decode"][name] == problem
    for used, rejected in (
        ("used", "left out"),
        ("predicted", "rejected"),
        ("api", "api rejected"),
    ):
        rows = verdicts.read_rejections(rejected).get(name, [])
        assert (name in verdicts.read_accepted(used)) == (problem == ""), used
        assert [row[0] for row in rows] == [problem][: len(problem)], rejected
        assert all(row[1] for row in rows), rejected
    inspected = verdicts.read_rejections("inspected").get(name, [])
    assert [row[0] for row in inspected] == [problem][: len(problem)]


@pytest.mark.parametrize("name", EITHER)
def test_commands_agree_on_files_that_may_be_accepted_or_rejected(
    verdicts: Verdicts, name: str
) -> None:
    accepted = {used: name in verdicts.read_accepted(used) for used in ("used", "predicted", "api")}
    assert set(accepted.values()) == {verdicts.results["decode"][name] == ""}


def test_exit_codes_say_that_some_files_were_rejected(verdicts: Verdicts) -> None:
    assert len(VERDICTS) > 60
    assert verdicts.results["inspect"] == 0
    assert verdicts.results["search"] == 0
    assert verdicts.results["predict"] == 3


def test_command_line_and_python_give_the_same_probabilities(verdicts: Verdicts) -> None:
    predicted = verdicts.results["predicted"]
    by_command = {path: (label, float(number)) for path, label, number in predicted}
    assert by_command == {path: (label, number) for path, label, number in verdicts.results["api"]}
    assert verdicts.results["rejected"] == verdicts.results["api rejected"]


def test_no_command_changes_a_file(verdicts: Verdicts) -> None:
    assert verdicts.before == verdicts.after


def test_no_file_takes_much_memory(tmp_path: Path) -> None:
    create_image_files(tmp_path / "odd")
    (tmp_path / "heavy").mkdir()
    for name, (make, _) in HEAVY.items():
        (tmp_path / "heavy" / name).write_bytes(make())
    measured = measure_decoding(tmp_path)
    assert len(measured) > 60
    assert not {name: taken for name, (_, taken) in measured.items() if taken > MAX_BYTES}
    problems = {name: measured[f"heavy/{name}"][0] for name in HEAVY}
    assert problems == {name: problem for name, (_, problem) in HEAVY.items()}


CORPUS = os.environ.get("VEDUTA_PILLOW_IMAGES", "")


@pytest.mark.skipif(not CORPUS, reason="VEDUTA_PILLOW_IMAGES: Tests/images of Pillow's source")
def test_images_of_the_tests_of_pillow() -> None:
    measured = measure_decoding(Path(CORPUS))
    assert len(measured) > 700
    assert {problem for problem, _ in measured.values()} <= PROBLEMS
    assert not {name: taken for name, (_, taken) in measured.items() if taken > MAX_BYTES}
