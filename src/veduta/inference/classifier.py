"""Classify image files with the model of a run."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar, final

import numpy as np
import torch
from torch import Tensor

from veduta.augment.views import TTA, View
from veduta.data.decode import DECODER
from veduta.data.files import CHUNK_SIZE
from veduta.data.pixels import DecodedImage, Rejection, Resize, decode_samples
from veduta.data.sample import Sample, abbreviate_names
from veduta.errors import (
    ArtifactError,
    EngineError,
    InputError,
    VersionWarning,
    WeightsError,
    describe_unknown_name,
)
from veduta.features.engines import TORCH, Engine, Setting, choose_engine, open_engine
from veduta.features.openvino_engine import INT8, OPENVINO, require_openvino
from veduta.features.store import compute_features
from veduta.networks.backbones import Backbone, assign_tensors, restore_backbone
from veduta.networks.catalogue.builtin import ACTIVATIONS
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.heads import HeadNetwork
from veduta.networks.weights import describe_mismatches
from veduta.runs.artifact import (
    Manifest,
    find_version_differences,
    read_artifact,
    read_intermediate_representation,
)
from veduta.runtime.environment import count_cores
from veduta.training.step import compute_logits
from veduta.types import Float32Array, PixelArray, Progress

BACKBONE, HEAD = "backbone.", "head."  # prefixes of the tensor names of a model
ENGINES = ("auto", "torch", "openvino")  # without `fastest`: only runs measure engines

Item = TypeVar("Item")


def iterate_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`; the last list may be shorter.

    >>> list(iterate_batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def average_logits(network: HeadNetwork, views: Iterable[Iterable[Tensor]]) -> Tensor:
    """Return the logits (N, classes) of N images, averaged over their views.

    Args:
        network: the head.
        views: for each view, batches of the features of all images, in the same order.
    """
    return torch.stack([compute_logits(network, batches) for batches in views]).mean(0)


def compute_softmax(logits: Float32Array) -> Float32Array:
    """Return softmax(logits) (n, classes), computed in double precision."""
    probabilities: Float32Array = (
        torch.softmax(torch.from_numpy(logits).double(), 1).float().numpy()
    )
    return probabilities


@final
@dataclass(frozen=True, slots=True)
class Scores:
    """Logits and probabilities (N, classes) of N images, and the files that cannot be decoded.

    Attributes:
        samples: the images that were decoded, in the given order.
        digests: SHA-256 of the content of each.
        logits: (N, classes).
        probabilities: softmax of the logits, without temperature.
        rejected: the files that cannot be decoded.
    """

    samples: tuple[Sample, ...]
    digests: tuple[str, ...]
    logits: Float32Array
    probabilities: Float32Array
    rejected: tuple[Rejection, ...]


@final
class Classifier:
    """A trained model on an engine. `load_classifier` loads one from a run directory.

    Attributes:
        source: path that the model was loaded from.
        manifest: description of the model.
        classes: names of the classes, in the order of the logits.
        backbone: the network that computes features, in float32.
        head: the network that computes logits from features.
        resize: how decoded images are resized to the square input of the network.
    """

    def __init__(
        self,
        source: Path,
        manifest: Manifest,
        *,
        backbone: Backbone,
        head: HeadNetwork,
        engine: Engine,
    ) -> None:
        """Combine a backbone, a head and the engine that runs the backbone.

        Args:
            source: path that the model was loaded from.
            manifest: description of the model.
            backbone: the network that computes features, in float32.
            head: the network that computes logits from features.
            engine: the engine that runs the backbone.
        """
        self.source = source
        self.manifest = manifest
        self.classes = manifest.classes
        self.backbone = backbone
        self.head = head
        preprocessing = manifest.preprocessing
        self.resize = Resize(preprocessing.image_size, preprocessing.filter, preprocessing.fit)
        self._engine = engine
        self._views = TTA[manifest.tta]

    def decode(self, samples: Sequence[Sample]) -> Iterator[DecodedImage | Rejection]:
        """Yield each image with its resized pixels, or the reason why it is rejected."""
        return decode_samples(samples, self.resize)

    def compute_features(self, pixels: PixelArray) -> Float32Array:
        """Return the features (n, ...) of resized pixels (n, S, S, 3): the input of the head."""
        return compute_features(pixels, self.backbone, self._engine)

    def compute_logits(self, pixels: PixelArray) -> Float32Array:
        """Return the logits (n, classes) of resized pixels (n, S, S, 3).

        With test-time augmentation (`tta`) they are averaged over the views of each image.
        """
        features = ([self._compute_view_features(view, pixels)] for view in self._views)
        logits: Float32Array = average_logits(self.head, features).numpy()
        return logits

    def compute_probabilities(self, pixels: PixelArray) -> Float32Array:
        """Return the softmax of the logits (n, classes) of resized pixels (n, S, S, 3)."""
        return compute_softmax(self.compute_logits(pixels))

    def score(self, samples: Sequence[Sample], progress: Progress) -> Scores:
        """Compute the logits of every image that can be decoded, in the order of the samples."""
        decoded: list[tuple[Sample, str]] = []
        rejected: list[Rejection] = []
        logit_batches = [np.empty((0, len(self.classes)), np.float32)]
        done = 0
        for batch in iterate_batches(self.decode(samples), CHUNK_SIZE):
            images = [item for item in batch if isinstance(item, DecodedImage)]
            rejected += [item for item in batch if isinstance(item, Rejection)]
            if images:
                logit_batches.append(self.compute_logits(np.stack([i.pixels for i in images])))
            decoded += [(image.sample, image.digest) for image in images]
            done += len(batch)
            progress(done, len(samples))
        logits = np.concatenate(logit_batches)
        return Scores(
            tuple(sample for sample, _ in decoded),
            tuple(digest for _, digest in decoded),
            logits,
            compute_softmax(logits),
            tuple(rejected),
        )

    def _compute_view_features(self, view: View, pixels: PixelArray) -> Tensor:
        """Return the features of a view; views of `tta` are not random, so all keys are zero."""
        view_pixels = view.apply(pixels, np.zeros(len(pixels), np.uint64))
        return torch.from_numpy(self.compute_features(view_pixels))


def _issue_warning(text: str) -> None:
    """Issue a warning that points to the caller of the public function."""
    warnings.warn(text, VersionWarning, stacklevel=4)


def load_classifier(
    path: Path, *, engine: Setting | None = None, warn: Callable[[str], None] = _issue_warning
) -> Classifier:
    """Load the model of a run directory on the engine that it was trained with.

    Args:
        path: run directory, or its `model` folder.
        engine: engine to use instead; its features agree within 1e-3. An int8 model runs on no
            other engine: its head was fitted to the features of the quantized network.
        warn: receives a message if this installation can change the predictions of the model; by
            default it issues a `VersionWarning`.

    Raises:
        ArtifactError: there is no model, or it is damaged.
        EngineError: the engine is not installed, or cannot run the model.
        InputError: `engine` is unknown.
    """
    manifest, tensors = read_artifact(path)
    model = _resolve_model(path, manifest)
    _check_tensor_names(path, tensors)
    try:
        backbone = restore_backbone(
            model, _select_tensors(tensors, BACKBONE), preprocessing=manifest.preprocessing
        )
    except WeightsError as error:
        raise ArtifactError(f"{path}: {error}") from error
    head = _restore_head(path, manifest, _select_tensors(tensors, HEAD))
    engine_name = _choose_engine(path, manifest, engine)
    network = read_intermediate_representation(path, manifest)
    try:
        running_engine = open_engine(engine_name, backbone, threads=count_cores(), network=network)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}; restore the model, or train it again") from error
    for difference in find_version_differences(
        manifest, decoder=DECODER, engine_version=running_engine.version
    ):
        warn(f"{path}: {difference}")
    return Classifier(path, manifest, backbone=backbone, head=head, engine=running_engine)


def _choose_engine(path: Path, manifest: Manifest, requested: Setting | None) -> str:
    """Return the name of the engine that runs a model: the requested one, or that of the manifest.

    Raises:
        EngineError: the engine is not installed, or cannot run the model.
        InputError: the requested engine is unknown.
    """
    if requested not in (None, *ENGINES):
        raise InputError(
            f"engine must be one of {', '.join(ENGINES)} to load a model; got {requested!r}: omit "
            "it to use the engine that the model was trained with"
        )
    if manifest.precision != INT8:
        if requested is None and manifest.engine == OPENVINO:
            require_openvino("load it in Python with veduta.load(path, engine='torch')")
        return choose_engine(requested or manifest.engine)
    if requested == TORCH:
        raise EngineError(
            f"an int8 model runs only on OpenVINO, because its head was fitted to features of "
            f"OpenVINO; {path} is an int8 model; got engine=torch: omit the engine, or train with "
            "precision=f32"
        )
    require_openvino("train with precision=f32")
    return manifest.engine


def _resolve_model(path: Path, manifest: Manifest) -> Model:
    """Return the network of a manifest.

    Raises:
        ArtifactError: this version has no such network, or the manifest contradicts itself.
    """
    faults = []
    head = manifest.head
    values = {"model": manifest.model, "image_size": manifest.preprocessing.image_size}
    try:
        model = resolve_model(manifest.settings.model_copy(update=values))
        if head.features != model.features:
            faults.append(f"its head must take {model.features} features; it takes {head.features}")
    except InputError as error:
        faults += error.faults
    if head.activation not in ACTIVATIONS:
        faults.append(describe_unknown_name("activation", head.activation, ACTIVATIONS))
    if head.classes != len(set(manifest.classes)):
        names = len(set(manifest.classes))
        faults.append(f"it must list {head.classes} distinct class names; it lists {names}")
    if manifest.precision == INT8 and manifest.engine != OPENVINO:
        faults.append(f"an int8 model must run on openvino; it names {manifest.engine}")
    if faults:
        raise ArtifactError(*(f"{path}: {fault}; restore model.json" for fault in faults))
    return model


def _restore_head(path: Path, manifest: Manifest, state: dict[str, Tensor]) -> HeadNetwork:
    """Return the head of a manifest with its weights.

    Raises:
        ArtifactError: the weights do not fit the manifest.
    """
    with torch.device("meta"):  # allocates no memory until the shapes are checked
        head = HeadNetwork(manifest.head)
    expected = {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()}
    if faults := describe_mismatches(expected, state):
        raise ArtifactError(
            f"{path}: the head must fit its manifest; {faults}; restore the model, or train it "
            "again"
        )
    assign_tensors(head, state)
    return head


def _check_tensor_names(path: Path, names: Iterable[str]) -> None:
    """Check that every tensor belongs to the backbone or the head.

    Raises:
        ArtifactError: a tensor belongs to neither.
    """
    if unknown := [name for name in names if not name.startswith((BACKBONE, HEAD))]:
        raise ArtifactError(
            f"{path}: every tensor must belong to the backbone or the head; got "
            f"{abbreviate_names(unknown)}: restore the model, or train it again"
        )


def _select_tensors(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names have a prefix, without the prefix."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
