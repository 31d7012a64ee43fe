"""A run whose journal is damaged: a copy of it that goes on, the run itself left as it is."""

import shutil
from pathlib import Path

from veduta.errors import InputError
from veduta.experiment.lost import forget
from veduta.experiment.rebuilding import Draw, Rebuilt, remade, run_in
from veduta.runs.directory import RunDirectory, new_directory_faults
from veduta.runs.files import expect_room, replace_folder, write_atomically
from veduta.runs.journal import locked
from veduta.runs.lines import read_lines
from veduta.runs.repair import Mended, mended


def repair(path: Path, copy: Path, *, draw: Draw) -> Rebuilt:
    """Write a copy of a run whose journal is damaged, with a journal that can be read.

    Its derived files are those that the mended journal gives.

    Args:
        path: the directory of the run, which is not changed.
        copy: a new directory.
        draw: gives the report of a run that has ended.

    Raises:
        InputError: there is no run, it is being written, its journal is whole, or `copy` cannot be
            a new directory.
        JournalError: the journal is of a newer version, or damaged from its first line.
    """
    directory = run_in(path)
    with expect_room(path), locked(directory.journal) as data:
        found = mended(data, directory.journal)
        if error := InputError.unless_empty(_faults(directory, copy, found)):
            raise error
        with expect_room(copy.parent):
            made = _copied(directory, copy, found, draw=draw)
    made.directory, made.told = RunDirectory(copy), [*found.told]
    return made


def _faults(directory: RunDirectory, copy: Path, found: Mended) -> list[str]:
    """What speaks against a copy."""
    faults = [fault.replace("--out", "--repair") for fault in new_directory_faults(copy)]
    if copy.resolve().is_relative_to(directory.path.resolve()):
        faults.append(f"a copy of a run stands outside of it; got {copy}: choose another place")
    if not found.told:
        faults.append(
            f"a copy is for a damaged journal; {directory.journal} is whole: leave --repair out"
        )
    return faults


def _copied(directory: RunDirectory, copy: Path, found: Mended, *, draw: Draw) -> Rebuilt:
    """The copy, which comes into its place whole."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(copy) as folder:
        building = RunDirectory(folder)
        shutil.copytree(directory.path, folder, symlinks=True, dirs_exist_ok=True)
        write_atomically(building.journal, found.data)
        forget(building, read_lines(found.data, building.journal).events)
        return remade(building, found.data, draw=draw, keep=False)
