"""Explain the predictions of the model of a run: one heat map per image.

Label and probability are those of `veduta predict`. Grad-CAM uses the backbone in float32 and the
image without test-time augmentation, also where predictions come from an int8 model or are averaged
over views; occlusion uses the predictions themselves.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import torch

from veduta.data.pixels import DecodedImage, Rejection
from veduta.data.sample import Sample
from veduta.errors import InputError, describe_unknown_name
from veduta.explanation.feature_maps import (
    compute_feature_maps,
    compute_first_kernels,
    scale_to_images,
)
from veduta.explanation.gradcam import compute_gradcam
from veduta.explanation.layers import Layer, find_layer
from veduta.explanation.occlusion import compute_occlusion
from veduta.inference.classifier import Classifier, iterate_batches
from veduta.types import Float32Array, IndexArray, PixelArray

Method = Literal["gradcam", "occlusion"]
GRADCAM: Final = "gradcam"
OCCLUSION: Final = "occlusion"
METHODS: tuple[Method, ...] = (GRADCAM, OCCLUSION)
IMAGES_PER_BATCH = 16
PATCHES_PER_SIDE = 5  # the stride of occlusion is half a patch
MAX_STEM = 40  # characters of a file name that the name of its overlay keeps


@final
@dataclass(frozen=True, slots=True)
class ExplanationOptions:
    """Options of an explanation.

    Attributes:
        method: `gradcam` or `occlusion`.
        target: class that the heat maps are for; None is the predicted class of each image.
        layer: layer whose feature maps are used, as `explanation.layers.find_layer` takes it.
        maps: whether the feature maps of the layer are returned too.
        kernels: whether the kernels of the first convolution are returned too.
    """

    method: Method = GRADCAM
    target: str | None = None
    layer: str | None = None
    maps: bool = False
    kernels: bool = False


@final
@dataclass(frozen=True, slots=True)
class ImageExplanation:
    """Explanation of the prediction for one image.

    Attributes:
        number: position of the image among those given, from 1.
        sample: the file.
        pixels: uint8 (S, S, 3), the input of the network.
        true_label: name of the folder of the file if it is a class; else None.
        label: predicted class.
        probability: its probability.
        target: class that the heat map is for.
        target_probability: its probability.
        heat: (S, S), from 0 to 1; 0 everywhere if no part of the image supports the class.
        largest_drop: largest drop of the probability by an occluding patch; None for Grad-CAM.
        maps: feature maps (C, h, w) of the layer; None unless requested.
    """

    number: int
    sample: Sample
    pixels: PixelArray
    true_label: str | None
    label: str
    probability: float
    target: str
    target_probability: float
    heat: Float32Array
    largest_drop: float | None
    maps: Float32Array | None

    @property
    def overlay(self) -> str:
        """Path of the overlay in the directory of the explanation; it never leads outside."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", self.sample.path.stem).strip("-")[:MAX_STEM]
        return f"overlays/{self.number:04}-{stem}".rstrip("-") + ".png"


@final
class Explainer:
    """Explains the predictions of one model.

    Attributes:
        classifier: the model.
        options: options of the explanation.
        layer: layer whose feature maps are used; None where none are.
        kernels: kernels (n, k, k, 3) of the first convolution, from 0 to 1; None unless requested.
    """

    def __init__(self, classifier: Classifier, options: ExplanationOptions) -> None:
        """Check the options and find the layer.

        Args:
            classifier: the model.
            options: options of the explanation.

        Raises:
            InputError: the options do not fit the model; all faults are listed.
        """
        self.classifier = classifier
        self.options = options
        self.layer: Layer | None = None
        self.kernels: Float32Array | None = None
        faults = _find_faults(options, classifier.classes)
        try:
            if options.method != OCCLUSION or options.maps:
                self.layer = find_layer(classifier.backbone, options.layer)
        except InputError as error:
            faults += error.faults
        try:
            if options.kernels:
                self.kernels = scale_to_images(compute_first_kernels(classifier.backbone)).numpy()
        except InputError as error:
            faults += error.faults
        if faults:
            raise InputError(*faults)

    def explain(self, samples: Sequence[Sample]) -> Iterator[ImageExplanation | Rejection]:
        """Yield the explanation of each image that can be decoded; of others, the reason.

        Explanations are in the order of the samples.
        """
        numbered = enumerate(self.classifier.decode(samples), start=1)
        for batch in iterate_batches(numbered, IMAGES_PER_BATCH):
            yield from (item for _, item in batch if isinstance(item, Rejection))
            images = [(number, item) for number, item in batch if isinstance(item, DecodedImage)]
            if images:
                yield from self._explain_batch(images)

    def _explain_batch(
        self, images: Sequence[tuple[int, DecodedImage]]
    ) -> Iterator[ImageExplanation]:
        """Yield the explanation of each of some numbered images."""
        classes, target = self.classifier.classes, self.options.target
        pixels = np.stack([image.pixels for _, image in images])
        probabilities = self.classifier.compute_probabilities(pixels)
        y_pred = probabilities.argmax(1)
        targets = y_pred if target is None else np.full_like(y_pred, classes.index(target))
        heat_maps = self._compute_heat_maps(pixels, targets)
        maps = self._compute_feature_maps(pixels)
        for row, (number, image) in enumerate(images):
            heat, largest_drop = next(heat_maps)
            folder = image.sample.path.absolute().parent.name
            yield ImageExplanation(
                number,
                image.sample,
                image.pixels,
                true_label=folder if folder in classes else None,
                label=classes[y_pred[row]],
                probability=float(probabilities[row, y_pred[row]]),
                target=classes[targets[row]],
                target_probability=float(probabilities[row, targets[row]]),
                heat=heat,
                largest_drop=largest_drop,
                maps=None if maps is None else maps[row],
            )

    def _compute_heat_maps(
        self, pixels: PixelArray, targets: IndexArray
    ) -> Iterator[tuple[Float32Array, float | None]]:
        """Yield the heat map of each image and, for occlusion, the largest drop."""
        model = self.classifier
        if self.options.method == GRADCAM:
            heat_maps = compute_gradcam(
                model.backbone,
                model.head,
                torch.from_numpy(pixels),
                targets=torch.from_numpy(targets),
                layer=self.layer,
            )
            yield from ((heat, None) for heat in heat_maps.maps.numpy())
            return
        patch = max(1, pixels.shape[1] // PATCHES_PER_SIDE)
        for image, target in zip(pixels, targets.tolist(), strict=True):
            occlusion = compute_occlusion(
                model.compute_probabilities, image, target, patch=patch, stride=max(1, patch // 2)
            )
            yield occlusion.map, float(occlusion.raw.max())

    def _compute_feature_maps(self, pixels: PixelArray) -> Float32Array | None:
        """Return the feature maps (n, C, h, w) of the layer; None unless requested."""
        if not (self.options.maps and self.layer):
            return None
        images = torch.from_numpy(pixels)
        maps: Float32Array = compute_feature_maps(
            self.classifier.backbone, images, self.layer.name
        ).numpy()
        return maps


def _find_faults(options: ExplanationOptions, classes: Sequence[str]) -> list[str]:
    """Return every fault of the options that does not depend on the network."""
    faults = []
    if options.method not in METHODS:
        faults.append(describe_unknown_name("method", options.method, METHODS))
    if options.target is not None and options.target not in classes:
        faults.append(describe_unknown_name("class of this model", options.target, classes))
    if options.layer is not None and options.method == OCCLUSION and not options.maps:
        faults.append(
            "layer selects the feature maps that are used; method=occlusion uses none: leave layer "
            "out, or request the feature maps too"
        )
    return faults
