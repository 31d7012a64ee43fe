"""The pictures of a run's report, from the pixels and features of the run."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from veduta.data.pixels import Image, draw_images
from veduta.evaluation.mistakes import find_nearest
from veduta.evaluation.winner_assessment import WinnerAssessment
from veduta.experiment.feature_spec import build_resize
from veduta.experiment.winner import SelectedModel
from veduta.explanation.gradcam import build_heat_map_function
from veduta.inference.classifier import Classifier, load_classifier
from veduta.reporting.pictures.media import (
    PictureSource,
    SimilarImage,
    select_media,
    tabulate_images,
    write_media,
)
from veduta.types import Float32Array, FloatArray, IndexArray, PixelArray

SIMILAR_IMAGES = 3  # similar training images that are shown for each image
ROWS_PER_BLOCK = 8192  # training images whose features are compared at once
MAX_RECOMPUTED = 5000  # training images compared where their features must be computed again
IMAGES_PER_BATCH = 16


def write_run_media(
    model: SelectedModel, assessment: WinnerAssessment, images: Sequence[Image]
) -> None:
    """Write the pictures of the report of a run, whose model has been written.

    Args:
        model: the winner.
        assessment: its assessment.
        images: every image of the run.
    """
    predictions = assessment.test or assessment.validation
    selection = select_media(
        tabulate_images(predictions), predictions.classes, assessment.find_label_issues()
    )
    image_by_path = {image.sample.name: image for image in images}
    settings, features = model.trial.settings, model.features
    resize = build_resize(settings)

    def load_pixels(paths: Sequence[str]) -> tuple[PixelArray, Sequence[str]]:
        if not paths:
            return np.empty((0, resize.size, resize.size, 3), np.uint8), paths
        rows = features.pixels.load_rows([image_by_path[path] for path in paths], resize)
        return rows.take(), paths

    if settings.trains_backbone:  # the trained weights of the backbone are in the model
        classifier = load_classifier(model.directory.path, warn=features.pixels.console.warn)
        heat_maps = build_heat_map_function(classifier.backbone, classifier.head)
    else:
        classifier = None
        heat_maps = build_heat_map_function(features.backbones.load(settings), model.network)
    find_similar = _build_similarity_search(model, classifier, image_by_path)
    source = PictureSource(load_pixels, *heat_maps, find_similar)
    write_media(model.directory.media, selection, source)


def _build_similarity_search(
    model: SelectedModel, classifier: Classifier | None, image_by_path: Mapping[str, Image]
) -> Callable[[Sequence[str]], list[list[SimilarImage]]]:
    """Return a function that finds the training images most similar to images, by their paths.

    Similarity is that of the features of the winner's network. The run has computed them if its
    whole backbone is frozen, and `classifier` is None; otherwise the classifier computes them, for
    some of the training images.
    """
    training_images = list(model.features.training_images)
    if classifier:
        seed = model.plan.settings.seed
        training_images = draw_images(training_images, MAX_RECOMPUTED, seed=seed, purpose="nearest")

    def find_similar(paths: Sequence[str]) -> list[list[SimilarImage]]:
        images = [image_by_path[path] for path in paths]
        queries = np.concatenate(list(_iterate_features(model, classifier, images)))
        indices, similarities = find_nearest_in_blocks(
            queries, _iterate_features(model, classifier, training_images), count=SIMILAR_IMAGES
        )
        return [
            [
                SimilarImage(
                    training_images[index].sample.name,
                    str(training_images[index].sample.label),
                    float(similarity),
                )
                for index, similarity in zip(*row, strict=True)
            ]
            for row in zip(indices, similarities.round(4), strict=True)
        ]

    return find_similar


def _iterate_features(
    model: SelectedModel, classifier: Classifier | None, images: Sequence[Image]
) -> Iterator[Float32Array]:
    """Yield the features of images, block by block."""
    settings, features = model.trial.settings, model.features
    if classifier is None:
        table = features.load_computed(images, settings)
        for start in range(0, len(table), ROWS_PER_BLOCK):
            yield table.select(slice(start, start + ROWS_PER_BLOCK)).take()
        return
    pixels = features.pixels.load_rows(images, build_resize(settings))
    for start in range(0, len(pixels), IMAGES_PER_BATCH):
        yield classifier.compute_features(
            pixels.select(slice(start, start + IMAGES_PER_BATCH)).take()
        )


def find_nearest_in_blocks(
    queries: Float32Array, blocks: Iterable[Float32Array], *, count: int
) -> tuple[IndexArray, FloatArray]:
    """Find the most similar references as `find_nearest`, of references that come in blocks."""
    indices = np.empty((len(queries), 0), np.intp)
    similarities = np.empty((len(queries), 0))
    offset = 0
    for block in blocks:
        block_indices, block_similarities = find_nearest(queries, block, count=count)
        indices = np.hstack([indices, block_indices + offset])
        similarities = np.hstack([similarities, block_similarities])
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :count]
        indices = np.take_along_axis(indices, order, axis=1)
        similarities = np.take_along_axis(similarities, order, axis=1)
        offset += len(block)
    return indices, similarities
