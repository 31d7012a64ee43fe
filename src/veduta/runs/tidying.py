"""What a process that was killed left half done in a run directory, and how it is set right."""

import re
import shutil

from veduta.runs.directory import RunDirectory
from veduta.runtime.disk import restore_folder

SCRATCH = re.compile(
    r"\.(.+\.(csv|html|json|yaml|md|npz|safetensors|checkpoint)|model|media)\.[a-z0-9_]{8}"
)
"""Names of what a process that was killed was about to put in place."""


def tidy(directory: RunDirectory) -> None:
    """Remove what a process that was killed was about to put in place.

    A folder that it had moved away to do so is put back.
    """
    folders = (directory.path, directory.model, directory.scores, directory.checkpoints)
    for path in (path for folder in folders for path in folder.glob(".*")):
        found = SCRATCH.fullmatch(path.name)
        if found and path.is_dir():
            restore_folder(path, path.with_name(found[1]))
            shutil.rmtree(path)
        elif found:
            path.unlink()
