"""The manifest of a model on disk: everything about it but its tensors, and which files it has."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from veduta.config.settings import Settings
from veduta.errors import ArtefactError

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
