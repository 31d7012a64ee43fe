"""An audit hook in every Python interpreter that a command starts, installed as `sitecustomize`.

It logs events that reading foreign files must not cause, with the functions that caused them.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

FORBIDDEN = ("pickle.find_class", "os.system", "socket.connect", "os.exec")

HOOK = """
import json, os, sys, traceback

def log_event(event, args):
    if event in FORBIDDEN:
        lines = [f"{frame.filename}:{frame.name}" for frame in traceback.extract_stack()][-12:]
        file = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, (json.dumps([event, repr(args), lines]) + "\\n").encode())
        os.close(file)

sys.addaudithook(log_event)
"""


@dataclass(frozen=True)
class AuditLog:
    """The log of forbidden events, in a folder of its own."""

    folder: Path

    def make_environment(self) -> dict[str, str]:
        """Return the environment of a process that is to be audited with all its children."""
        site = self.folder / "site"
        site.mkdir(parents=True, exist_ok=True)
        (site / "sitecustomize.py").write_text(f"FORBIDDEN = {FORBIDDEN!r}\n{HOOK}")
        paths = [str(site), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "AUDIT_LOG": str(self.folder / "log"),
        }

    @property
    def events(self) -> list[tuple[str, str, list[str]]]:
        """Return name, arguments and innermost calls of each event."""
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
