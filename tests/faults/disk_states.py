"""What a disk may hold after a power cut: every legal state, from a record of the system calls.

The rules are those that POSIX promises and no more. What was written into a file and not waited for
may be there up to any byte, or not; a name that was made, changed or removed is so for certain once
its folder was waited for, before that it may be or not, each by itself.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

RECORDED = ("-xx", "-s", "10000000", "-e")  # every byte, as hexadecimal numbers
NAMES = "?open,?openat,?mkdir,?mkdirat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir"
TRACED = (*RECORDED, f"trace={NAMES},?write,?fsync,?ftruncate,?close,?lseek")
CALL = re.compile(rb"^(\w+)\((.*)\)\s+= (-?\d+)")
STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?')
LATEST = 6  # uncertain changes of which each is there alone, or is missing alone


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that succeeded."""

    name: str
    words: list[bytes]
    texts: list[bytes]
    answer: int


def calls(log: bytes) -> Iterator[Call]:
    """Those in a record of strace."""
    for line in log.splitlines():
        found = CALL.match(line)
        if found and int(found[3]) >= 0:
            texts = [bytes.fromhex(one.decode().replace("\\x", "")) for one in STRING.findall(line)]
            words = [word.strip() for word in STRING.sub(b"", found[2]).split(b",")]
            yield Call(found[1].decode(), words, texts, int(found[3]))


@dataclass(eq=False, slots=True)
class File:
    """Content of a file: all that was written, and how much of it is on the disk for certain."""

    data: bytes = b""
    certain: bytes = b""

    def after(self, share: float) -> bytes:
        """What is certain, and a share of what was written behind it."""
        if not self.data.startswith(self.certain):  # it was cut meanwhile
            return self.data if share else self.certain
        unsure = len(self.data) - len(self.certain)
        return self.data[: len(self.certain) + round(share * unsure)]


@dataclass(eq=False, slots=True)
class Folder:
    """Names of files and folders, as a process sees them now."""

    names: "dict[str, File | Folder]" = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Change:
    """A name that came into a folder, from another place perhaps, or was removed (`what` None)."""

    folder: Folder
    name: str
    what: File | Folder | None
    source: tuple[Folder, str] | None = None
    certain: bool = False


State = dict[str, bytes | None]
"""Content by path; None for a folder."""


@dataclass(slots=True)
class Disk:
    """What was done below the folder `root` so far, and what of it is certain."""

    root: PurePosixPath
    top: Folder = field(default_factory=Folder)
    changes: list[Change] = field(default_factory=list)
    opened: dict[int, tuple[PurePosixPath, File | Folder | None]] = field(default_factory=dict)

    def take(self, call: Call) -> bool:
        """Take one more call; whether it changed anything."""
        kind = call.name.removesuffix("at2").removesuffix("at")
        if kind == "close":
            self.opened.pop(int(call.words[0]), None)
        elif kind in {"write", "fsync", "ftruncate"}:
            return self._in_file(kind, call)
        elif call.texts:
            path = self._path(call, 0)
            if kind == "open":
                return self._open(path, call)
            if path.is_relative_to(self.root):
                self._named(kind, path, call)
                return True
        return False

    def _in_file(self, kind: str, call: Call) -> bool:
        _, found = self.opened.get(int(call.words[0]), (None, None))
        if isinstance(found, Folder):
            for change in self.changes:
                change.certain |= change.folder is found
        elif found is None:
            return False
        elif kind == "fsync":
            found.certain = found.data
        elif kind == "write":
            found.data += call.texts[0][: call.answer]
        else:
            found.data = found.data[: int(call.words[1])]
        return True

    def _open(self, path: PurePosixPath, call: Call) -> bool:
        made = False
        found = self._at(path)
        if found is None and path.is_relative_to(self.root) and b"O_CREAT" in b"".join(call.words):
            found, made = File(), True
            self._change(path, found)
        self.opened[call.answer] = path, found
        return made

    def _named(self, kind: str, path: PurePosixPath, call: Call) -> None:
        """A name is made, changed or removed."""
        if kind == "mkdir":
            self._change(path, Folder())
        elif kind == "rename":
            source = self._folder(path), path.name
            self._change(self._path(call, 1), source[0].names.pop(path.name), source)
        else:
            self._folder(path).names.pop(path.name, None)
            self._change(path, None)

    def _change(
        self,
        path: PurePosixPath,
        what: File | Folder | None,
        source: tuple[Folder, str] | None = None,
    ) -> None:
        folder = self._folder(path)
        if what is not None:
            folder.names[path.name] = what
        self.changes.append(Change(folder, path.name, what, source))

    def _at(self, path: PurePosixPath) -> File | Folder | None:
        """What is there now, below `root`."""
        found: File | Folder | None = self.top
        for name in path.relative_to(self.root).parts if path.is_relative_to(self.root) else "?":
            found = found.names.get(name) if isinstance(found, Folder) else None
        return found

    def _folder(self, path: PurePosixPath) -> Folder:
        """That a path stands in."""
        found = self._at(path.parent)
        assert isinstance(found, Folder), path
        return found

    def _path(self, call: Call, place: int) -> PurePosixPath:
        """A path of a call; it may start from a folder that is open."""
        path = PurePosixPath(call.texts[place].decode())
        number = re.fullmatch(rb"\d+", call.words[0])
        if number and call.name.endswith("at") and not path.is_absolute():
            return self.opened[int(number[0])][0] / path
        return path

    def states(self, drawn: random.Random) -> Iterator[State]:
        """What may be there after a power cut now."""
        unsure = [change for change in self.changes if not change.certain]
        picks = [set(unsure), set[Change]()]
        picks += [set(unsure) - {one} for one in unsure[-LATEST:]]
        picks += [{one} for one in unsure[-LATEST:]]
        picks.append({one for one in unsure if drawn.random() < 0.5})
        for kept in picks:
            for share in (0.0, 1.0, drawn.random()):
                yield self._state(kept, share)

    def _state(self, kept: set[Change], share: float) -> State:
        """What is there with these of the uncertain changes, and a share of uncertain content."""
        there: dict[Folder, dict[str, File | Folder]] = {}
        for change in self.changes:
            if change.certain or change in kept:
                names = there.setdefault(change.folder, {})
                if change.what is None:
                    names.pop(change.name, None)
                else:
                    names[change.name] = change.what
                if change.source is not None:
                    there.get(change.source[0], {}).pop(change.source[1], None)
        found: State = {}

        def walk(folder: Folder, above: str) -> None:
            for name, what in there.get(folder, {}).items():
                found[above + name] = what.after(share) if isinstance(what, File) else None
                if isinstance(what, Folder):
                    walk(what, f"{above}{name}/")

        walk(self.top, "")
        return found


def lay_out(state: State, folder: Path) -> None:
    """Make the files of a state in a new folder."""
    folder.mkdir()
    for name, content in sorted(state.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
