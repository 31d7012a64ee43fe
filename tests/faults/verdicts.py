"""Run every command on a folder of unusual files and write their results as JSON.

`python -m tests.faults.verdicts DATA WORK NAME` is a process of its own: root gives up its right to
read every file, and an audit hook removes a file between being listed and being read. `DATA/odd`
holds the files, NAME is the one that is removed.
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

PR_CAPBSET_DROP = 24
REJECTED = ("path", "problem", "detail", "action")
READ_ALL = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def give_up_reading_everything() -> None:
    """Start again without the right of root to read files whatever their mode."""
    if os.geteuid() == 0 and sys.platform == "linux" and "BOUND" not in os.environ:
        os.environ["BOUND"] = "yes"
        for capability in READ_ALL:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        words = [sys.executable, "-m", "tests.faults.verdicts", *sys.argv[1:]]
        os.execv(sys.executable, words)  # noqa: S606


def remove_when_read(data: Path, path: Path) -> None:
    """Remove `path` when a file of `data` is opened for the first time, after all are listed."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and str(args[0]).startswith(str(data)) and path.exists():
            path.unlink()

    sys.addaudithook(hook)


def run_command(*words: object) -> int:
    """Run a command of Veduta in this process and return its exit code."""
    from veduta.cli import main

    sys.argv = ["veduta", *map(str, words)]
    try:
        main.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def find_decoding_problems(data: Path) -> dict[str, str]:
    """Return the problem of each file by name, or \"\" if it can be decoded."""
    from veduta.data.decode import decode, read_file
    from veduta.data.folder import read_folder
    from veduta.errors import DecodeError

    problems = {}
    for sample in read_folder(data).samples:
        try:
            decode(read_file(sample.path))
            problems[sample.path.name] = ""
        except DecodeError as error:
            problems[sample.path.name] = error.problem
    return problems


def read_rows(path: Path, *columns: str) -> list[list[str]]:
    """Return some columns of a table as text."""
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table[[*columns]].to_numpy().tolist()


def main(data: Path, work: Path, name: str) -> None:
    """Run all commands, each on the complete folder, and write the results."""
    removed = data / "odd" / name
    content = removed.read_bytes()
    remove_when_read(data, removed)
    results: dict[str, Any] = {"decode": find_decoding_problems(data)}

    removed.write_bytes(content)
    results["inspect"] = run_command("inspect", data, "--out", work / "inspected")
    results["inspected"] = read_rows(
        work / "inspected/rejected.csv", "path", "problem", "detail", "action"
    )

    removed.write_bytes(content)
    grid = ("--grid", "lr=1e-3,1e-2", "--epochs", "1", "--image-size", "32", "--engine", "torch")
    results["search"] = run_command("search", data, *grid, "--out", work / "run")
    results["used"] = read_rows(work / "run/splits.csv", "path")
    results["left out"] = read_rows(
        work / "run/rejected.csv", "path", "problem", "detail", "action"
    )

    removed.write_bytes(content)
    results["predict"] = run_command(
        "predict", work / "run", data / "odd", "--out", work / "predicted"
    )
    results["predicted"] = read_rows(
        work / "predicted/predictions.csv", "path", "label", "probability"
    )
    results["rejected"] = read_rows(work / "predicted/rejected.csv", "path", "problem", "detail")

    removed.write_bytes(content)
    import veduta

    table = veduta.load(work / "run").predict(data / "odd")
    results["api"] = table[["path", "label", "probability"]].to_numpy().tolist()
    results["api rejected"] = table.attrs["rejected"]
    (work / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    give_up_reading_everything()
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
