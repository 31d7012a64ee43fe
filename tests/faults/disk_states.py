"""States of a disk after a power failure, computed from a record of the system calls.

The rules are the guarantees of POSIX and no more. Data that were written to a file but not synced
can be there up to any byte. The creation, renaming or removal of a name is certain when its folder
was synced; before, each such change can be there or not.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

RECORDED = ("-xx", "-s", "10000000", "-e")  # all bytes, as hexadecimal numbers
NAMES = "?open,?openat,?mkdir,?mkdirat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir"
TRACED = (*RECORDED, f"trace={NAMES},?write,?fsync,?ftruncate,?close,?lseek")
CALL = re.compile(rb"^(\w+)\((.*)\)\s+= (-?\d+)")
STRING = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"(?:\.\.\.)?')
LATEST = 6
"""Number of uncertain changes of which each is present alone, or missing alone."""


@dataclass(frozen=True, slots=True)
class Call:
    """A successful system call: its arguments without strings, its strings, its result."""

    name: str
    words: list[bytes]
    texts: list[bytes]
    result: int


def parse_calls(log: bytes) -> Iterator[Call]:
    """Yield the successful calls in a record of strace."""
    for line in log.splitlines():
        match = CALL.match(line)
        if match and int(match[3]) >= 0:
            strings = STRING.findall(line)
            texts = [bytes.fromhex(text.decode().replace("\\x", "")) for text in strings]
            words = [word.strip() for word in STRING.sub(b"", match[2]).split(b",")]
            yield Call(match[1].decode(), words, texts, int(match[3]))


@dataclass(eq=False, slots=True)
class File:
    """Content of a file: all written data, and the data that are certainly on the disk."""

    data: bytes = b""
    certain: bytes = b""

    def read_after_failure(self, share: float) -> bytes:
        """Return the certain data and a share of the data written after them."""
        if not self.data.startswith(self.certain):  # the file was truncated since
            return self.data if share else self.certain
        uncertain = len(self.data) - len(self.certain)
        return self.data[: len(self.certain) + round(share * uncertain)]


@dataclass(eq=False, slots=True)
class Folder:
    """Names of files and folders as processes see them now."""

    names: "dict[str, File | Folder]" = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Change:
    """A name that was created, or removed (`entry` is None); `source` is its old name, if any."""

    folder: Folder
    name: str
    entry: File | Folder | None
    source: tuple[Folder, str] | None = None
    certain: bool = False


State = dict[str, bytes | None]
"""Content by path; None for a folder."""


@dataclass(slots=True)
class Disk:
    """The changes below the folder `root`, and which of them are certain."""

    root: PurePosixPath
    top: Folder = field(default_factory=Folder)
    changes: list[Change] = field(default_factory=list)
    open_files: dict[int, tuple[PurePosixPath, File | Folder | None]] = field(default_factory=dict)

    def apply(self, call: Call) -> bool:
        """Apply a call and return whether it changed anything."""
        kind = call.name.removesuffix("at2").removesuffix("at")
        if kind == "close":
            self.open_files.pop(int(call.words[0]), None)
        elif kind in {"write", "fsync", "ftruncate"}:
            return self._apply_to_file(kind, call)
        elif call.texts:
            path = self._path(call, 0)
            if kind == "open":
                return self._open(path, call)
            if path.is_relative_to(self.root):
                self._change_name(kind, path, call)
                return True
        return False

    def _apply_to_file(self, kind: str, call: Call) -> bool:
        _, entry = self.open_files.get(int(call.words[0]), (None, None))
        if isinstance(entry, Folder):
            for change in self.changes:
                change.certain |= change.folder is entry
        elif entry is None:
            return False
        elif kind == "fsync":
            entry.certain = entry.data
        elif kind == "write":
            entry.data += call.texts[0][: call.result]
        else:
            entry.data = entry.data[: int(call.words[1])]
        return True

    def _open(self, path: PurePosixPath, call: Call) -> bool:
        created = False
        entry = self._find(path)
        if entry is None and path.is_relative_to(self.root) and b"O_CREAT" in b"".join(call.words):
            entry, created = File(), True
            self._record(path, entry)
        self.open_files[call.result] = path, entry
        return created

    def _change_name(self, kind: str, path: PurePosixPath, call: Call) -> None:
        """Create, rename or remove a name."""
        if kind == "mkdir":
            self._record(path, Folder())
        elif kind == "rename":
            source = self._folder(path), path.name
            self._record(self._path(call, 1), source[0].names.pop(path.name), source)
        else:
            self._folder(path).names.pop(path.name, None)
            self._record(path, None)

    def _record(
        self,
        path: PurePosixPath,
        entry: File | Folder | None,
        source: tuple[Folder, str] | None = None,
    ) -> None:
        folder = self._folder(path)
        if entry is not None:
            folder.names[path.name] = entry
        self.changes.append(Change(folder, path.name, entry, source))

    def _find(self, path: PurePosixPath) -> File | Folder | None:
        """Return the file or folder of a path now, or None."""
        entry: File | Folder | None = self.top
        for name in path.relative_to(self.root).parts if path.is_relative_to(self.root) else "?":
            entry = entry.names.get(name) if isinstance(entry, Folder) else None
        return entry

    def _folder(self, path: PurePosixPath) -> Folder:
        """Return the folder that contains a path."""
        folder = self._find(path.parent)
        assert isinstance(folder, Folder), path
        return folder

    def _path(self, call: Call, index: int) -> PurePosixPath:
        """Return a path of a call, which can be relative to an open folder."""
        path = PurePosixPath(call.texts[index].decode())
        number = re.fullmatch(rb"\d+", call.words[0])
        if number and call.name.endswith("at") and not path.is_absolute():
            return self.open_files[int(number[0])][0] / path
        return path

    def generate_states(self, generator: random.Random) -> Iterator[State]:
        """Yield states of the disk after a power failure now."""
        uncertain = [change for change in self.changes if not change.certain]
        choices = [set(uncertain), set[Change]()]
        choices += [set(uncertain) - {change} for change in uncertain[-LATEST:]]
        choices += [{change} for change in uncertain[-LATEST:]]
        choices.append({change for change in uncertain if generator.random() < 0.5})
        for kept in choices:
            for share in (0.0, 1.0, generator.random()):
                yield self._make_state(kept, share)

    def _make_state(self, kept: set[Change], share: float) -> State:
        """Return the state with some uncertain changes and a share of the uncertain data."""
        entries: dict[Folder, dict[str, File | Folder]] = {}
        for change in self.changes:
            if change.certain or change in kept:
                names = entries.setdefault(change.folder, {})
                if change.entry is None:
                    names.pop(change.name, None)
                else:
                    names[change.name] = change.entry
                if change.source is not None:
                    entries.get(change.source[0], {}).pop(change.source[1], None)
        state: State = {}

        def walk(folder: Folder, prefix: str) -> None:
            for name, entry in entries.get(folder, {}).items():
                content = entry.read_after_failure(share) if isinstance(entry, File) else None
                state[prefix + name] = content
                if isinstance(entry, Folder):
                    walk(entry, f"{prefix}{name}/")

        walk(self.top, "")
        return state


def create_files(state: State, folder: Path) -> None:
    """Create the files of a state in a new folder."""
    folder.mkdir()
    for name, content in sorted(state.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
