"""Where the pictures of a report come from: the pixels of a run, or the files of an evaluation."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from veduta.data.decode import calm, decode, read_file
from veduta.data.pixels import Image
from veduta.errors import DecodeError, InputError
from veduta.evaluation.mistakes import find_nearest
from veduta.experiment.feature_spec import resize_of
from veduta.experiment.judgement import Judgement
from veduta.experiment.winner import Made
from veduta.explanation.gradcam import gradcam
from veduta.explanation.layers import find_layer
from veduta.features.quantized import drawn
from veduta.inference.classifier import Classifier, load_classifier
from veduta.networks.backbones import Backbone
from veduta.networks.heads import HeadNetwork
from veduta.reporting.pictures.media import (
    Alike,
    Heats,
    Labels,
    Pixels,
    Source,
    shown_of,
    table_of,
    write_media,
)
from veduta.results.evaluate import Evaluation
from veduta.runs.directory import RunDirectory
from veduta.runs.files import expect_room

COUNT = 3  # training images that are shown beside another one
ROWS = 8192  # training images compared at once
MOST = 5000  # training images compared where the network itself was trained: it must see each again
BATCH = 16  # images looked at together

Features = Callable[[Sequence[Image]], Iterable[NDArray[np.float32]]]


def picture_run(made: Made, judgement: Judgement, images: Sequence[Image]) -> None:
    """Write the pictures of a run that has ended.

    Args:
        made: what it has made; its model stands in the directory.
        judgement: of its winner.
        images: every image of the run.
    """
    judged = judgement.test or judgement.validation
    shown = shown_of(table_of(judged), judged.classes, judgement.label_issues())
    named = {image.sample.name: image for image in images}
    resize = resize_of(made.winner.settings)

    def pixels(paths: Sequence[str]) -> tuple[Pixels, Sequence[str]]:
        if not paths:
            return np.empty((0, resize.size, resize.size, 3), np.uint8), paths
        return made.materials.pixels_of([named[path] for path in paths], resize).take(), paths

    if made.winner.settings.freeze == "all":
        network = made.materials.networks.backbone(made.winner.settings)
        heats, classifier = heats_of(network, made.network), None
    else:  # what was trained of the network stands in the model
        classifier = load_classifier(made.directory.path, warn=made.materials.console.warn)
        heats = heats_of(classifier.backbone, classifier.head)
    alike = _alike(made, classifier, named)
    write_media(made.directory.media, shown, Source(pixels, *heats, alike))


def picture_evaluation(
    directory: RunDirectory, evaluation: Evaluation, classifier: Classifier
) -> None:
    """Write the pictures of an evaluation: its files are read once more, those that are shown."""
    named = {sample.name: sample for sample in evaluation.samples}

    def pixels(paths: Sequence[str]) -> tuple[Pixels, Sequence[str]]:
        read, found = [], []
        for path in paths:
            try:
                with calm():
                    read.append(classifier.resize(decode(read_file(named[path].path))))
                found.append(path)
            except DecodeError:
                continue
        side = classifier.resize.size
        return (np.stack(read) if read else np.empty((0, side, side, 3), np.uint8)), found

    shown = shown_of(evaluation.predictions, classifier.classes)
    heats = heats_of(classifier.backbone, classifier.head)
    with expect_room(directory.path):
        write_media(directory.media, shown, Source(pixels, *heats))


def heats_of(
    backbone: Backbone, head: HeadNetwork
) -> tuple[Callable[[Pixels, Labels], Heats] | None, str]:
    """Grad-CAM of any pixels for classes, and what it looks at, in words; or why it cannot."""
    try:
        layer = find_layer(backbone)
    except InputError:
        return None, "The network has no maps that Grad-CAM could look at."

    def heats(pixels: Pixels, labels: Labels) -> Heats:
        parts = []
        for start in range(0, len(pixels), BATCH):
            some = slice(start, start + BATCH)
            shown, targets = torch.from_numpy(pixels[some]), torch.from_numpy(labels[some])
            parts.append(gradcam(backbone, head, shown, targets=targets, layer=layer).maps.numpy())
        return np.concatenate(parts)

    return heats, f"Grad-CAM at {layer.name}, for the predicted class"


def _alike(
    made: Made, classifier: Classifier | None, named: Mapping[str, Image]
) -> Callable[[Sequence[str]], list[list[Alike]]]:
    """The training images most like each of some images, by features of the winner's network.

    Those are at hand where the whole network was frozen, and `classifier` None; else it gives them.
    """
    settings, training = made.winner.settings, list(made.materials.training)
    if classifier:
        training = drawn(training, MOST, seed=made.plan.settings.seed, purpose="nearest")

    def features(images: Sequence[Image]) -> Iterable[NDArray[np.float32]]:
        if classifier is None:
            table = made.materials.features_again(images, settings)
            starts = range(0, len(table), ROWS)
            return (table.among(slice(start, start + ROWS)).take() for start in starts)
        table = made.materials.pixels_of(images, resize_of(settings))
        starts = range(0, len(table), BATCH)
        return (
            classifier.features(table.among(slice(start, start + BATCH)).take()) for start in starts
        )

    def alike(paths: Sequence[str]) -> list[list[Alike]]:
        queries = np.concatenate(list(features([named[path] for path in paths])))
        rows, cosines = nearest_of(queries, features(training), count=COUNT)
        return [
            [
                Alike(training[row].sample.name, str(training[row].sample.label), float(cosine))
                for row, cosine in zip(*pair, strict=True)
            ]
            for pair in zip(rows, cosines.round(4), strict=True)
        ]

    return alike


def nearest_of(
    queries: NDArray[np.float32], references: Iterable[NDArray[np.float32]], *, count: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """As `evaluation.mistakes.nearest`, of references that come part by part."""
    rows = np.empty((len(queries), 0), np.intp)
    cosines = np.empty((len(queries), 0))
    before = 0
    for part in references:
        found, values = find_nearest(queries, part, count=count)
        rows, cosines = np.hstack([rows, found + before]), np.hstack([cosines, values])
        kept = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        rows = np.take_along_axis(rows, kept, axis=1)
        cosines = np.take_along_axis(cosines, kept, axis=1)
        before += len(part)
    return rows, cosines
