"""What is asked of data before anything is trained on them: what is wrong with the images."""

from pathlib import Path

from veduta.experiment import inspecting
from veduta.experiment.inspecting import Inspected
from veduta.runs.directory import RUNS, create, place_for
from veduta.runs.files import expect_room
from veduta.runtime.environment import cache_folder
from veduta.tracking.console import Console


def inspect(
    data: str | Path, *, out: str | Path | None = None, console: Console | None = None
) -> Inspected:
    """Look at every file of a folder of images, and say all that is wrong with it.

    What cannot be read, identical images and images that look alike (in training and test, with
    several labels), classes that are tiny or missing from a split, images that are dark, blurred,
    blank or odd. The files are never changed; `rejected.csv`, `inspection.json` and
    `inspection.html` go into a new directory.

    Args:
        data: a folder of images (class folders, or train/ test/ of class folders), or a CSV file.
        out: the new directory; default `runs/inspect-N`.
        console: what shows progress; default prints to standard output.

    Raises:
        InputError: the layout is none that a training could use, or `out` exists.
    """
    from veduta.report.inspection_page import write_page

    console, place = console or Console(), place_for(out, RUNS, "inspect")
    folder = inspecting.read_data(Path(data), place)
    found = inspecting.inspect(folder, cache=cache_folder(), console=console)
    directory = create(place)
    with expect_room(directory.path):
        written = inspecting.write_inspection(directory, found)
        write_page(directory, found, console)
    return written
