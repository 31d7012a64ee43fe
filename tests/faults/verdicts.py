"""What every way through the program says of each file of a folder, told as JSON.

Run as `python -m tests.faults.verdicts DATA WORK NAME`: a process of its own, because root may read
everything, and so gives up that right first; and because a file shall vanish between being found
and being read, which an audit hook sees to. `DATA/odd` holds the files, NAME is the one to vanish.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

PR_CAPBSET_DROP = 24
READ_ALL = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def be_nobody_special() -> None:
    """Where this is root, start again as one whom the modes of files bind."""
    if os.geteuid() == 0 and sys.platform == "linux" and "BOUND" not in os.environ:
        os.environ["BOUND"] = "yes"
        for capability in READ_ALL:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        words = [sys.executable, "-m", "tests.faults.verdicts", *sys.argv[1:]]
        os.execv(sys.executable, words)  # noqa: S606


def vanish_when_read(data: Path, path: Path) -> None:
    """Take `path` away as soon as any file of `data` is opened: folders have been listed then."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and str(args[0]).startswith(str(data)) and path.exists():
            path.unlink()

    sys.addaudithook(hook)


def command(*words: object) -> int:
    """Run a command of Veduta here; its exit code."""
    from veduta.cli import main

    sys.argv = ["veduta", *map(str, words)]
    try:
        main.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def decoded(data: Path) -> dict[str, str]:
    """What `data.decode` says: "" or the problem, by name."""
    from veduta.data.decode import decode, read_file
    from veduta.data.folder import read_folder
    from veduta.errors import DecodeError

    found = {}
    for sample in read_folder(data).samples:
        try:
            decode(read_file(sample.path))
            found[sample.path.name] = ""
        except DecodeError as error:
            found[sample.path.name] = error.problem
    return found


def rows(path: Path, *columns: str) -> list[list[str]]:
    """Some columns of a table, as text."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table[[*columns]].to_numpy().tolist()


def main(data: Path, work: Path, name: str) -> None:
    vanishing = data / "odd" / name
    content = vanishing.read_bytes()
    vanish_when_read(data, vanishing)
    told: dict[str, Any] = {"decode": decoded(data)}

    vanishing.write_bytes(content)
    told["inspect"] = command("inspect", data, "--out", work / "looked")
    told["inspected"] = rows(work / "looked/rejected.csv", "path", "problem", "detail", "action")

    vanishing.write_bytes(content)
    grid = ("--grid", "lr=1e-3,1e-2", "--epochs", "1", "--image-size", "32", "--engine", "torch")
    told["search"] = command("search", data, *grid, "--out", work / "run")
    told["used"] = rows(work / "run/splits.csv", "path")
    told["left out"] = rows(work / "run/rejected.csv", "path", "problem", "detail", "action")

    vanishing.write_bytes(content)
    told["predict"] = command("predict", work / "run", data / "odd", "--out", work / "found")
    told["predicted"] = rows(work / "found/predictions.csv", "path", "label", "probability")
    told["rejected"] = rows(work / "found/rejected.csv", "path", "problem", "detail")

    vanishing.write_bytes(content)
    import veduta

    table = veduta.load(work / "run").predict(data / "odd")
    told["api"] = table[["path", "label", "probability"]].to_numpy().tolist()
    told["api rejected"] = table.attrs["rejected"]
    (work / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    be_nobody_special()
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
