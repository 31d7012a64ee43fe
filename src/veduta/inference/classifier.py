"""Classify images with the model of a run."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.augment.views import TTA, View
from veduta.config.parsing import unknown
from veduta.data.decode import DECODER, calm, decode, read_file
from veduta.data.files import in_chunks
from veduta.data.pixels import Rejection, Resize
from veduta.data.sample import Sample, some
from veduta.errors import (
    ArtefactError,
    DecodeError,
    EngineError,
    InputError,
    VersionWarning,
    WeightsError,
)
from veduta.features.engines import TORCH, Engine, Setting, choose_engine, open_engine
from veduta.features.openvino_engine import INT8, OPENVINO, require_openvino
from veduta.features.store import compute_features
from veduta.networks.backbones import Backbone, Preprocessing, assign, backbone_from_state
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import model_of
from veduta.networks.heads import ACTIVATIONS, Head, HeadNetwork
from veduta.networks.state_dicts import misfits
from veduta.runs.artifact import Manifest, read_artefact, read_network, version_differences
from veduta.runtime.environment import processors
from veduta.tracking.console import Advance
from veduta.training.step import logits_of


def mean_logits(network: HeadNetwork, views: Iterable[Iterable[Tensor]]) -> Tensor:
    """Logits (N, classes), the mean over the views of N images.

    Args:
        network: the head.
        views: features of the images in each view, part by part, in the same order.
    """
    return torch.stack([logits_of(network, parts) for parts in views]).mean(0)


Array = NDArray[np.float32]
BACKBONE, HEAD = "backbone.", "head."  # what the names of a model's tensors begin with
ENGINES = ("auto", "torch", "openvino")  # `fastest` is for a run, which has images to measure on


@dataclass(frozen=True, slots=True)
class Scores:
    """Logits and probabilities (N, classes) of `samples`, and the files that could not be read."""

    samples: tuple[Sample, ...]
    digests: tuple[str, ...]
    logits: Array
    probabilities: Array
    rejected: tuple[Rejection, ...]


class Classifier:
    """A trained model. `load_classifier` makes one from a run directory."""

    def __init__(
        self,
        source: Path,
        manifest: Manifest,
        *,
        backbone: Backbone,
        head: HeadNetwork,
        engine: Engine,
    ) -> None:
        self.source = source
        self.manifest = manifest
        self.classes = manifest.classes
        self.backbone = backbone
        self.head = head
        how = manifest.preprocessing
        self.resize = Resize(how.image_size, how.filter, how.fit)
        self._engine = engine
        self._views = TTA[manifest.tta]

    def probabilities(self, pixels: NDArray[np.uint8]) -> Array:
        """Probabilities (n, classes) of resized pixels (n, size, size, 3): logits, then softmax."""
        return probabilities_of(self.logits(pixels))

    def logits(self, pixels: NDArray[np.uint8]) -> Array:
        """Logits (n, classes) of resized pixels (n, size, size, 3).

        Where the model was judged with its mirror (`tta`), an image is judged so here too.
        """
        found: Array = mean_logits(
            self.head, ([self._features(view, pixels)] for view in self._views)
        ).numpy()
        return found

    def features(self, pixels: NDArray[np.uint8]) -> Array:
        """What the head gets (n, features) of resized pixels (n, size, size, 3)."""
        return compute_features(pixels, self.backbone, self._engine)

    def _features(self, view: View, pixels: NDArray[np.uint8]) -> torch.Tensor:
        shown = view.apply(pixels, np.zeros(len(pixels), np.uint64))  # no keys: nothing is drawn
        return torch.from_numpy(self.features(shown))

    def score(self, samples: Sequence[Sample], progress: Advance) -> Scores:
        """What is said of every sample that can be read, in the order of the samples."""
        good: list[tuple[Sample, str]] = []
        rejected: list[Rejection] = []
        parts = [np.empty((0, len(self.classes)), np.float32)]
        done = 0
        with calm():
            for chunk in in_chunks(self._read, samples, processors()):
                read = [one for one in chunk if not isinstance(one, Rejection)]
                rejected += [one for one in chunk if isinstance(one, Rejection)]
                if read:
                    parts.append(self.logits(np.stack([pixels for _, _, pixels in read])))
                good += [(sample, digest) for sample, digest, _ in read]
                done += len(chunk)
                progress(done, len(samples))
        logits = np.concatenate(parts)
        return Scores(
            tuple(sample for sample, _ in good),
            tuple(digest for _, digest in good),
            logits,
            probabilities_of(logits),
            tuple(rejected),
        )

    def _read(self, sample: Sample) -> tuple[Sample, str, NDArray[np.uint8]] | Rejection:
        try:
            data = read_file(sample.path)
            return sample, sha256(data).hexdigest(), self.resize(decode(data))
        except DecodeError as error:
            return Rejection(sample.name, error.problem, error.detail)


def probabilities_of(logits: Array) -> Array:
    """Softmax in double precision."""
    found: Array = torch.softmax(torch.from_numpy(logits).double(), 1).float().numpy()
    return found


def _warn_in_python(text: str) -> None:
    """Issue a warning that names the line which called the public function."""
    warnings.warn(text, VersionWarning, stacklevel=4)


def load_classifier(
    path: Path, *, engine: Setting | None = None, warn: Callable[[str], None] = _warn_in_python
) -> Classifier:
    """The model of a run directory, on the engine that it was trained with.

    Args:
        path: a run directory, or its `model` folder.
        engine: another engine; its features agree within 1e-3. For a model in int8 there is none:
            its head was fitted on the features of that very network, and judged with them.
        warn: called where this installation can change the answers of the model; by default it
            issues a `VersionWarning`.

    Raises:
        ArtefactError: no model there, or it is damaged.
        EngineError: the engine is not installed here, or cannot run the model.
        InputError: there is no such engine.
    """
    manifest, tensors = read_artefact(path)
    model = _described(path, manifest)
    how = manifest.preprocessing
    _expect_parts(path, tensors)
    try:
        backbone = backbone_from_state(
            model,
            _part(tensors, BACKBONE),
            preprocessing=Preprocessing(how.image_size, how.filter, how.mean, how.std),
        )
    except WeightsError as error:
        raise ArtefactError(f"{path}: {error}") from error
    head = _head(path, manifest, _part(tensors, HEAD))
    chosen = _engine_of(path, manifest, engine)
    network = read_network(path, manifest)
    try:
        opened = open_engine(chosen, backbone, threads=processors(), network=network)
    except ArtefactError as error:
        raise ArtefactError(f"{path}: {error}; restore the model, or train it again") from error
    for difference in version_differences(manifest, decoder=DECODER, engine_version=opened.version):
        warn(f"{path}: {difference}")
    return Classifier(path, manifest, backbone=backbone, head=head, engine=opened)


def _engine_of(path: Path, manifest: Manifest, wanted: Setting | None) -> str:
    """The engine that shall run a model, if it can."""
    if wanted not in (None, *ENGINES):
        raise InputError(
            f"engine must be one of {', '.join(ENGINES)} to load a model; got {wanted!r}: leave "
            "it out for the one that the model was trained with"
        )
    if manifest.precision != INT8:
        if wanted is None and manifest.engine == OPENVINO:
            require_openvino("load it in Python with veduta.load(path, engine='torch')")
        return choose_engine(wanted or manifest.engine)
    if wanted == TORCH:
        raise EngineError(
            f"a model in int8 runs on OpenVINO alone, for its head was fitted there; {path} is "
            "one, and engine=torch was asked for: leave the engine out, or train with precision=f32"
        )
    require_openvino("train with precision=f32")
    return manifest.engine


def _described(path: Path, manifest: Manifest) -> Model:
    """The network of a manifest, which must be possible with this version, and agree with itself.

    Raises:
        ArtefactError: it is not, or does not.
    """
    faults = []
    head, how = manifest.head, manifest.preprocessing
    said = {"model": manifest.model, "image_size": how.image_size}
    try:
        model = model_of(manifest.settings.model_copy(update=said))
        if head.features != model.features:
            faults.append(f"its head must take {model.features} features; it takes {head.features}")
    except InputError as error:
        faults += error.faults
    if head.activation not in ACTIVATIONS:
        faults.append(unknown("activation", head.activation, ACTIVATIONS))
    if head.classes != len(set(manifest.classes)):
        names = len(set(manifest.classes))
        faults.append(f"it must name each of its {head.classes} classes once; it names {names}")
    if manifest.precision == INT8 and manifest.engine != OPENVINO:
        faults.append(f"a model in int8 must run on openvino; it names {manifest.engine}")
    if faults:
        raise ArtefactError(*(f"{path}: {fault}; restore model.json" for fault in faults))
    return model


def _head(path: Path, manifest: Manifest, state: dict[str, torch.Tensor]) -> HeadNetwork:
    """The head of a manifest with its weights; shapes alone, until these are known to fit."""
    with torch.device("meta"):
        head = HeadNetwork(Head(**manifest.head.model_dump()))
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    if faults := misfits(expected, state):
        raise ArtefactError(
            f"{path}: the head must fit its manifest; {faults}; restore the model, or train it "
            "again"
        )
    assign(head, state)
    return head


def _expect_parts(path: Path, tensors: Iterable[str]) -> None:
    """Every tensor belongs to backbone or head.

    Raises:
        ArtefactError: one does not.
    """
    if strange := [name for name in tensors if not name.startswith((BACKBONE, HEAD))]:
        raise ArtefactError(
            f"{path}: every tensor must be of the backbone or the head; not so: {some(strange)}; "
            "restore the model, or train it again"
        )


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
