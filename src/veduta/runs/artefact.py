"""A trained model on disk: tensors as safetensors, everything else as JSON, no pickle.

A model in int8 brings its network as OpenVINO runs it too. `model.json` is a manifest: it lists
every file with its role, size and SHA-256, because safetensors notices a truncated file but not a
flipped bit in a weight.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from veduta.errors import ArtefactError
from veduta.runs.files import replace_folder, write_atomically, write_json
from veduta.runs.manifest import MANIFEST, File, Manifest, read_manifest
from veduta.runs.network import Network
from veduta.runtime.tensors import expect_head

TENSORS = "model.safetensors"
OPERATIONS, CONSTANTS = "model.xml", "model.bin"
CARD = "README.md"


def write_artefact(
    folder: Path,
    manifest: Manifest,
    tensors: dict[str, Tensor],
    *,
    network: Network | None = None,
    card: str = "",
) -> None:
    """Write a model, in place of one that is there; `manifest.files` is filled in.

    Args:
        folder: where; its parent is there.
        manifest: everything but tensors and files.
        tensors: weights of backbone and head, by name.
        network: the backbone as its engine runs it, where weights do not give that.
        card: for people, as README.md; the manifest does not list it, so that it may be edited.
    """
    with replace_folder(folder) as building:
        _write_files(building, manifest, tensors, network)
        if card:
            write_atomically(building / CARD, card)


def _write_files(
    building: Path, manifest: Manifest, tensors: dict[str, Tensor], network: Network | None
) -> None:
    weights = save({n: t.detach().contiguous() for n, t in tensors.items()})
    files = [_write_file(building / TENSORS, weights, role="weights")]
    if network:
        files.append(_write_file(building / OPERATIONS, network.operations, role="ir"))
        files.append(_write_file(building / CONSTANTS, network.constants, role="ir"))
    full = manifest.model_copy(update={"files": tuple(files)})
    write_json(building / MANIFEST, full.model_dump(mode="json"))


def _write_file(path: Path, content: bytes, *, role: Literal["weights", "ir"]) -> File:
    write_atomically(path, content)
    engine: Literal["openvino"] | None = "openvino" if role == "ir" else None
    digest = sha256(content).hexdigest()
    return File(name=path.name, role=role, engine=engine, bytes=len(content), sha256=digest)


def read_artefact(path: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """Manifest and tensors of a run directory, or of its `model` folder, checked.

    Raises:
        ArtefactError: nothing there, a newer format, a file that is missing, cut or altered.
    """
    with _readable(path):
        folder = _folder(path)
        if not (folder / MANIFEST).is_file():
            raise ArtefactError(
                f"a run directory with a finished model (model/{MANIFEST}) is needed; {path} has "
                "none: give the directory that `veduta search` or `veduta train` named at its end"
            )
        manifest = read_manifest(folder / MANIFEST)
        weights = [file for file in manifest.files if file.role == "weights"]
        if len(weights) != 1:
            raise ArtefactError(
                f"{folder / MANIFEST} must list one file of weights; it lists {len(weights)}: "
                "restore the file"
            )
        return manifest, _tensors(folder, weights[0])


def read_network(path: Path, manifest: Manifest) -> Network | None:
    """The network that the model of `manifest` in `path` brings, checked; None in float32.

    Raises:
        ArtefactError: a file is not listed, missing, cut or altered; a model in float32 lists one.
    """
    folder = _folder(path)
    listed = {file.name: file for file in manifest.files if file.role == "ir"}
    if manifest.precision != "int8":
        if listed:
            raise ArtefactError(
                f"{folder / MANIFEST} must list no network where the precision is f32; it lists "
                f"{', '.join(sorted(listed))}: restore the file"
            )
        return None
    if set(listed) != {OPERATIONS, CONSTANTS}:
        raise ArtefactError(
            f"{folder / MANIFEST} must list {OPERATIONS} and {CONSTANTS}, the network in int8; it "
            f"lists {', '.join(sorted(listed)) or 'neither'}: restore the file"
        )
    with _readable(path):
        operations, constants = (_sized(folder, listed[name]) for name in (OPERATIONS, CONSTANTS))
        return Network(
            _content(operations, listed[OPERATIONS]), _content(constants, listed[CONSTANTS])
        )


def standing(path: Path) -> Manifest | None:
    """The manifest of a model that stands whole in a run directory, all its files; else None."""
    try:
        manifest, _ = read_artefact(path)
        read_network(path, manifest)
    except ArtefactError:
        return None
    return manifest


def _folder(path: Path) -> Path:
    return path / "model" if (path / "model" / MANIFEST).is_file() else path


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn the errors of a file system into one line that says what is needed."""
    try:
        yield
    except OSError as error:
        raise ArtefactError(
            f"a run directory must be readable; {path}: {error.strerror or error}: check the path "
            "and its permissions"
        ) from error


def _tensors(folder: Path, file: File) -> dict[str, Tensor]:
    """The tensors of a file, once it is known to be the one that was written."""
    path = _sized(folder, file)
    try:
        expect_head(path)
        tensors: dict[str, Tensor] = load(_content(path, file))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:  # a hash vouches for it
        reason = " ".join(str(error).split())[:200]
        raise ArtefactError(
            f"{path} must be a safetensors file; {reason}: restore the model, or train it again"
        ) from error
    return tensors


def _sized(folder: Path, file: File) -> Path:
    """Where a file is, once it is known to have the size that it should."""
    path = folder / file.name
    size = path.stat().st_size if path.is_file() else None
    if size != file.bytes:
        came = "it is missing" if size is None else f"it has {size}"
        raise ArtefactError(
            f"{path} must have {file.bytes} bytes, as its manifest says; {came}: restore the file"
        )
    return path


def _content(path: Path, file: File) -> bytes:
    """A file's bytes, once they are known to be those that were written."""
    data = path.read_bytes()
    if sha256(data).hexdigest() != file.sha256:
        raise ArtefactError(
            f"{path} must have the SHA-256 that its manifest names; it was altered or damaged: "
            "restore the file"
        )
    return data
