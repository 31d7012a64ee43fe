"""Every place in the package that writes a file goes through the few functions that do it well."""

import ast
import re
from pathlib import Path

import veduta

ROOT = Path(veduta.__file__).parent
WRITERS = frozenset({
    "write_text", "write_bytes", "savefig", "to_csv", "to_json", "to_parquet", "to_pickle",
    "save_file", "save_model", "tofile", "savez", "savez_compressed", "truncate", "SummaryWriter",
    "open_memmap", "mkstemp", "NamedTemporaryFile", "TemporaryDirectory", "extractall",
    "download_url_to_file", "copyfile", "copytree", "copy2", "move", "dump",
})  # fmt: skip
"""Names that nothing else has; `save`, `rename` and `replace` are told by how they are called."""

OURS = frozenset({"self", "kept", "keeper", "work"})
"""What has a `save` of our own, which ends in one of the functions."""

IN_MEMORY = frozenset({"content", "drawn"})
"""What pictures and arrays are saved into before they are written."""

NO_FILES = frozenset({"Image", "network", "sealed"})
"""What has an `open` that opens something else."""

READING = re.compile(r"^'r?b?'$|O_RDONLY")
ALLOWED = {
    "data/digits.py": ({"save"}, "in a folder that `replace_folder` waits for"),
    "data/shards.py": ({"open", "open_memmap", "rename"}, "waited for before it gets its name"),
    "experiment/media.py": ({"write_bytes"}, "in a folder that `replace_folder` waits for"),
    "experiment/rebuilding.py": ({"copytree"}, "in a folder that `replace_folder` waits for"),
    "experiment/sealed.py": ({"open"}, "appended under a lock, and waited for"),
    "features/quantised.py": ({"TemporaryDirectory", "save_model"}, "read back and removed"),
    "models/unpickle.py": ({"TemporaryDirectory", "replace", "save_file"}, "waited for"),
    "models/weights.py": ({"download_url_to_file"}, "torch's own: beside its place, renamed"),
    "runs/journal.py": ({"open", "truncate"}, "appended, and waited for"),
    "runtime/crashes.py": ({"open"}, "for the last words of a process"),
    "runtime/disk.py": ({"TemporaryDirectory", "fdopen", "open", "rename", "replace"}, "these"),
    "runtime/environment.py": ({"TemporaryDirectory"}, "serves once"),
    "runtime/process.py": ({"open"}, "the null device"),
    "tracking/tensorboard.py": ({"SummaryWriter"}, "drawn again from the journal"),
}


def writes(call: ast.Call) -> str | None:
    """The name of a call that may write a file or give one its name; None where it does not."""
    name, owner = ast.unparse(call.func), ""
    if isinstance(call.func, ast.Attribute):
        name, owner = call.func.attr, ast.unparse(call.func.value)
    words = [ast.unparse(word) for word in call.args]
    if name in {"open", "fdopen"}:
        written = opens_to_write(words[owner in {"", "os"} :], call) and owner not in NO_FILES
    elif name in {"replace", "rename"}:  # a path's: dataclasses and text take other arguments
        written = bool(owner) and len(words) == 1 and not call.keywords
    elif name == "save":
        written = bool(owner) and owner.rpartition(".")[2] not in OURS
    else:
        written = name in WRITERS and not (name == "to_csv" and not words)
    return name if written and not IN_MEMORY.intersection(words[:1]) else None


def opens_to_write(words: list[str], call: ast.Call) -> bool:
    """Whether a file is opened for more than reading."""
    mode = [*words, *(ast.unparse(one) for one in call.keywords)]
    kinds = [word for word in mode if word[0] in "'\"" or word.startswith("os.O_")]
    return bool(kinds) and not READING.search(kinds[0])


def test_every_file_is_written_by_the_functions_that_do_it_well() -> None:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {writes(node) for node in ast.walk(tree) if isinstance(node, ast.Call)} - {None}
        if names:
            found[path.relative_to(ROOT).as_posix()] = names
    assert found == {name: names for name, (names, _) in ALLOWED.items()}
