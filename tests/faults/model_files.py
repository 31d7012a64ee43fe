"""Model files and files of weights with accidental or malicious damage, by description."""

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
    """An object whose unpickling runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def write_pickle_as_weights(folder: Path) -> None:
    """Replace the weights by a pickle, with its size and checksum in the manifest."""
    rewrite(folder / WEIGHTS, make_pickle_bomb(folder))
    update_manifest(folder)


def make_pickle_bomb(folder: Path) -> bytes:
    """Return a pickle that creates the file `canary` next to `folder` when it is unpickled."""
    return pickle.dumps(Payload(folder.parent / "canary"))


def rewrite(path: Path, content: bytes | str) -> None:
    """Replace a file, which may be a hard link to the original."""
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_sparse(path: Path) -> None:
    """Write 10 GB of zeros that take no space."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(10 * 2**30)


def update_manifest(folder: Path) -> None:
    """Write size and hash of the file of weights to the manifest."""
    data = (folder / WEIGHTS).read_bytes()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit(lambda manifest: manifest["files"][0].update(entry))(folder)


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Return a function that changes the content of the manifest."""

    def damage(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        rewrite(folder / MANIFEST, json.dumps(manifest))

    return damage


def replace_manifest(content: bytes | str) -> Callable[[Path], None]:
    """Return a function that replaces the manifest."""
    return lambda folder: rewrite(folder / MANIFEST, content)


def change_weights(
    change: Callable[[bytes], bytes], *, valid_hash: bool = True
) -> Callable[[Path], None]:
    """Return a function that changes the file of weights, and the manifest if `valid_hash`."""

    def damage(folder: Path) -> None:
        rewrite(folder / WEIGHTS, change((folder / WEIGHTS).read_bytes()))
        if valid_hash:
            update_manifest(folder)

    return damage


def change_tensors(change: Callable[[State], object]) -> Callable[[Path], None]:
    """Return a function that changes the tensors, and the manifest accordingly."""

    def damage(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        (folder / WEIGHTS).unlink()
        save_file(state, folder / WEIGHTS)
        update_manifest(folder)

    return damage


def flip_bit(data: bytes, index: int) -> bytes:
    """Return bytes in which one bit is flipped."""
    changed = bytearray(data)
    changed[index] ^= 1
    return bytes(changed)


def change_header(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the same tensors after another header."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def overlap(header: dict[str, Any]) -> None:
    """Give two tensors of one shape the same position."""
    shapes: dict[str, str] = {}
    for name, entry in sorted(header.items()):
        if name != "__metadata__":
            twin = shapes.setdefault(str(entry["shape"]), name)
            if twin != name:
                entry["data_offsets"] = header[twin]["data_offsets"]
                return


def exceed_end(header: dict[str, Any]) -> None:
    """Let a tensor end after the end of the file."""
    header[next(name for name in header if name != "__metadata__")]["data_offsets"] = [0, 2**40]


LONG_HEADER = struct.pack("<Q", 10**8) + b"{" + b" " * (10**8 - 2) + b"}"


def write_zip_bomb(path: Path, entries: dict[str, int]) -> None:
    """Write a zip archive whose entries expand to these numbers of zeros."""
    path.unlink(missing_ok=True)
    block = bytes(2**24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, size in entries.items():
            with archive.open(name, "w", force_zip64=True) as file:
                for _ in range(size // len(block)):
                    file.write(block)


def replace_by_pickle_bomb(folder: Path) -> None:
    """Replace the file of weights by a pickle bomb."""
    rewrite(folder / WEIGHTS, make_pickle_bomb(folder))
    update_manifest(folder)


def replace_by_zip_bomb(folder: Path) -> None:
    """Replace the file of weights by a zip bomb."""
    write_zip_bomb(folder / WEIGHTS, {"archive/data.pkl": 2**30})
    update_manifest(folder)


def replace_file(path: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return a function that replaces a file by something else."""

    def damage(folder: Path) -> None:
        (folder / path).unlink()
        make(folder / path)

    return damage


