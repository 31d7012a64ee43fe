"""A trained model on disk: tensors as safetensors, a JSON manifest, no pickle."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from veduta.config.settings import Settings
from veduta.errors import ArtefactError
from veduta.runs.files import replace_folder, write_atomically, write_json
from veduta.runtime.disk import expect_head


@dataclass(frozen=True)
class Network:
    """An intermediate representation.

    Attributes:
        operations: the `.xml` file, a graph of operations.
        constants: the `.bin` file, the numbers in it.
    """

    operations: bytes
    constants: bytes

    @cached_property
    def sha256(self) -> str:
        """Of both files, one after the other."""
        return hashlib.sha256(self.operations + self.constants).hexdigest()


FORMAT = 4  # 1 had no networks of an engine, 2 no temperature, no late normalisation, 3 no version
MANIFEST = "model.json"
MOST_MANIFEST_BYTES = 16 * 2**20
MOST_LAYERS = 100

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class File(_Part):
    """One file of an artefact."""

    name: Name
    role: Literal["weights", "ir"]
    engine: Literal["openvino"] | None = None  # that a network is for
    bytes: Annotated[int, Field(ge=0)]
    sha256: Digest


class Preprocessing(_Part):
    """How pixels reach the network: resized to `image_size`, then (x / 255 - mean) / std."""

    image_size: Annotated[int, Field(ge=1, le=2048)]
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
    fit: Literal["squash", "crop"]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]


class Head(_Part):
    """The head's description; the network is built from it."""

    features: Annotated[int, Field(ge=1)]
    classes: Annotated[int, Field(ge=2)]
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=MOST_LAYERS)]
    activation: str
    batch_norm: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    norm_first: bool = True  # older manifests do not say
    dropout_layers: Annotated[int, Field(ge=0)] | None = None


class ErrorBound(_Part):
    """What a threshold of confidence accepted of the images that the model was chosen on.

    `error_high` bounds the error among what it accepts; those of all thresholds hold together.
    """

    threshold: Annotated[float, Field(ge=0, le=1)]
    images: Annotated[int, Field(ge=0)]
    accepted: Annotated[int, Field(ge=0)]
    errors: Annotated[int, Field(ge=0)]
    error_high: Annotated[float, Field(ge=0, le=1)]


class Manifest(_Part):
    """Everything about a model but its tensors."""

    format: Annotated[int, Field(ge=1)]
    veduta: str
    model: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    preprocessing: Preprocessing
    head: Head
    engine: Literal["torch", "openvino"]
    engine_version: str = ""  # older manifests do not say
    precision: Literal["f32", "int8"]
    tta: Literal["none", "flip"] = "none"  # older manifests do not say
    temperature: Positive = 1.0  # that calibrates, fitted on validation
    error_bounds: tuple[ErrorBound, ...] = ()  # for abstaining, from the lowest threshold up
    decoder: str
    weights: str  # where those of the backbone came from, in words
    trial: str
    settings: Settings
    files: tuple[File, ...] = ()  # filled in by `write_artefact`


def version_differences(manifest: Manifest, *, decoder: str, engine_version: str) -> list[str]:
    """Return what in this installation can change the answers of a model, one message each.

    The decoder makes the pixels, and its versions resize differently. The engine's version counts
    in int8 alone: float32 features agree up to rounding, on any version.

    Args:
        manifest: of the model.
        decoder: the decoder installed here, with its version.
        engine_version: version of the engine that runs the model here.
    """
    pairs = [("decoder", manifest.decoder, decoder)]
    if manifest.precision == "int8" and manifest.engine_version:
        pairs.append((manifest.engine, manifest.engine_version, engine_version))
    return [
        f"a model must be used with the {part} it was trained and evaluated with, {recorded}; "
        f"{installed} is installed and its answers can differ: install the version that the model "
        "needs, or train it again"
        for part, recorded, installed in pairs
        if recorded != installed
    ]


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file, checked.

    Raises:
        ArtefactError: too large, of a newer format, or no manifest of ours.
    """
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
        reason = f"the file: {error}"
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        raise ArtefactError(
            f"{path} must be a manifest of a Veduta model; {' '.join(reason.split())[:200]}; train "
            "it again or restore the file"
        ) from error


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
