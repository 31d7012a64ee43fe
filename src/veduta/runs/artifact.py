"""A trained model on disk: tensors as safetensors, a JSON manifest, no pickle."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, final

import pydantic.dataclasses
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from veduta.config.network_specs import STRICT, Head, Preprocessing
from veduta.config.settings import Settings
from veduta.errors import ArtifactError, describe_os_error
from veduta.runs.provenance import FORMAT, describe_parse_error
from veduta.runtime.disk import (
    check_safetensors_header,
    replace_folder,
    write_atomically,
    write_json,
)

MANIFEST = "model.json"
TENSORS = "model.safetensors"
OPERATIONS, CONSTANTS = "model.xml", "model.bin"
CARD = "README.md"
MAX_MANIFEST_BYTES = 16 * 2**20

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


@final
@dataclass(frozen=True)
class IntermediateRepresentation:
    """A network in the format of OpenVINO.

    Attributes:
        operations: The `.xml` file, a graph of operations.
        constants: The `.bin` file, its weights.
    """

    operations: bytes
    constants: bytes

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of both files, one after the other."""
        return hashlib.sha256(self.operations + self.constants).hexdigest()


class _Section(BaseModel):
    """Base class of the sections of a manifest: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class File(_Section):
    """One file of a model; `engine` is the one that an intermediate representation is for."""

    name: Name
    role: Literal["weights", "ir"]
    engine: Literal["openvino"] | None = None
    bytes: Count
    sha256: Digest


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class ErrorBound:
    """The validation images that a confidence threshold accepts, and the error among them.

    Attributes:
        threshold: Threshold of the confidence.
        images: Number of validation images.
        accepted: Number of images with at least that confidence.
        errors: Number of wrong predictions among them.
        error_high: Upper bound of the error; the bounds of all thresholds hold simultaneously.
    """

    threshold: Fraction
    images: Count
    accepted: Count
    errors: Count
    error_high: Fraction


class Manifest(_Section):
    """Everything about a model except its tensors.

    Attributes:
        format: Version of the format.
        veduta: Version of Veduta.
        model: Name of the network.
        classes: Names; the position of a name is its class index.
        preprocessing: How an image becomes the input of the network.
        head: Description from which the head is built.
        engine: Engine that runs the backbone.
        engine_version: Version of the engine that the model was evaluated with.
        precision: Precision of the backbone.
        tta: Test-time augmentation.
        temperature: Divisor of the logits, fitted on validation.
        error_bounds: Error bounds for abstention, from the lowest threshold up.
        decoder: Library that decoded the images, with its version.
        weights: Source of the backbone's weights, in words.
        trial: Id of the winner.
        settings: Settings of the winner.
        files: Files of the model; `write_artifact` fills them in.
    """

    format: Annotated[int, Field(ge=1)]
    veduta: str
    model: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    preprocessing: Preprocessing
    head: Head
    engine: Literal["torch", "openvino"]
    engine_version: str
    precision: Literal["f32", "int8"]
    tta: Literal["none", "flip"]
    temperature: Annotated[float, Field(gt=0)] = 1.0
    error_bounds: tuple[ErrorBound, ...] = ()
    decoder: str
    weights: str
    trial: str
    settings: Settings
    files: tuple[File, ...] = ()


def find_version_differences(manifest: Manifest, *, decoder: str, engine_version: str) -> list[str]:
    """Return one message per difference to this installation that can change predictions.

    Decoder versions resize differently. The version of the engine matters for int8 alone: float32
    features agree between versions up to rounding.

    Args:
        manifest: Manifest of the model.
        decoder: The decoder installed here, with its version.
        engine_version: Version of the engine that runs the model here.
    """
    pairs = [("decoder", manifest.decoder, decoder)]
    if manifest.precision == "int8":
        pairs.append((manifest.engine, manifest.engine_version, engine_version))
    return [
        f"a model must be used with the {component} it was trained and evaluated with, {recorded}; "
        f"{installed} is installed and its answers can differ: install the version that the model "
        "needs, or train it again"
        for component, recorded, installed in pairs
        if recorded != installed
    ]


def read_manifest(path: Path) -> Manifest:
    """Return the validated manifest of a file.

    Raises:
        ArtifactError: The file is too large, of a newer format, or no manifest of Veduta.
    """
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ArtifactError(
            f"{path} must be smaller than {MAX_MANIFEST_BYTES // 2**20} MiB; it has "
            f"{path.stat().st_size:,} bytes: restore the file"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.get("format") if isinstance(content, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise ArtifactError(
                f"{path} must be of format {FORMAT} or older; it is of format {version}: "
                "update veduta"
            )
        return Manifest.model_validate(content)
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ArtifactError(
            f"{path} must be a manifest of a Veduta model; {describe_parse_error(error)}: restore "
            "the file, or train the model again"
        ) from error


def write_artifact(
    folder: Path,
    manifest: Manifest,
    tensors: dict[str, Tensor],
    *,
    network: IntermediateRepresentation | None = None,
    card: str = "",
) -> None:
    """Write a model in place of an existing one; `manifest.files` is filled in.

    Args:
        folder: Folder of the model, whose parent exists.
        manifest: Everything except tensors and files.
        tensors: Weights of backbone and head, by name.
        network: The quantized backbone, which cannot be derived from its weights.
        card: Text of README.md; the manifest does not list that file, so that it may be edited.
    """
    with replace_folder(folder) as building:
        _write_files(building, manifest, tensors, network)
        if card:
            write_atomically(building / CARD, card)


def _write_files(
    building: Path,
    manifest: Manifest,
    tensors: dict[str, Tensor],
    network: IntermediateRepresentation | None,
) -> None:
    """Write all files of a model into an empty folder."""
    weights = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    files = [_write_file(building / TENSORS, weights, role="weights")]
    if network:
        files.append(_write_file(building / OPERATIONS, network.operations, role="ir"))
        files.append(_write_file(building / CONSTANTS, network.constants, role="ir"))
    complete = manifest.model_copy(update={"files": tuple(files)})
    write_json(building / MANIFEST, complete.model_dump(mode="json"))


def _write_file(path: Path, content: bytes, *, role: Literal["weights", "ir"]) -> File:
    """Write a file and return its entry in the manifest."""
    write_atomically(path, content)
    engine: Literal["openvino"] | None = "openvino" if role == "ir" else None
    digest = sha256(content).hexdigest()
    return File(name=path.name, role=role, engine=engine, bytes=len(content), sha256=digest)


def read_artifact(path: Path) -> tuple[Manifest, dict[str, Tensor]]:
    """Return manifest and tensors of a run directory or of its `model` folder, verified.

    Raises:
        ArtifactError: There is no model, its format is newer, or a file is missing or damaged.
    """
    with _explain_read_errors(path):
        folder = _find_model_folder(path)
        if not (folder / MANIFEST).is_file():
            raise ArtifactError(
                f"a run directory with a finished model (model/{MANIFEST}) is needed; {path} has "
                "none: give the directory that `veduta search` or `veduta train` named at its end"
            )
        manifest = read_manifest(folder / MANIFEST)
        weights = [file for file in manifest.files if file.role == "weights"]
        if len(weights) != 1:
            raise ArtifactError(
                f"{folder / MANIFEST} must list one file of weights; it lists {len(weights)}: "
                "restore the file"
            )
        return manifest, _read_tensors(folder, weights[0])


def read_intermediate_representation(
    path: Path, manifest: Manifest
) -> IntermediateRepresentation | None:
    """Return the quantized backbone of a model, verified; None if its precision is float32.

    Raises:
        ArtifactError: A file is not listed, missing or damaged, or a float32 model lists one.
    """
    folder = _find_model_folder(path)
    listed = {file.name: file for file in manifest.files if file.role == "ir"}
    if manifest.precision != "int8":
        if listed:
            raise ArtifactError(
                f"{folder / MANIFEST} must list no network where the precision is f32; it lists "
                f"{', '.join(sorted(listed))}: restore the file"
            )
        return None
    if set(listed) != {OPERATIONS, CONSTANTS}:
        raise ArtifactError(
            f"{folder / MANIFEST} must list {OPERATIONS} and {CONSTANTS}, the network in int8; it "
            f"lists {', '.join(sorted(listed)) or 'neither'}: restore the file"
        )
    with _explain_read_errors(path):
        return IntermediateRepresentation(
            _read_file(folder, listed[OPERATIONS]), _read_file(folder, listed[CONSTANTS])
        )


def find_model(path: Path) -> Manifest | None:
    """Return the manifest of a run's model if all its files are intact, else None."""
    try:
        manifest, _ = read_artifact(path)
        read_intermediate_representation(path, manifest)
    except ArtifactError:
        return None
    return manifest


