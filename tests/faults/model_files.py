"""Model files and files of weights as an accident or an enemy leaves them, each by its row."""

import hashlib
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, MANIFEST = "model.safetensors", "model.json"
State = dict[str, torch.Tensor]


class Payload:
    """What unpickles by running a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def bomb(folder: Path) -> bytes:
    """A pickle that leaves a canary beside the folder where it is read."""
    return pickle.dumps(Payload(folder.parent / "canary"))


def rewrite(path: Path, content: bytes | str) -> None:
    """Write a file anew: it may be a hard link to the whole one."""
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def sparse(path: Path) -> None:
    """10 GB of zeros that take no room."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def vouch(folder: Path) -> None:
    """Let the manifest name size and hash of the file of weights that is there."""
    data = (folder / WEIGHTS).read_bytes()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(lambda manifest: manifest["files"][0].update(entry))(folder)


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """A change of what the manifest says."""

    def made(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        rewrite(folder / MANIFEST, json.dumps(manifest))

    return made


def manifest(content: bytes | str) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / MANIFEST, content)


def weights(change: Callable[[bytes], bytes], *, vouched: bool = True) -> Callable[[Path], None]:
    """Other bytes of weights; the manifest vouches for them, or does not."""

    def made(folder: Path) -> None:
        rewrite(folder / WEIGHTS, change((folder / WEIGHTS).read_bytes()))
        if vouched:
            vouch(folder)

    return made


