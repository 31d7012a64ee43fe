"""Every file is written by the few functions that write atomically or durably."""

import ast
import re
from pathlib import Path

import veduta

ROOT = Path(veduta.__file__).parent
WRITERS = frozenset({
    "write_text", "write_bytes", "savefig", "to_csv", "to_parquet", "to_pickle",
    "save_file", "save_model", "tofile", "savez", "savez_compressed", "truncate", "SummaryWriter",
    "open_memmap", "mkstemp", "NamedTemporaryFile", "TemporaryDirectory", "extractall",
    "download_url_to_file", "copyfile", "copytree", "copy2", "move", "dump",
})  # fmt: skip
"""Calls that write files; `save`, `rename`, `replace` and `open` depend on how they are called."""

SAVES_SAFELY = frozenset({"checkpointer", "checkpoints", "self", "training"})
"""Variables whose `save` is Veduta's own and ends in one of these functions."""

IN_MEMORY = frozenset({"content"})
"""Variables that hold a buffer in memory, to which pictures and arrays are saved first."""

NO_FILES = frozenset({"Image", "network"})
"""Objects whose `open` does not open a file for writing."""

READING = re.compile(r"^'r?b?'$|O_RDONLY")
ALLOWED = {
    "data/cache.py": ({"open", "open_memmap", "rename"}, "synced before it gets its name"),
    "data/digits.py": ({"save"}, "in the scratch folder of `replace_folder`"),
    "experiment/recovery/rebuild.py": ({"copytree"}, "in the scratch folder of `replace_folder`"),
    "features/quantized.py": ({"TemporaryDirectory", "save_model"}, "read back and deleted"),
    "networks/unpickle.py": ({"TemporaryDirectory", "replace", "save_file"}, "synced"),
    "networks/weights.py": ({"download_url_to_file"}, "torch writes a temporary file and renames"),
    "reporting/pictures/media.py": ({"write_bytes"}, "in the scratch folder of `replace_folder`"),
    "runs/journal.py": ({"open", "truncate"}, "appended and synced"),
    "runs/test_set.py": ({"open"}, "appended under a lock and synced"),
    "runtime/disk.py": ({"TemporaryDirectory", "fdopen", "open", "rename", "replace"}, "these"),
    "runtime/environment.py": ({"TemporaryDirectory"}, "a folder for one process"),
    "runtime/process.py": ({"open"}, "the null device and the crash log"),
    "tracking/tensorboard.py": ({"SummaryWriter"}, "written again from the journal"),
}


def find_writer(call: ast.Call) -> str | None:
    """Return the name of a call that may write or rename a file; None for other calls."""
    name, owner = ast.unparse(call.func), ""
    if isinstance(call.func, ast.Attribute):
        name, owner = call.func.attr, ast.unparse(call.func.value)
    arguments = [ast.unparse(argument) for argument in call.args]
    if name in {"open", "fdopen"}:
        mode_arguments = arguments[owner in {"", "os"} :]
        writes = opens_for_writing(mode_arguments, call) and owner not in NO_FILES
    elif name in {"replace", "rename"}:  # those of dataclasses and strings have other arguments
        writes = bool(owner) and len(arguments) == 1 and not call.keywords
    elif name == "save":
        writes = bool(owner) and owner.rpartition(".")[2] not in SAVES_SAFELY
    else:
        writes = name in WRITERS and not (name == "to_csv" and not arguments)
    return name if writes and not IN_MEMORY.intersection(arguments[:1]) else None


def opens_for_writing(arguments: list[str], call: ast.Call) -> bool:
    """Return whether a file is opened for more than reading."""
    values = [*arguments, *(ast.unparse(keyword) for keyword in call.keywords)]
    modes = [value for value in values if value[0] in "'\"" or value.startswith("os.O_")]
    return bool(modes) and not READING.search(modes[0])


def test_files_are_written_by_functions_that_write_safely() -> None:
    writers = {}
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        if names := {find_writer(call) for call in calls} - {None}:
            writers[path.relative_to(ROOT).as_posix()] = names
    assert writers == {path: names for path, (names, _) in ALLOWED.items()}
