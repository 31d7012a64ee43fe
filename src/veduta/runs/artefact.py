"""A trained model on disk: tensors as safetensors, everything else as JSON, no pickle.

`model.json` is a manifest: it lists every file with its role, size and SHA-256, because
safetensors notices a truncated file but not a flipped bit in a weight.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load, save
from torch import Tensor

from veduta.config.settings import Settings
from veduta.errors import ArtefactError
from veduta.runs.files import write_atomically, write_json
from veduta.runtime.disk import digest_of, sync

FORMAT = 1
MANIFEST = "model.json"
TENSORS = "model.safetensors"
MOST_MANIFEST_BYTES = 16 * 2**20

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Triple = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(_Part):
    """One file of an artefact."""

    name: Name
    role: Literal["weights"]
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
    precision: Literal["f32"]
    decoder: str
    weights: str  # where those of the backbone came from, in words
    trial: str
    settings: Settings
    files: tuple[File, ...] = ()  # filled in by `write_artefact`


def write_artefact(folder: Path, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
    """Write a model; `manifest.files` is filled in from what was written."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        building = Path(scratch) / folder.name
        building.mkdir()
        _write_files(building, manifest, tensors)
        building.rename(folder)
    sync(folder.parent)


def _write_files(building: Path, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
    weights = building / TENSORS
    write_atomically(weights, save({n: t.detach().contiguous() for n, t in tensors.items()}))
    file = File(
        name=TENSORS, role="weights", bytes=weights.stat().st_size, sha256=digest_of(weights)
    )
    full = manifest.model_copy(update={"files": (file,)})
    write_json(building / MANIFEST, full.model_dump(mode="json"))


def read_artefact(path: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """Manifest and tensors of a run directory, or of its `model` folder, checked.

    Raises:
        ArtefactError: nothing there, a newer format, a file that is missing, cut or altered.
    """
    folder = path / "model" if (path / "model" / MANIFEST).is_file() else path
    if not (folder / MANIFEST).is_file():
        raise ArtefactError(
            f"a run directory with a finished model (model/{MANIFEST}) is needed; {path} has none: "
            "give the directory that `veduta search` or `veduta train` named at its end"
        )
    manifest = _read_manifest(folder / MANIFEST)
    if len(manifest.files) != 1:
        raise ArtefactError(
            f"{folder / MANIFEST} must list one file of weights; it lists {len(manifest.files)}: "
            "restore the file"
        )
    return manifest, _read_tensors(folder / manifest.files[0].name, manifest.files[0])


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


def _read_tensors(path: Path, file: File) -> dict[str, Tensor]:
    size = path.stat().st_size if path.is_file() else None
    if size != file.bytes:
        came = "it is missing" if size is None else f"it has {size}"
        raise ArtefactError(
            f"{path} must have {file.bytes} bytes, as its manifest says; {came}: restore the file"
        )
    data = path.read_bytes()
    if digest_of(path) != file.sha256:
        raise ArtefactError(
            f"{path} must have the SHA-256 that its manifest names; it was altered or damaged: "
            "restore the file"
        )
    tensors: dict[str, Tensor] = load(data)
    return tensors