def find_head_tensor(state: State) -> str:
    """Return the name of a matrix of the head."""
    return next(name for name in state if name.startswith("head.") and state[name].ndim == 2)


def find_backbone_tensor(state: State) -> str:
    """Return the name of a tensor of the backbone."""
    return next(name for name in sorted(state) if name.startswith("backbone."))


def fill_tensor(find: Callable[[State], str], value: float) -> Callable[[State], None]:
    """Return a function that fills a tensor with a value."""

    def change(state: State) -> None:
        name = find(state)
        state[name] = torch.full_like(state[name], value)

    return change


DEEP = "[" * 10**6 + "]" * 10**6

MODELS: dict[str, tuple[Callable[[Path], object], str]] = {  # damage, text of the message
    "truncated": (
        change_weights(lambda data: data[: len(data) // 2], valid_hash=False),
        "it has",
    ),
    "empty weights": (change_weights(lambda _: b"", valid_hash=False), "it has 0"),
    "missing weights": (lambda folder: (folder / WEIGHTS).unlink(), "it is missing"),
    "flipped bit in the data": (
        change_weights(lambda data: flip_bit(data, -9), valid_hash=False),
        "SHA-256",
    ),
    "flipped bit in the header": (
        change_weights(lambda data: flip_bit(data, 20), valid_hash=False),
        "SHA-256",
    ),
    "truncated, with a valid hash": (
        change_weights(lambda data: data[: len(data) // 2]),
        "must be a safetensors file",
    ),
    "empty weights, with a valid hash": (
        change_weights(lambda _: b""),
        "must be a safetensors file",
    ),
    "zeros, with a valid hash": (
        change_weights(lambda _: bytes(1000)),
        "must be a safetensors file",
    ),
    "flipped bit in the header, with a valid hash": (
        change_weights(lambda data: flip_bit(data, 9)),
        "must be a safetensors file",
    ),
    "a header of 2 to the 62 bytes": (
        change_weights(lambda data: struct.pack("<Q", 2**62) + data[8:]),
        "4,611,686,018,427,387,904 bytes",
    ),
    "a header of 100 MB": (change_weights(lambda _: LONG_HEADER), "100,000,000 bytes"),
    "tensors that overlap": (
        change_weights(lambda data: change_header(data, overlap)),
        "must be a safetensors file",
    ),
    "tensors beyond the end": (
        change_weights(lambda data: change_header(data, exceed_end)),
        "must be a safetensors file",
    ),
    "10 GB of zeros": (lambda folder: write_sparse(folder / WEIGHTS), "it has 10737418240"),
    "10 GB of zeros as manifest": (lambda folder: write_sparse(folder / MANIFEST), "16 MiB"),
    "another shape of the head": (
        change_tensors(lambda state: state.update({find_head_tensor(state): torch.zeros(3, 7)})),
        "the head must fit",
    ),
    "another shape of the backbone": (
        change_tensors(lambda state: state.update({find_backbone_tensor(state): torch.zeros(7)})),
        "must have its tensors",
    ),
    "a tensor of the head missing": (
        change_tensors(lambda state: state.pop(find_head_tensor(state))),
        "is missing",
    ),
    "a tensor of the backbone missing": (
        change_tensors(lambda state: state.pop(find_backbone_tensor(state))),
        "is missing",
    ),
    "an additional tensor of the head": (
        change_tensors(lambda state: state.update({"head.more": torch.zeros(3)})),
        "more is unknown",
    ),
    "an additional tensor of the backbone": (
        change_tensors(lambda state: state.update({"backbone.network.more": torch.zeros(3)})),
        "more is unknown",
    ),
    "a tensor of neither head nor backbone": (
        change_tensors(lambda state: state.update({"more": torch.zeros(3)})),
        "got 'more'",
    ),
    "nan in the head": (change_tensors(fill_tensor(find_head_tensor, float("nan"))), "not finite"),
    "infinity in the backbone": (
        change_tensors(fill_tensor(find_backbone_tensor, float("inf"))),
        "not finite",
    ),
    "integers in the head": (
        change_tensors(
            lambda state: state.update(
                {find_head_tensor(state): state[find_head_tensor(state)].char()}
            )
        ),
        "int8, not floating point",
    ),
    "an additional class": (
        edit(lambda manifest: manifest["classes"].append("more")),
        "3 distinct class names",
    ),
    "a missing class": (edit(lambda manifest: manifest["classes"].pop()), "3 distinct class names"),
    "an additional class, also in the head": (
        edit(
            lambda manifest: [
                manifest["classes"].append("more"),
                manifest["head"].update(classes=4),
            ]
        ),
        "the head must fit",
    ),
    "manifest that is not JSON": (replace_manifest("{"), "must be a manifest"),
    "manifest that is not text": (replace_manifest(b"\xff\xfe\0"), "must be a manifest"),
    "empty manifest": (replace_manifest(""), "must be a manifest"),
    "manifest that is a list": (replace_manifest("[1]"), "must be a manifest"),
    "manifest a million levels deep": (replace_manifest(DEEP), "must be a manifest"),
    "a field a million levels deep": (
        lambda folder: rewrite(
            folder / MANIFEST,
            (folder / MANIFEST).read_text().replace('"head":', f'"more": {DEEP}, "head":', 1),
        ),
        "must be a manifest",
    ),
    "a newer format": (edit(lambda manifest: manifest.update(format=10**6)), "update veduta"),
    "an unknown format": (edit(lambda manifest: manifest.update(format=0)), "format"),
    "an unknown field": (edit(lambda manifest: manifest.update(more=1)), "more"),
    "a mean that is NaN": (
        edit(lambda manifest: manifest["preprocessing"].update(mean=[float("nan")] * 3)),
        "preprocessing.mean",
    ),
    "a standard deviation of 0": (
        edit(lambda manifest: manifest["preprocessing"].update(std=[0, 1, 1])),
        "preprocessing.std",
    ),
    "an unknown filter": (
        edit(lambda manifest: manifest["preprocessing"].update(filter="sharp")),
        "preprocessing.filter",
    ),
    "images a million pixels wide": (
        edit(lambda manifest: manifest["preprocessing"].update(image_size=10**6)),
        "preprocessing.image_size",
    ),
    "a million layers": (
        edit(lambda manifest: manifest["head"].update(hidden=[1] * 10**6)),
        "head.hidden",
    ),
    "a file outside the folder": (
        edit(lambda manifest: manifest["files"][0].update(name="../../model.safetensors")),
        "files.0.name",
    ),
    "a pickle as weights": (
        write_pickle_as_weights,
        "must be a safetensors file",
    ),
    "a pickle as manifest": (
        lambda folder: rewrite(folder / MANIFEST, make_pickle_bomb(folder)),
        "must be a manifest",
    ),
    "a zip bomb as weights": (replace_by_zip_bomb, "must be a safetensors file"),
    "a folder as weights": (replace_file(WEIGHTS, Path.mkdir), "it is missing"),
    "a pipe as weights": (replace_file(WEIGHTS, os.mkfifo), "it is missing"),
    "a device as weights": (
        replace_file(WEIGHTS, lambda path: path.symlink_to("/dev/zero")),
        "it is missing",
    ),
    "a folder as manifest": (replace_file(MANIFEST, Path.mkdir), "has none"),
    "a pipe as manifest": (replace_file(MANIFEST, os.mkfifo), "has none"),
    "a link to itself as manifest": (
        replace_file(MANIFEST, lambda path: path.symlink_to(path.name)),
        "has none",
    ),
}


def save_object(content: object) -> Callable[[Path], object]:
    """Return a function that writes an object with `torch.save`."""
    return lambda path: torch.save(content, path)


def save_payload(path: Path) -> None:
    """Write the payload with `torch.save`."""
    torch.save({"weight": torch.zeros(2), "more": Payload(path.parent.parent / "canary")}, path)


def save_changed_state(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Return a function that writes a small safetensors file with changed bytes."""

    def write(path: Path) -> None:
        save_file({"a": torch.zeros(4), "b": torch.zeros(4)}, path)
        path.write_bytes(change(path.read_bytes()))

    return write


def save_deep_metadata(path: Path) -> None:
    """Write a safetensors file whose metadata are a million lists deep."""
    save_file({"a": torch.zeros(4)}, path, {"names": DEEP})


def write_slow_pickle(path: Path) -> None:
    """Write a pickle of a dictionary whose key, nested pairs, takes 2**60 steps to hash."""
    levels = b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))
    path.write_bytes(b"\x80\x02}K\x01" + levels + b"K\x01s.")


FILES: dict[
    str, tuple[Callable[[Path], object], str, str]
] = {  # writer, file name, text of the message
    "truncated": (save_changed_state(lambda data: data[:50]), "w.safetensors", "w.safetensors"),
    "zeros": (lambda path: path.write_bytes(bytes(1000)), "w.safetensors", "does not begin"),
    "a header of 2 to the 62 bytes": (
        save_changed_state(lambda data: struct.pack("<Q", 2**62) + data[8:]),
        "w.safetensors",
        "4,611,686,018,427,387,904 bytes",
    ),
    "a header of 100 MB": (
        lambda path: path.write_bytes(LONG_HEADER),
        "w.safetensors",
        "100,000,000 bytes",
    ),
    "tensors that overlap": (
        save_changed_state(lambda data: change_header(data, overlap)),
        "w.safetensors",
        "w.safetensors",
    ),
    "10 GB of zeros": (write_sparse, "w.safetensors", "does not begin"),
    "10 GB of zeros, pickled": (write_sparse, "w.pt", "is not a file of torch.save"),
    "other tensors": (
        save_changed_state(lambda data: data),
        "w.safetensors",
        "must have its tensors",
    ),
    "other tensors, pickled": (
        save_object({"a": torch.zeros(4)}),
        "w.pt",
        "must have its tensors",
    ),
    "metadata a million levels deep": (save_deep_metadata, "w.safetensors", "w.safetensors"),
    "a pickle as safetensors": (
        lambda path: path.write_bytes(make_pickle_bomb(path.parent)),
        "w.safetensors",
        "does not begin",
    ),
    "a pickle as pt": (
        lambda path: path.write_bytes(make_pickle_bomb(path.parent)),
        "w.pt",
        "objects",
    ),
    "a pickle as pth": (
        lambda path: path.write_bytes(make_pickle_bomb(path.parent)),
        "w.pth",
        "objects",
    ),
    "a pickle as json": (
        lambda path: path.write_bytes(make_pickle_bomb(path.parent)),
        "w.json",
        "ends in .safetensors, .pt or .pth",
    ),
    "an archive of torch": (save_payload, "w.pt", "objects"),
    "a zip bomb": (
        lambda path: write_zip_bomb(path, {"w/data.pkl": 2**30, "w/version": 2**24}),
        "w.pt",
        "names and tensors",
    ),
    "a zip bomb as safetensors": (
        lambda path: write_zip_bomb(path, {"w/data.pkl": 2**24}),
        "w.safetensors",
        "does not begin",
    ),
    "a number as pt": (lambda path: path.write_bytes(b"\x80\x02K\x01."), "w.pt", "w.pt"),
    "a folder": (Path.mkdir, "w.pt", "is a folder"),
    "a pipe": (os.mkfifo, "w.pt", "is not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "w.pt", "is not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "w.pt", "is invalid"),
    "a missing file": (lambda _: None, "w.pt", "does not exist"),
}

PATHS = {  # path, text of the message for it as run directory, and as file of weights
    "a URL": ("https://example.com/run", "has none", "got the URL"),
    "a name too long": ("x" * 300, "File name too long", "is invalid"),
    "a device": ("/dev/zero", "has none", "is not a regular file"),
    "a folder": ("/", "has none", "is a folder"),
}