def tensors(change: Callable[[State], object]) -> Callable[[Path], None]:
    """Other tensors, vouched for."""

    def made(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        (folder / WEIGHTS).unlink()
        save_file(state, folder / WEIGHTS)
        vouch(folder)

    return made


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def headed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The same tensors behind another header."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def overlapping(header: dict[str, Any]) -> None:
    """Two tensors of one shape in the same place."""
    shapes: dict[str, str] = {}
    for name, entry in sorted(header.items()):
        if name != "__metadata__":
            twin = shapes.setdefault(str(entry["shape"]), name)
            if twin != name:
                entry["data_offsets"] = header[twin]["data_offsets"]
                return


def beyond(header: dict[str, Any]) -> None:
    header[next(name for name in header if name != "__metadata__")]["data_offsets"] = [0, 2**40]


LONG_HEADER = struct.pack("<Q", 10**8) + b"{" + b" " * (10**8 - 2) + b"}"


def zipped(path: Path, entries: dict[str, int]) -> None:
    """A zip archive of zeros that would take as many bytes."""
    path.unlink(missing_ok=True)
    block = bytes(2**24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, size in entries.items():
            with archive.open(name, "w", force_zip64=True) as file:
                for _ in range(size // len(block)):
                    file.write(block)


def zip_bomb(folder: Path) -> None:
    zipped(folder / WEIGHTS, {"archive/data.pkl": 2**30})
    vouch(folder)


def instead(path: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else where a file was."""

    def made(folder: Path) -> None:
        (folder / path).unlink()
        make(folder / path)

    return made


def head_of(state: State) -> str:
    return next(name for name in state if name.startswith("head.") and state[name].ndim == 2)


def body_of(state: State) -> str:
    return next(name for name in sorted(state) if name.startswith("backbone."))


def spoiled(which: Callable[[State], str], value: float) -> Callable[[State], None]:
    def change(state: State) -> None:
        name = which(state)
        state[name] = torch.full_like(state[name], value)

    return change


DEEP = "[" * 10**6 + "]" * 10**6

MODELS: dict[str, tuple[Callable[[Path], object], str]] = {  # what is done, what is told of it
    "f1 cut in half": (weights(lambda data: data[: len(data) // 2], vouched=False), "it has"),
    "f1 no byte": (weights(lambda _: b"", vouched=False), "it has 0"),
    "f1 gone": (lambda folder: (folder / WEIGHTS).unlink(), "it is missing"),
    "f1 a bit of the data": (weights(lambda data: flipped(data, -9), vouched=False), "SHA-256"),
    "f1 a bit of the header": (weights(lambda data: flipped(data, 20), vouched=False), "SHA-256"),
    "f1 cut in half, vouched for": (
        weights(lambda data: data[: len(data) // 2]),
        "must be a safetensors file",
    ),
    "f1 no byte, vouched for": (weights(lambda _: b""), "must be a safetensors file"),
    "f1 zeros, vouched for": (weights(lambda _: bytes(1000)), "must be a safetensors file"),
    "f1 a bit of the header, vouched for": (
        weights(lambda data: flipped(data, 9)),
        "must be a safetensors file",
    ),
    "f2 a header of 2 to the 62 bytes": (
        weights(lambda data: struct.pack("<Q", 2**62) + data[8:]),
        "4,611,686,018,427,387,904 bytes",
    ),
    "f2 a header of 100 MB": (weights(lambda _: LONG_HEADER), "100,000,000 bytes"),
    "f2 tensors that overlap": (
        weights(lambda data: headed(data, overlapping)),
        "must be a safetensors file",
    ),
    "f2 tensors beyond the end": (
        weights(lambda data: headed(data, beyond)),
        "must be a safetensors file",
    ),
    "f2 10 GB of zeros": (lambda folder: sparse(folder / WEIGHTS), "it has 10737418240"),
    "f2 10 GB of zeros as manifest": (lambda folder: sparse(folder / MANIFEST), "16 MiB"),
    "f3 another shape of the head": (
        tensors(lambda state: state.update({head_of(state): torch.zeros(3, 7)})),
        "the head must fit",
    ),
    "f3 another shape of the backbone": (
        tensors(lambda state: state.update({body_of(state): torch.zeros(7)})),
        "must have its tensors",
    ),
    "f3 a tensor of the head missing": (
        tensors(lambda state: state.pop(head_of(state))),
        "is missing",
    ),
    "f3 a tensor of the backbone missing": (
        tensors(lambda state: state.pop(body_of(state))),
        "is missing",
    ),
    "f3 a tensor of the head too many": (
        tensors(lambda state: state.update({"head.more": torch.zeros(3)})),
        "more is unknown",
    ),
    "f3 a tensor of the backbone too many": (
        tensors(lambda state: state.update({"backbone.network.more": torch.zeros(3)})),
        "more is unknown",
    ),
    "f3 a tensor of nothing": (
        tensors(lambda state: state.update({"more": torch.zeros(3)})),
        "not so: 'more'",
    ),
    "f3 nan in the head": (tensors(spoiled(head_of, float("nan"))), "not finite"),
    "f3 infinity in the backbone": (tensors(spoiled(body_of, float("inf"))), "not finite"),
    "f3 whole numbers in the head": (
        tensors(lambda state: state.update({head_of(state): state[head_of(state)].char()})),
        "int8, not floating point",
    ),
    "f3 a class too many": (edit(lambda told: told["classes"].append("more")), "3 classes once"),
    "f3 a class too few": (edit(lambda told: told["classes"].pop()), "3 classes once"),
    "f3 a class too many, in the head too": (
        edit(lambda told: [told["classes"].append("more"), told["head"].update(classes=4)]),
        "the head must fit",
    ),
    "f4 no json": (manifest("{"), "must be a manifest"),
    "f4 no text": (manifest(b"\xff\xfe\0"), "must be a manifest"),
    "f4 empty": (manifest(""), "must be a manifest"),
    "f4 a list": (manifest("[1]"), "must be a manifest"),
    "f4 a million deep": (manifest(DEEP), "must be a manifest"),
    "f4 a million deep in a part": (
        lambda folder: rewrite(
            folder / MANIFEST,
            (folder / MANIFEST).read_text().replace('"head":', f'"more": {DEEP}, "head":', 1),
        ),
        "must be a manifest",
    ),
    "f4 a newer format": (edit(lambda told: told.update(format=10**6)), "update veduta"),
    "f4 a format that never was": (edit(lambda told: told.update(format=0)), "format"),
    "f4 a part too many": (edit(lambda told: told.update(more=1)), "more"),
    "f4 a mean that is no number": (
        edit(lambda told: told["preprocessing"].update(mean=[float("nan")] * 3)),
        "preprocessing.mean",
    ),
    "f4 a standard deviation of 0": (
        edit(lambda told: told["preprocessing"].update(std=[0, 1, 1])),
        "preprocessing.std",
    ),
    "f4 a filter that is none": (
        edit(lambda told: told["preprocessing"].update(filter="sharp")),
        "preprocessing.filter",
    ),
    "f4 images of a million pixels a side": (
        edit(lambda told: told["preprocessing"].update(image_size=10**6)),
        "preprocessing.image_size",
    ),
    "f4 a million layers": (
        edit(lambda told: told["head"].update(hidden=[1] * 10**6)),
        "head.hidden",
    ),
    "f4 a file outside": (
        edit(lambda told: told["files"][0].update(name="../../model.safetensors")),
        "files.0.name",
    ),
    "f5 a pickle as weights": (
        lambda folder: [rewrite(folder / WEIGHTS, bomb(folder)), vouch(folder)],
        "must be a safetensors file",
    ),
    "f5 a pickle as manifest": (
        lambda folder: rewrite(folder / MANIFEST, bomb(folder)),
        "must be a manifest",
    ),
    "f5 a zip bomb as weights": (zip_bomb, "must be a safetensors file"),
    "f7 a folder as weights": (instead(WEIGHTS, Path.mkdir), "it is missing"),
    "f7 a pipe as weights": (instead(WEIGHTS, os.mkfifo), "it is missing"),
    "f7 a device as weights": (
        instead(WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
        "it is missing",
    ),
    "f7 a folder as manifest": (instead(MANIFEST, Path.mkdir), "has none"),
    "f7 a pipe as manifest": (instead(MANIFEST, os.mkfifo), "has none"),
    "f7 a link to itself as manifest": (
        instead(MANIFEST, lambda path: path.symlink_to(path.name)),
        "has none",
    ),
}


def saved(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def archived(path: Path) -> None:
    """The payload in an archive as torch writes it."""
    torch.save({"weight": torch.zeros(2), "more": Payload(path.parent.parent / "canary")}, path)


def state_with(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """A small safetensors file with other bytes."""

    def made(path: Path) -> None:
        save_file({"a": torch.zeros(4), "b": torch.zeros(4)}, path)
        path.write_bytes(change(path.read_bytes()))

    return made


def noted(path: Path) -> None:
    """A safetensors file that notes the order of its tensors a million lists deep."""
    save_file({"a": torch.zeros(4)}, path, {"names": DEEP})


def many_hashes(path: Path) -> None:
    """A pickle of a dictionary whose key, pairs of pairs, takes 2 to the 60 steps to hash."""
    levels = b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))
    path.write_bytes(b"\x80\x02}K\x01" + levels + b"K\x01s.")


FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {  # what makes it, name, what is told
    "f1 cut in half": (state_with(lambda data: data[:50]), "w.safetensors", "w.safetensors"),
    "f1 zeros": (lambda path: path.write_bytes(bytes(1000)), "w.safetensors", "does not begin"),
    "f2 a header of 2 to the 62 bytes": (
        state_with(lambda data: struct.pack("<Q", 2**62) + data[8:]),
        "w.safetensors",
        "4,611,686,018,427,387,904 bytes",
    ),
    "f2 a header of 100 MB": (
        lambda path: path.write_bytes(LONG_HEADER),
        "w.safetensors",
        "100,000,000 bytes",
    ),
    "f2 tensors that overlap": (
        state_with(lambda data: headed(data, overlapping)),
        "w.safetensors",
        "w.safetensors",
    ),
    "f2 10 GB of zeros": (sparse, "w.safetensors", "does not begin"),
    "f2 10 GB of zeros, pickled": (sparse, "w.pt", "no file of torch.save"),
    "f3 other tensors": (state_with(lambda data: data), "w.safetensors", "must have its tensors"),
    "f3 other tensors, pickled": (
        saved({"a": torch.zeros(4)}),
        "w.pt",
        "must have its tensors",
    ),
    "f4 a note a million deep": (noted, "w.safetensors", "w.safetensors"),
    "f5 a pickle as safetensors": (
        lambda path: path.write_bytes(bomb(path.parent)),
        "w.safetensors",
        "does not begin",
    ),
    "f5 a pickle as pt": (lambda path: path.write_bytes(bomb(path.parent)), "w.pt", "objects"),
    "f5 a pickle as pth": (lambda path: path.write_bytes(bomb(path.parent)), "w.pth", "objects"),
    "f5 a pickle as json": (
        lambda path: path.write_bytes(bomb(path.parent)),
        "w.json",
        "ends in .safetensors, .pt or .pth",
    ),
    "f5 an archive of torch": (archived, "w.pt", "objects"),
    "f5 a zip bomb": (
        lambda path: zipped(path, {"w/data.pkl": 2**30, "w/version": 2**24}),
        "w.pt",
        "names and tensors",
    ),
    "f5 a zip bomb as safetensors": (
        lambda path: zipped(path, {"w/data.pkl": 2**24}),
        "w.safetensors",
        "does not begin",
    ),
    "f5 a number as pt": (lambda path: path.write_bytes(b"\x80\x02K\x01."), "w.pt", "w.pt"),
    "f7 a folder": (Path.mkdir, "w.pt", "is a folder"),
    "f7 a pipe": (os.mkfifo, "w.pt", "no plain file"),
    "f7 a device": (lambda path: path.symlink_to("/dev/zero"), "w.pt", "no plain file"),
    "f7 a link to itself": (lambda path: path.symlink_to(path.name), "w.pt", "leads nowhere"),
    "f7 nothing": (lambda _: None, "w.pt", "is not there"),
}

PATHS = {  # given as a run directory, or as weights: what is told
    "f7 an address": ("https://example.com/run", "has none", "is an address"),
    "f7 a name too long": ("x" * 300, "File name too long", "leads nowhere"),
    "f7 a device": ("/dev/zero", "has none", "no plain file"),
    "f7 a folder": ("/", "has none", "is a folder"),
}
