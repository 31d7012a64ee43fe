"""Asking the model of a run what it looks at: one answer an image.

Label and probability are those of `predict`. Grad-CAM looks at the network in float32 and at the
image as it is, also where the model runs in int8 or is asked with the mirror of each image;
occlusion asks the very model.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.config.parsing import unknown
from veduta.data.decode import calm, decode, read_file
from veduta.data.pixels import Rejection
from veduta.data.sample import Sample
from veduta.errors import DecodeError, InputError
from veduta.explanation.feature_maps import as_images, feature_maps, first_kernels
from veduta.explanation.gradcam import gradcam
from veduta.explanation.layers import Layer, find_layer
from veduta.explanation.occlusion import occlusion
from veduta.inference.classifier import Classifier

Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]
METHODS = GRADCAM, OCCLUSION = "gradcam", "occlusion"
BATCH = 16  # images at a time
PATCHES = 5  # so many occluding patches side by side fill an image; a step is half of one
LONGEST = 40  # characters of a file's name that its overlay keeps


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a model.

    Attributes:
        method: where heat maps come from, `gradcam` or `occlusion`.
        target: the class that they are for; None is the predicted one of each image.
        layer: whose maps are looked at, as `explain.layers.find_layer` takes it.
        maps: whether these maps are wanted too.
        kernels: whether the kernels of the first convolution are.
    """

    method: str = GRADCAM
    target: str | None = None
    layer: str | None = None
    maps: bool = False
    kernels: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """What is said of one image.

    Attributes:
        number: of the image among those asked about, from 1.
        sample: the file.
        pixels: uint8 (S, S, 3), as the network gets them.
        truth: its class, where the folder that it lies in is called after one.
        label, probability: what the model says.
        target, target_probability: the class that the heat is for.
        heat: (S, S), from 0 to 1; 0 everywhere where nothing speaks for the class.
        drop: the most that a patch takes from the probability, where patches were tried.
        maps: (C, h, w) of the layer, where they are wanted.
    """

    number: int
    sample: Sample
    pixels: Pixels
    truth: str | None
    label: str
    probability: float
    target: str
    target_probability: float
    heat: Array
    drop: float | None
    maps: Array | None

    @property
    def overlay(self) -> str:
        """The file of its picture in the directory of the explanation; no name can lead outside."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", self.sample.path.stem).strip("-")[:LONGEST]
        return f"overlays/{self.number:04}-{stem}".rstrip("-") + ".png"


@final
class Explainer:
    """Asks one model one question of any images.

    Attributes:
        classifier: the model.
        question: what is asked.
        layer: whose maps are looked at; None where none are.
        kernels: of the first convolution, (kernels, k, k, 3) from 0 to 1, where they are wanted.

    Raises:
        InputError: the question does not fit the model; every fault.
    """

    def __init__(self, classifier: Classifier, question: Question) -> None:
        self.classifier = classifier
        self.question = question
        self.layer: Layer | None = None
        self.kernels: Array | None = None
        faults = _faults(question, classifier.classes)
        try:
            if question.method != OCCLUSION or question.maps:
                self.layer = find_layer(classifier.backbone, question.layer)
        except InputError as error:
            faults += error.faults
        try:
            if question.kernels:
                self.kernels = as_images(first_kernels(classifier.backbone)).numpy()
        except InputError as error:
            faults += error.faults
        if faults:
            raise InputError(*faults)

    def answers(self, samples: Sequence[Sample]) -> Iterator[Explained | Rejection]:
        """What is said of each image that can be read, in order, and why others cannot."""
        for start in range(0, len(samples), BATCH):
            numbered: list[tuple[int, Sample]] = []
            pixels: list[Pixels] = []
            for number, sample in enumerate(samples[start : start + BATCH], start + 1):
                try:
                    with calm():
                        pixels.append(self.classifier.resize(decode(read_file(sample.path))))
                    numbered.append((number, sample))
                except DecodeError as error:
                    yield Rejection(sample.name, error.problem, error.detail)
            if pixels:
                yield from self._asked(numbered, np.stack(pixels))

    def _asked(self, numbered: Sequence[tuple[int, Sample]], pixels: Pixels) -> Iterator[Explained]:
        """What is said of pixels (n, S, S, 3) of numbered files."""
        classes, target = self.classifier.classes, self.question.target
        probabilities = self.classifier.probabilities(pixels)
        labels = probabilities.argmax(1)
        targets = labels if target is None else np.full_like(labels, classes.index(target))
        heats = self._heats(pixels, targets)
        maps = self._maps(pixels)
        for place, (number, sample) in enumerate(numbered):
            heat, drop = next(heats)
            folder = sample.path.absolute().parent.name
            yield Explained(
                number,
                sample,
                pixels[place],
                truth=folder if folder in classes else None,
                label=classes[labels[place]],
                probability=float(probabilities[place, labels[place]]),
                target=classes[targets[place]],
                target_probability=float(probabilities[place, targets[place]]),
                heat=heat,
                drop=drop,
                maps=None if maps is None else maps[place],
            )

    def _heats(
        self, pixels: Pixels, targets: NDArray[np.intp]
    ) -> Iterator[tuple[Array, float | None]]:
        """The heat of each image, and the most that a patch takes from the probability."""
        model = self.classifier
        if self.question.method == GRADCAM:
            shown, wanted = torch.from_numpy(pixels), torch.from_numpy(targets)
            heat = gradcam(model.backbone, model.head, shown, targets=wanted, layer=self.layer)
            yield from ((one, None) for one in heat.maps.numpy())
            return
        patch = max(1, pixels.shape[1] // PATCHES)
        for one, target in zip(pixels, targets.tolist(), strict=True):
            drop = occlusion(
                model.probabilities, one, target, patch=patch, stride=max(1, patch // 2)
            )
            yield drop.map, float(drop.raw.max())

    def _maps(self, pixels: Pixels) -> Array | None:
        """The maps of the layer (n, C, h, w), where they are wanted."""
        if not (self.question.maps and self.layer):
            return None
        shown = torch.from_numpy(pixels)
        found: Array = feature_maps(self.classifier.backbone, shown, self.layer.name).numpy()
        return found


def _faults(question: Question, classes: Sequence[str]) -> list[str]:
    """What the question must not be, the network apart."""
    faults = []
    if question.method not in METHODS:
        faults.append(unknown("method", question.method, METHODS))
    if question.target is not None and question.target not in classes:
        faults.append(unknown("class of this model", question.target, classes))
    if question.layer is not None and question.method == OCCLUSION and not question.maps:
        faults.append(
            "layer says whose maps are looked at, and occlusion looks at none: leave it out, or "
            "ask for maps too"
        )
    return faults
