"""The winner of a run: its test score, and the files of its model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from veduta.augment.views import PLAIN, TTA, View
from veduta.config.settings import Settings
from veduta.data.decode import DECODER
from veduta.data.pixels import Image
from veduta.evaluation.winner_assessment import WinnerAssessment
from veduta.experiment.examples import ExampleLoader
from veduta.experiment.feature_pipeline import FeaturePipeline
from veduta.experiment.model_card import format_card
from veduta.experiment.plan import Plan
from veduta.explanation.feature_maps import compute_first_kernels, scale_to_images
from veduta.features.engines import get_engine_version
from veduta.inference.classifier import average_logits
from veduta.metrics.intervals import estimate_proportion
from veduta.networks.backbones import Backbone, restore_backbone
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.freezing import split_trained_state
from veduta.networks.heads import HeadNetwork
from veduta.runs.artifact import CARD, Manifest, find_model, write_artifact
from veduta.runs.directory import RunDirectory
from veduta.runs.journal import Journal
from veduta.runs.provenance import FORMAT
from veduta.runs.scores import TestScores, find_test_scores, save_test_scores
from veduta.runs.summary import Estimate, Summary, TestResult
from veduta.runs.test_set import TestSet
from veduta.runtime.disk import write_atomically
from veduta.tracking.console import Console
from veduta.tracking.tensorboard import write_pictures
from veduta.training.examples import iterate_parts
from veduta.training.step import get_evaluation_batch_size
from veduta.tuning.trials.space import Trial
from veduta.types import BoolArray, Float32Array

MAX_TRAINING_PICTURES = 16  # training images in TensorBoard
KERNEL_SCALE = 8  # pixels per side for each weight of a kernel
KERNEL_GAP = 4  # white pixels on each side of a kernel


@final
@dataclass(frozen=True, slots=True)
class SelectedModel:
    """The trained network of the winner, and what is needed to evaluate and save it.

    Attributes:
        directory: directory of the run.
        plan: plan of the run.
        trial: the winner.
        network: its network, after the refit if there was one.
        features: pipeline that computes its frozen features.
    """

    directory: RunDirectory
    plan: Plan
    trial: Trial
    network: HeadNetwork
    features: FeaturePipeline


def hold_out(
    images: Sequence[Image], conflicting: frozenset[str], journal: Journal, cache: Path
) -> TestSet:
    """Return the test set of a run, which reveals its labels only when it is evaluated."""
    return TestSet(
        [image.sample.name for image in images],
        [image.digest for image in images],
        [str(image.sample.label) for image in images],
        conflicting,
        journal,
        cache,
    )


def score_test(model: SelectedModel, test_set: TestSet, images: Sequence[Image]) -> TestResult:
    """Evaluate the winner on the test set once, and save the scores of each image.

    Logits are the mean over the views of test-time augmentation, as in prediction. If the
    scores of this winner are already saved, as in a run that was killed after the evaluation, they
    are reused; after an extension of the search, the test set is evaluated again. If no test image
    can be decoded, nothing is evaluated and the accuracy has no value.

    Args:
        model: the winner.
        test_set: the test set, which counts its evaluations.
        images: the test images.
    """
    tta = model.plan.settings.tta
    if not images:
        accuracy = Estimate(images=0)
        return TestResult(accuracy=accuracy, tta=tta, evaluations=0, previous_evaluations=0)
    scores = _find_current_scores(model, test_set) or _evaluate(model, test_set, images)
    return TestResult(
        accuracy=_estimate_accuracy(scores.correct),
        accuracy_without_conflicts=(
            _estimate_accuracy(scores.correct[~scores.conflicting])
            if scores.conflicting.any()
            else None
        ),
        tta=tta,
        evaluations=test_set.evaluations,
        previous_evaluations=test_set.previous_evaluations,
    )


def _find_current_scores(model: SelectedModel, test_set: TestSet) -> TestScores | None:
    """Return the scores of the last evaluation if winner and planned trials are still the same."""
    if not test_set.is_current:
        return None
    scores = find_test_scores(model.directory.test_scores)
    if scores is None or (scores.trial, scores.evaluations) != (
        model.trial.id,
        test_set.evaluations,
    ):
        return None
    return scores


def _evaluate(model: SelectedModel, test_set: TestSet, images: Sequence[Image]) -> TestScores:
    """Predict the test images, reveal their labels, and save the scores."""
    logits = average_logits(model.network, _iterate_views(model, images)).numpy()
    classes = model.plan.folder.classes
    y_true = np.array([classes.index(label) for label in test_set.reveal_labels()])
    paths = tuple(image.sample.name for image in images)
    scores = TestScores(
        trial=model.trial.id,
        evaluations=test_set.evaluations,
        paths=paths,
        y_true=y_true,
        logits=logits,
        conflicting=np.array([path in test_set.conflicting for path in paths]),
    )
    save_test_scores(model.directory.test_scores, scores)
    return scores


def _estimate_accuracy(correct: BoolArray) -> Estimate:
    """Return an accuracy with its interval; its value is None if there are no images."""
    if not len(correct):
        return Estimate(images=0)
    accuracy = estimate_proportion(int(correct.sum()), len(correct))
    return Estimate(
        value=accuracy.value, low=accuracy.low, high=accuracy.high, images=accuracy.images
    )


def _iterate_views(model: SelectedModel, images: Sequence[Image]) -> Iterator[Iterator[Tensor]]:
    """Yield, for each view of `tta`, an iterator over the input batches of the network."""
    settings, views = model.trial.settings, TTA[model.plan.settings.tta]
    if settings.trains_whole_backbone:
        (pixels,) = model.features.compute(images, settings, (PLAIN,))
        for view in views:
            batches = iterate_parts(pixels, get_evaluation_batch_size(pixels.shape[1:]))
            yield _apply_view(view, batches)
        return
    for features in model.features.compute(images, settings, views):
        yield iterate_parts(features, get_evaluation_batch_size(features.shape[1:]))


def _apply_view(view: View, batches: Iterator[Tensor]) -> Iterator[Tensor]:
    for batch in batches:
        keys = np.zeros(len(batch), np.uint64)  # the views of `tta` draw no random numbers
        yield torch.from_numpy(view.apply(batch.numpy(), keys))


def build_trained_backbone(model: SelectedModel) -> Backbone:
    """Return the backbone of the winner with its trained weights."""
    settings = model.trial.settings
    backbone = model.features.backbones.load(settings)
    trained_state, _ = split_trained_state(model.network)
    return restore_backbone(
        resolve_model(settings),
        {**backbone.state_dict(), **trained_state},
        preprocessing=backbone.preprocessing,
    )


def write_model(model: SelectedModel, assessment: WinnerAssessment, summary: Summary) -> None:
    """Write backbone and head of the winner to `model/`, with the model card.

    If the directory already contains the complete model of this winner, only the card is written.
    """
    existing = find_model(model.directory.path)
    if existing and existing.trial == model.trial.id:
        card = format_card(existing, assessment, summary)
        write_atomically(model.directory.model / CARD, card)
        return
    settings = model.trial.settings
    backbone = model.features.backbones.load(settings)
    engine = model.features.engine
    manifest = Manifest(
        format=FORMAT,
        veduta=version("veduta"),
        model=settings.model,
        classes=model.plan.folder.classes,
        preprocessing=replace(backbone.preprocessing, fit=settings.resize),
        head=model.network.head,
        engine=engine.name,
        engine_version=get_engine_version(engine.name),
        precision=engine.precision,
        tta=settings.tta,
        temperature=assessment.temperature.value,
        error_bounds=assessment.error_bounds,
        decoder=DECODER,
        weights=backbone.weights_source + _describe_training(settings),
        trial=model.trial.id,
        settings=settings,
    )
    trained_state, head_state = split_trained_state(model.network)
    backbone_state = {**backbone.state_dict(), **trained_state}
    tensors = {f"backbone.{name}": tensor for name, tensor in backbone_state.items()}
    tensors |= {f"head.{name}": tensor for name, tensor in head_state.items()}
    write_artifact(
        model.directory.model,
        manifest,
        tensors,
        network=model.features.load_quantized_network(settings),
        card=format_card(manifest, assessment, summary),
    )


def _describe_training(settings: Settings) -> str:
    """Describe which weights of the backbone a trial has trained, for the manifest."""
    if not settings.trains_backbone:
        return ""
    frozen_stages = settings.frozen_stages
    return f"; stages after the first {frozen_stages} trained" if frozen_stages else "; all trained"


def write_training_pictures(
    model: SelectedModel, examples: ExampleLoader, console: Console
) -> None:
    """Write training images, the kernels of the first layer and the network graph for TensorBoard.

    The images are augmented as in the first epoch. Nothing is written if only the head is trained,
    and no images if the inputs of the trained stages are feature maps.
    """
    if not model.trial.settings.trains_backbone:
        return
    train = examples.load_folds(model.trial)[0].train
    batch = train.get_batch_source(1)(np.arange(min(MAX_TRAINING_PICTURES, len(train))))
    pictures: dict[str, Float32Array] = {}
    if batch.features.dtype == torch.uint8:
        pictures["images/epoch_1"] = (batch.features.numpy() / 255).astype(np.float32)
    backbone = build_trained_backbone(model)
    if any(isinstance(module, torch.nn.Conv2d) for module in backbone.modules()):
        kernels = scale_to_images(compute_first_kernels(backbone)).numpy()
        pictures["kernels/first_layer"] = enlarge_kernels(kernels)
    error = write_pictures(
        model.directory.tensorboard / model.trial.id,
        pictures,
        model.network.eval(),
        batch.features[:1],
    )
    if error:
        console.warn(f"the network graph is missing in TensorBoard: {error}")


def enlarge_kernels(kernels: Float32Array) -> Float32Array:
    """Enlarge kernels (n, k, k, 3) with values from 0 to 1, and add a white frame to each.

    >>> enlarge_kernels(np.zeros((2, 3, 3, 3), np.float32)).shape
    (2, 32, 32, 3)
    """
    enlarged = kernels.repeat(KERNEL_SCALE, 1).repeat(KERNEL_SCALE, 2)
    gap = (KERNEL_GAP, KERNEL_GAP)
    return np.pad(enlarged, ((0, 0), gap, gap, (0, 0)), constant_values=1)
