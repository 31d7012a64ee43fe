"""The documentation runs: the commands and the Python of README.md."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.datasets import write_color_folders

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("photos", "holiday", "more-photos")):
        write_color_folders(tmp_path / name, 8, seed=seed)
    return tmp_path


@pytest.mark.slow
def test_the_commands_run(folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "veduta"
        command = [sys.executable, "-m", "veduta.cli.main", *words[1:]]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (block,) = blocks("python")
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert (folder / "runs" / "search-1" / "summary.json").is_file()


def test_what_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "docs", "bench", "clean"} <= targets
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= targets
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
