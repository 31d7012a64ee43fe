"""A hostile data set: malicious or misleading names, clutter, circular links, pipes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES_PER_CLASS = 4  # one for testing, one for validation, two for training
NFC, NFD = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
NUMBERS = ("nan", "NA", "None", "1e5", "007", "true")
FORMULAS = ("=cmd|' C calc'!A0", "@SUM(1+1)", "+1", "-1")
MARKUP = ("<script>document.title='owned'<!--", "<img src=x onerror=document.title='owned'>")
CLASSES = (
    *NUMBERS, *FORMULAS, *MARKUP, NFC, "Case", "x" * 255, "-rf", "a..b", "~", "$x^$",
    "new\nline", "carriage\rreturn", "\"quotes\" & 'more'", "comma, and; more", "  spaces  ",
    "\N{FOX FACE}", "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "\N{HEBREW LETTER ALEF} (1",
    "\x1b[31mred", "[red]rich", "{{ 7 * 7 }} %s {0}", "y_true", "path", "deep", "links",
)  # fmt: skip
FILES = (
    b"\xff\xfe%d.png", b"=1+1%d.png", b"-%d.png", b"a..%d.png", b"new\nline%d.png", b"\r%d.png",
    b"<img src=x onerror=document.title='owned'>%d.png", b"\"quotes\", 'commas'%d.png",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.%d.png".encode(), "\N{FOX FACE}%d.png".encode(),
    b"\x1b[2J%d.png", b"n" * 250 + b"%d.png", b" %d.png", b"nan", b"%%s{0}$x^$%d.png",
)  # fmt: skip
TWINS = ("Twin.png", "twin.png", f"{NFC}.png", f"{NFD}.png")
ROOT = os.fsdecode(b"photos \xff\n<b>")
RUN = "run \N{LATIN SMALL LETTER E WITH ACUTE}\n<b>"

SCRIPT = """
import json, sys
from veduta.cli.main import main

codes = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["veduta", *words]
    try:
        main()
        codes.append(0)
    except SystemExit as ended:
        codes.append(ended.code or 0)
print("codes", json.dumps(codes))
"""


def write_gray_square(path: str, level: float, generator: np.random.Generator) -> None:
    """Write a noisy gray square."""
    pixels = np.clip(level + generator.normal(0, 30, (16, 16, 3)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path, format="PNG")


@dataclass
class HostileData:
    """The data set, and what a reader must find in it.

    Attributes:
        root: its folder.
        images: names of readable images relative to the root, by label.
        rejected: problems of the other files by name.
        ignored: number of files and folders that are no part of the data.
    """

    root: Path
    images: dict[str, list[str]]
    rejected: dict[str, str]
    ignored: int


def write_hostile_data(folder: Path) -> HostileData:
    """Write the data set below `folder`."""
    root, generator = folder / ROOT, np.random.default_rng(0)
    images: dict[str, list[str]] = {}
    for number, label in enumerate(CLASSES):
        names = [os.fsdecode(FILES[(number + i) % 13] % i) for i in range(IMAGES_PER_CLASS)]
        names = {"deep": [f"a/b.png/{i}.png" for i in range(IMAGES_PER_CLASS)], "~": [*TWINS]}.get(
            label, names
        )
        for name in names:
            path = root / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_gray_square(str(path), 6.0 * number, generator)
        images[label] = [f"{label}/{name}" for name in names]
    return HostileData(root, images, _write_special_files(root), _write_clutter(root))


def _write_special_files(root: Path) -> dict[str, str]:
    """Create files that are named like images, and circular links; return their problems."""
    links = root / "links"
    (links / "up").symlink_to("..")
    (links / "around").symlink_to(".")
    (links / "self.png").symlink_to("self.png")
    (links / "nowhere.png").symlink_to("nothing")
    os.mkfifo(links / "pipe.png")
    with socket.socket(socket.AF_UNIX) as file:
        working_directory = Path.cwd()
        os.chdir(links)  # the address of a socket is at most 108 bytes long
        file.bind("socket.png")
        os.chdir(working_directory)
    (links / "empty.png").touch()
    (links / "cut.png").write_bytes((root / "deep/a/b.png/0.png").read_bytes()[:-40])
    return {
        "links/cut.png": "unreadable",
        "links/empty.png": "empty",
        "links/nowhere.png": "missing",
        "links/pipe.png": "not a regular file",
        "links/self.png": "unreadable",
        "links/socket.png": "not a regular file",
    }


def _write_clutter(root: Path) -> int:
    """Create files of file managers and archives and other files; return their number."""
    names = ("__MACOSX/deep/._0.png", "Thumbs.db", ".git/1.png", "deep/.hidden.png", "deep/n.txt",
             "loose.png")  # fmt: skip
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return len(names)


def run_commands(
    commands: Sequence[Sequence[str | Path]], *, cwd: Path, **environment: str
) -> tuple[list[int], bytes, bytes]:
    """Run commands one after another in a new process; return exit codes, output and errors."""
    words = json.dumps([[str(word) for word in command] for command in commands])
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, words],
        capture_output=True, check=False, cwd=cwd, env={**os.environ, **environment},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr.decode(errors="replace")
    *_, last = process.stdout.splitlines()
    assert last.startswith(b"codes ")
    return json.loads(last.removeprefix(b"codes ")), process.stdout, process.stderr


def list_names(folder: Path) -> set[str]:
    """Return the relative paths of everything below a folder."""
    return {
        os.path.relpath(os.path.join(at, name), folder)  # noqa: PTH118 - Path would follow links
        for at, folders, files in os.walk(folder)
        for name in (*folders, *files)
    }


def read_state(folder: Path) -> Mapping[str, tuple[int, int, bytes]]:
    """Return mode, time of change and content of everything below a folder, by name."""
    state = {}
    for name in sorted(list_names(folder)):
        path = folder / name
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        state[name] = (status.st_mode, status.st_mtime_ns, content)
    return state
