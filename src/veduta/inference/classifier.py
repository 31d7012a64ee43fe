"""A trained model, ready to predict: the same decoding, resizing, engine and head as in the search.

Files go through in chunks: while the engine works on one, the next is decoded by threads, so memory
stays flat however many there are.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.config.parsing import unknown
from veduta.data.decode import decode, read_file
from veduta.data.pixels import Rejection, Resize
from veduta.data.sample import Sample
from veduta.errors import ArtefactError, DecodeError
from veduta.features.engines import Engine, Setting, choose_engine, open_engine
from veduta.features.store import compute_features
from veduta.models.backbones import Backbone, Preprocessing, backbone_from_state
from veduta.models.heads import Head, HeadNetwork
from veduta.models.registry import MODELS
from veduta.runs.artefact import Manifest, read_artefact
from veduta.runtime.environment import processors
from veduta.tracking.console import Advance
from veduta.training.step import logits_of

CHUNK = 128  # images in memory at a time, twice

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities (N, classes) of `samples`, and the files that could not be read."""

    samples: tuple[Sample, ...]
    digests: tuple[str, ...]
    probabilities: Array
    rejected: tuple[Rejection, ...]


class Classifier:
    """A trained model. `load_classifier` makes one from a run directory."""

    def __init__(
        self, manifest: Manifest, backbone: Backbone, *, head: HeadNetwork, engine: Engine
    ) -> None:
        self.manifest = manifest
        self.classes = manifest.classes
        self.backbone = backbone
        self.head = head
        how = manifest.preprocessing
        self.resize = Resize(how.image_size, how.filter, how.fit)
        self._engine = engine

    def probabilities(self, pixels: NDArray[np.uint8]) -> Array:
        """Probabilities (n, classes) of resized pixels (n, size, size, 3)."""
        features = compute_features(pixels, self.backbone, self._engine)
        logits = logits_of(self.head, torch.from_numpy(features))
        found: Array = torch.softmax(logits.double(), 1).float().numpy()
        return found

    def score(self, samples: Sequence[Sample], progress: Advance) -> Scores:
        """Probabilities of every sample that can be read, in the order of the samples."""
        read: list[tuple[Sample, str]] = []
        parts = [np.empty((0, len(self.classes)), np.float32)]
        rejected: list[Rejection] = []
        done = 0
        for chunk in self._chunks(samples):
            good = [(s, *found) for s, found in chunk if not isinstance(found, DecodeError)]
            rejected += [
                Rejection(s.name, found.problem, found.detail)
                for s, found in chunk
                if isinstance(found, DecodeError)
            ]
            if good:
                parts.append(self.probabilities(np.stack([pixels for _, _, pixels in good])))
            read += [(sample, digest) for sample, digest, _ in good]
            done += len(chunk)
            progress(done, len(samples))
        return Scores(
            tuple(sample for sample, _ in read),
            tuple(digest for _, digest in read),
            np.concatenate(parts),
            tuple(rejected),
        )

    def _chunks(
        self, samples: Sequence[Sample]
    ) -> Iterator[list[tuple[Sample, tuple[str, NDArray[np.uint8]] | DecodeError]]]:
        """Samples with digest and pixels, or the reason why not; one chunk is read ahead."""
        chunks = [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]
        with ThreadPoolExecutor(processors()) as pool:
            ahead = [pool.submit(self._read, s.path) for s in chunks[0]] if chunks else []
            for number, chunk in enumerate(chunks):
                waiting, following = ahead, chunks[number + 1 : number + 2]
                ahead = [pool.submit(self._read, s.path) for part in following for s in part]
                yield [(s, future.result()) for s, future in zip(chunk, waiting, strict=True)]

    def _read(self, path: Path) -> tuple[str, NDArray[np.uint8]] | DecodeError:
        try:
            data = read_file(path)
            return sha256(data).hexdigest(), self.resize(decode(data))
        except DecodeError as error:
            return error


def load_classifier(path: Path, *, engine: Setting | None = None) -> Classifier:
    """The model of a run directory, on the engine that it was trained with.

    Args:
        path: a run directory, or its `model` folder.
        engine: another engine; its features agree within 1e-3.

    Raises:
        ArtefactError: no model there, or it is damaged.
        EngineError: the engine is not installed here.
    """
    manifest, tensors = read_artefact(path)
    if manifest.model not in MODELS:
        raise ArtefactError(f"{path}: {unknown('model', manifest.model, MODELS)}")
    how = manifest.preprocessing
    backbone = backbone_from_state(
        manifest.model,
        _part(tensors, "backbone."),
        preprocessing=Preprocessing(how.image_size, how.filter, how.mean, how.std),
    )
    head = HeadNetwork(Head(**manifest.head.model_dump()))
    try:
        head.load_state_dict(_part(tensors, "head."))
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise ArtefactError(f"{path}: the head must fit its manifest; {detail}") from error
    chosen = choose_engine(engine or manifest.engine)
    opened = open_engine(chosen, backbone, threads=processors())
    return Classifier(manifest, backbone, head=head, engine=opened)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