def _find_model_folder(path: Path) -> Path:
    """Return the `model` folder of a run directory, or the path itself."""
    return path / "model" if (path / "model" / MANIFEST).is_file() else path


@contextmanager
def _explain_read_errors(path: Path) -> Iterator[None]:
    """Turn a file system error inside the block into an error that names the path and the cure."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(
            f"a run directory must be readable; {path}: {describe_os_error(error)}: check the path "
            "and its permissions"
        ) from error


def _read_tensors(folder: Path, file: File) -> dict[str, Tensor]:
    """Return the tensors of a file after verifying it."""
    path = folder / file.name
    _check_size(path, file)
    try:
        check_safetensors_header(path)  # before a whole foreign file is read
        tensors: dict[str, Tensor] = load(_read_file(folder, file))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"{path} must be a safetensors file; {describe_parse_error(error)}: restore the file, "
            "or train the model again"
        ) from error
    return tensors


def _check_size(path: Path, file: File) -> None:
    """Check that a file exists and has its recorded size.

    Raises:
        ArtifactError: It does not.
    """
    size = path.stat().st_size if path.is_file() else None
    if size != file.bytes:
        actual = "it is missing" if size is None else f"it has {size}"
        raise ArtifactError(
            f"{path} must have {file.bytes} bytes, as its manifest says; {actual}: restore the file"
        )


def _read_file(folder: Path, file: File) -> bytes:
    """Return the content of a file after verifying its size and SHA-256."""
    path = folder / file.name
    _check_size(path, file)
    data = path.read_bytes()
    if sha256(data).hexdigest() != file.sha256:
        raise ArtifactError(
            f"{path} must have the SHA-256 that its manifest names; it was altered or damaged: "
            "restore the file"
        )
    return data
