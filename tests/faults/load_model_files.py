"""What the commands say of each model file and file of weights, and what they take, told as JSON.

Run as `python -m tests.faults.load_model_files DATA WORK`. One process for all of them: it trains a model,
uses it, so that everything is imported, and then gives each damaged copy to a command.
"""

import json
import os
import resource
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
from veduta.cli.main import main as veduta

WATCHED = (*FORBIDDEN, "exec", "socket.__new__")


class Told:
    """Watches what this process does between `start` and `end`."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.calls = 0
        self.listening = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.listening and event in WATCHED:
            self.events.append(f"{event} {args!r}")

    def _count(self, _frame: FrameType, event: str, _arg: object) -> None:
        self.calls += event in {"call", "c_call"}

    def run(self, *words: object) -> dict[str, Any]:
        """Run a command here: exit code, standard error, function calls, bytes, events."""
        sys.argv = ["veduta", *map(str, words)]
        reset_peak_memory()
        error, code, self.events, self.calls = StringIO(), 0, [], 0
        before = read_peak_memory()
        self.listening = True
        sys.setprofile(self._count)
        with redirect_stderr(error):
            try:
                veduta()
            except SystemExit as end:
                code = int(end.code or 0)
        sys.setprofile(None)
        self.listening = False
        taken = read_peak_memory() - before
        told = {"code": code, "error": error.getvalue(), "calls": self.calls}
        return {**told, "bytes": taken, "events": self.events}


def link(source: str, target: str) -> None:
    """Copy by a second name."""
    os.link(source, target)


def main(data: Path, work: Path) -> None:
    told = Told()
    small = ("--image-size", "32", "--epochs", "1", "--engine", "torch")
    image = next((data / "red").iterdir())
    out = work / "out"

    def loaded(run: object) -> dict[str, Any]:
        return told.run("predict", run, image, "--out", out)

    def trained(weights: object) -> dict[str, Any]:
        return told.run("train", data, *small, "--weights", weights, "--out", out)

    told.run("train", data, *small, "--out", work / "run")
    assert told.run("predict", work / "run", image, "--out", work / "found")["code"] == 0
    cases = work / "cases"
    for name, (damage, _) in MODELS.items():
        shutil.copytree(work / "run/model", cases / name / "model", copy_function=link)
        damage(cases / name / "model")
    for name, (make, called, _) in FILES.items():
        (cases / f"weights, {name}").mkdir()
        make(cases / f"weights, {name}" / called)
    loaded(work)
    trained(work / "absent.pt")  # whatever is imported to refuse is imported now

    found: dict[str, Any] = {"models": {}, "files": {}, "paths": {}, "paths of weights": {}}
    for name in MODELS:
        found["models"][name] = loaded(cases / name)
    for name, (_, called, _) in FILES.items():
        found["files"][name] = trained(cases / f"weights, {name}" / called)
    for name, (path, *_) in PATHS.items():
        found["paths"][name] = loaded(path)
        found["paths of weights"][name] = trained(path)
    found["children"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    found["there"] = sorted(path.name for path in work.rglob("canary"))
    (work / "told.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
