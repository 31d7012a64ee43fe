"""The commands and the Python code of README.md run."""

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


def find_blocks(language: str) -> list[str]:
    """Return the code blocks of README.md in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the data sets that README.md names."""
    for seed, name in enumerate(("photos", "holiday", "more-photos")):
        write_color_folders(tmp_path / name, 8, seed=seed)
    return tmp_path


@pytest.mark.slow
def test_commands_run(folder: Path) -> None:
    lines = [line for block in find_blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "veduta"
        command = [sys.executable, "-m", "veduta.cli.main", *words[1:]]
        process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert process.returncode == 0, f"{line}\n{process.stderr}"


@pytest.mark.slow
def test_python_code_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (block,) = find_blocks("python")
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert (folder / "runs" / "search-1" / "summary.json").is_file()


def test_referenced_targets_and_files_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "docs", "bench", "clean"} <= targets
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= targets
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
