"""An audit hook in every interpreter that a command starts: it comes as a `sitecustomize`.

It writes down what nothing that reads files of others may do, with where in the code it was done.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

FORBIDDEN = ("pickle.find_class", "os.system", "socket.connect", "os.exec")

HOOK = """
import json, os, sys, traceback

def tell(event, args):
    if event in FORBIDDEN:
        lines = [f"{frame.filename}:{frame.name}" for frame in traceback.extract_stack()][-12:]
        where = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(where, (json.dumps([event, repr(args), lines]) + "\\n").encode())
        os.close(where)

sys.addaudithook(tell)
"""


@dataclass(frozen=True)
class Watch:
    """What is written down stands in a folder of its own."""

    folder: Path

    def environment(self) -> dict[str, str]:
        """That of a process to be watched, and of what it starts."""
        site = self.folder / "site"
        site.mkdir(parents=True, exist_ok=True)
        (site / "sitecustomize.py").write_text(f"FORBIDDEN = {FORBIDDEN!r}\n{HOOK}")
        paths = [str(site), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "WATCHED": str(self.folder / "told"),
        }

    @property
    def events(self) -> list[tuple[str, str, list[str]]]:
        """Each: its name, its arguments, the innermost calls it came from."""
        told = self.folder / "told"
        return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
