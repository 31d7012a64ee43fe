"""Give damaged model files and files of weights to commands, and write what happens as JSON.

`python -m tests.faults.load_model_files DATA WORK` is one process for all files. It trains a model
and uses it, so that everything is imported, and then gives each damaged copy to a command.
"""

import json
import os
import shutil
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

from tests.faults.audit_hook import FORBIDDEN
from tests.faults.decoding_memory import read_peak_memory, reset_peak_memory
from tests.faults.model_files import FILES, MODELS, PATHS
from veduta.cli.main import main as run_veduta

AUDITED = (*FORBIDDEN, "exec", "socket.__new__")


class CommandRunner:
    """Runs commands in this process and counts calls, memory and audit events."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.calls = 0
        self.active = False
        sys.addaudithook(self._record)

    def _record(self, event: str, args: tuple[Any, ...]) -> None:
        if self.active and event in AUDITED:
            self.events.append(f"{event} {args!r}")

    def _count(self, _frame: FrameType, event: str, _arg: object) -> None:
        self.calls += event in {"call", "c_call"}

    def run(self, *words: object) -> dict[str, Any]:
        """Run a command; return exit code, standard error, function calls, bytes and events."""
        sys.argv = ["veduta", *map(str, words)]
        reset_peak_memory()
        error, code, self.events, self.calls = StringIO(), 0, [], 0
        before = read_peak_memory()
        self.active = True
        sys.setprofile(self._count)
        with redirect_stderr(error):
            try:
                run_veduta()
            except SystemExit as end:
                code = int(end.code or 0)
        sys.setprofile(None)
        self.active = False
        return {
            "code": code,
            "error": error.getvalue(),
            "calls": self.calls,
            "bytes": read_peak_memory() - before,
            "events": self.events,
        }


def create_link(source: str, target: str) -> None:
    """Create a hard link instead of a copy."""
    os.link(source, target)


def main(data: Path, work: Path) -> None:
    """Run all commands and write their results."""
    runner = CommandRunner()
    small = ("--image-size", "32", "--epochs", "1", "--engine", "torch")
    image = next((data / "red").iterdir())
    out = work / "out"

    def predict(run: object) -> dict[str, Any]:
        return runner.run("predict", run, image, "--out", out)

    def train(weights: object) -> dict[str, Any]:
        return runner.run("train", data, *small, "--weights", weights, "--out", out)

    runner.run("train", data, *small, "--out", work / "run")
    assert runner.run("predict", work / "run", image, "--out", work / "predicted")["code"] == 0
    cases = work / "cases"
    for name, (damage, _) in MODELS.items():
        shutil.copytree(work / "run/model", cases / name / "model", copy_function=create_link)
        damage(cases / name / "model")
    for name, (make, file_name, _) in FILES.items():
        (cases / f"weights, {name}").mkdir()
        make(cases / f"weights, {name}" / file_name)
    predict(work)
    train(work / "absent.pt")  # completes the imports of error messages

    results: dict[str, Any] = {"models": {}, "files": {}, "paths": {}, "paths of weights": {}}
    for name in MODELS:
        results["models"][name] = predict(cases / name)
    for name, (_, file_name, _) in FILES.items():
        results["files"][name] = train(cases / f"weights, {name}" / file_name)
    for name, (path, *_) in PATHS.items():
        results["paths"][name] = predict(path)
        results["paths of weights"][name] = train(path)
    results["canaries"] = sorted(path.name for path in work.rglob("canary"))
    (work / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
