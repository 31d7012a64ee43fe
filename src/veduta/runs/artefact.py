"""A trained model on disk: tensors as safetensors, everything else as JSON, no pickle.

A model in int8 brings its network as OpenVINO runs it too. `model.json` is a manifest: it lists
every file with its role, size and SHA-256, because safetensors notices a truncated file but not a
flipped bit in a weight.
"""

import json
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load, save
from torch import Tensor

from veduta.config.settings import Settings
from veduta.errors import ArtefactError
from veduta.runs.files import write_atomically, write_json
from veduta.runs.network import Network
from veduta.runtime.disk import sync

FORMAT = 2  # 1 had no networks of an engine
MANIFEST = "model.json"
TENSORS = "model.safetensors"
OPERATIONS, CONSTANTS = "model.xml", "model.bin"
MOST_MANIFEST_BYTES = 16 * 2**20

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Triple = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Part):
    """One file of an artefact."""

    name: Name
    role: Literal["weights", "ir"]
    engine: Literal["openvino"] | None = None  # that a network is for
    bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


class Preprocessing(_Part):
    """How pixels reach the network: resized to `image_size`, then (x / 255 - mean) / std."""

    image_size: Annotated[int, Field(ge=1, le=8192)]
    filter: str
    fit: Literal["squash", "crop"]
    mean: Triple
    std: Triple


class Head(_Part):
    """The head's description; the network is built from it."""

    features: Annotated[int, Field(ge=1)]
    classes: Annotated[int, Field(ge=2)]
    hidden: tuple[int, ...]
    activation: str
    batch_norm: bool
    dropout: float


class Manifest(_Part):
    """Everything about a model but its tensors."""

    format: int
    veduta: str
    model: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    preprocessing: Preprocessing
    head: Head
    engine: Literal["torch", "openvino"]
    precision: Literal["f32", "int8"]
    tta: Literal["none", "flip"] = "none"  # older manifests do not say
    decoder: str
    weights: str  # where those of the backbone came from, in words
    trial: str
    settings: Settings
    files: tuple[File, ...] = ()  # filled in by `write_artefact`


def write_artefact(
    folder: Path, manifest: Manifest, tensors: dict[str, Tensor], *, network: Network | None = None
) -> None:
    """Write a model, in place of one that is there; `manifest.files` is filled in.

    Args:
        folder: where; its parent is there.
        manifest: everything but tensors and files.
        tensors: weights of backbone and head, by name.
        network: the backbone as its engine runs it, where weights do not give that.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        building = Path(scratch) / folder.name
        building.mkdir()
        _write_files(building, manifest, tensors, network)
        if folder.exists():
            folder.rename(Path(scratch) / "former")
        building.rename(folder)
    sync(folder.parent)


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
    folder = _folder(path)
    if not (folder / MANIFEST).is_file():
        raise ArtefactError(
            f"a run directory with a finished model (model/{MANIFEST}) is needed; {path} has none: "
            "give the directory that `veduta search` or `veduta train` named at its end"
        )
    manifest = _read_manifest(folder / MANIFEST)
    weights = [file for file in manifest.files if file.role == "weights"]
    if len(weights) != 1:
        raise ArtefactError(
            f"{folder / MANIFEST} must list one file of weights; it lists {len(weights)}: "
            "restore the file"
        )
    tensors: dict[str, Tensor] = load(_content(folder, weights[0]))
    return manifest, tensors


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
    return Network(_content(folder, listed[OPERATIONS]), _content(folder, listed[CONSTANTS]))


def _folder(path: Path) -> Path:
    return path / "model" if (path / "model" / MANIFEST).is_file() else path


def _read_manifest(path: Path) -> Manifest:
    if path.stat().st_size > MOST_MANIFEST_BYTES:
        raise ArtefactError(f"{path} must be smaller than 16 MiB; it is not a manifest of ours")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise ArtefactError(
                f"{path} must be of format {FORMAT} or older; it is of format {found}: "
                "update veduta"
            )
        return Manifest.model_validate_json(json.dumps(content))
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        where, detail = "the file", str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where, detail = ".".join(map(str, first["loc"])), first["msg"]
        raise ArtefactError(
            f"{path} must be a manifest of a Veduta model; {where}: {detail}; train it again or "
            "restore the file"
        ) from error


def _content(folder: Path, file: File) -> bytes:
    """A file's bytes, once they are known to be those that were written."""
    path = folder / file.name
    size = path.stat().st_size if path.is_file() else None
    if size != file.bytes:
        came = "it is missing" if size is None else f"it has {size}"
        raise ArtefactError(
            f"{path} must have {file.bytes} bytes, as its manifest says; {came}: restore the file"
        )
    data = path.read_bytes()
    if sha256(data).hexdigest() != file.sha256:
        raise ArtefactError(
            f"{path} must have the SHA-256 that its manifest names; it was altered or damaged: "
            "restore the file"
        )
    return data
