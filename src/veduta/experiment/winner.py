"""The winner of a run: its test score, and the files that predict."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from veduta.augment.views import PLAIN, TTA, View
from veduta.config.settings import Settings
from veduta.data.decode import DECODER
from veduta.experiment.examples import Data
from veduta.experiment.feature_pipeline import Materials
from veduta.experiment.judgement import Judgement
from veduta.experiment.model_card import card
from veduta.experiment.plan import Plan
from veduta.explanation.feature_maps import as_images, first_kernels
from veduta.features.engines import engine_version
from veduta.inference.classifier import mean_logits
from veduta.metrics.classification import Accuracy
from veduta.networks.backbones import Backbone, backbone_from_state
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import artefact_states, frozen_stages
from veduta.networks.heads import HeadNetwork
from veduta.runs.artifact import (
    CARD,
    FORMAT,
    Head,
    Manifest,
    Preprocessing,
    standing,
    write_artefact,
)
from veduta.runs.directory import RunDirectory
from veduta.runs.files import write_arrays, write_atomically
from veduta.runs.test_set import SealedTest
from veduta.tracking.console import Console
from veduta.tracking.tensorboard import write_pictures
from veduta.training.state import parts
from veduta.training.step import evaluation_batch
from veduta.tuning.trials.space import Trial
from veduta.tuning.trials.store import DAMAGED

NONE = dict.fromkeys(("accuracy", "low", "high"))

Opened = tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_]]
"""Of the test images: truth, logits, and whether an identical image has another label."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a search has made: the winner's network, and what it was made of."""

    directory: RunDirectory
    plan: Plan
    winner: Trial
    network: HeadNetwork
    materials: Materials


def score_test(made: Made, sealed: SealedTest) -> dict[str, Any]:
    """Open the sealed test once and score the winner on it; the scores of each image are kept.

    An image's logits are the mean over the views that `tta` asks for, as in prediction. Where the
    winner's scores of the last opening stand in `scores/test.npz`, as in a run that was killed
    after it, it is not opened again; after an extension it is. Where no test image could be read
    there is no score: the accuracy is None, nothing was opened. Where labels of identical images
    contradict one another, `without_conflicts` is the score of the others.
    """
    tta = made.plan.settings.tta
    if not sealed.images:
        none = {**NONE, "images": 0, "without_conflicts": None}
        return {**none, "tta": tta, "opened": 0, "opened_before": 0}
    found = _kept(made, sealed) if sealed.fresh else None
    if found is None:
        logits = mean_logits(made.network, _seen(made, sealed)).numpy()
        truth = np.array([made.plan.folder.classes.index(label) for label in sealed.open()])
        doubtful = np.array([i.sample.name in sealed.conflicting for i in sealed.images])
        write_arrays(
            made.directory.test,
            paths=np.array([image.sample.name for image in sealed.images]),
            truth=truth,
            logits=logits,
            conflicting=doubtful,
            trial=np.array(made.winner.id),
            opened=np.array(sealed.opened),
        )
        found = truth, logits, doubtful
    hits = found[1].argmax(1) == found[0]
    scores = {**_share(hits), "without_conflicts": _without(found[2], hits)}
    openings = {"opened": sealed.opened, "opened_before": sealed.opened_before}
    return {**scores, "tta": tta, **openings}


def _share(hits: NDArray[np.bool_]) -> dict[str, Any]:
    return Accuracy.from_counts(int(hits.sum()), len(hits)).as_dict()


def _without(doubtful: NDArray[np.bool_], hits: NDArray[np.bool_]) -> dict[str, Any] | None:
    """The score of the images whose label no identical image contradicts; None if it is the same.

    Where all are contradicted, there is none: its accuracy is None.
    """
    if not doubtful.any():
        return None
    return {**NONE, "images": 0} if doubtful.all() else _share(hits[~doubtful])


def _seen(made: Made, sealed: SealedTest) -> Iterator[Iterator[Tensor]]:
    """What the winner's network takes of the test images, part by part, in each view of `tta`."""
    settings, views = made.winner.settings, TTA[made.plan.settings.tta]
    whole = settings.freeze == "none"
    tables = made.materials.features(sealed.images, settings, (PLAIN,) if whole else views)
    for view, table in zip(views, tables * len(views) if whole else tables, strict=True):
        found = parts(table, evaluation_batch(table.shape[1:]))
        yield _shown(view, found) if whole else found


def _shown(view: View, pixels: Iterator[Tensor]) -> Iterator[Tensor]:
    for part in pixels:
        keys = np.zeros(len(part), np.uint64)  # nothing is drawn in these views
        yield torch.from_numpy(view.apply(part.numpy(), keys))


def _kept(made: Made, sealed: SealedTest) -> Opened | None:
    """What the last opening came to, where it was for this winner and is whole."""
    try:
        with np.load(io.BytesIO(made.directory.test.read_bytes())) as kept:
            whose = str(kept["trial"]), int(kept["opened"])
            found = kept["truth"], kept["logits"], kept["conflicting"]
    except DAMAGED:
        return None
    return found if whose == (made.winner.id, sealed.opened) else None


def whole_backbone(made: Made) -> Backbone:
    """The backbone of the winner, the stages that it has trained in their places."""
    settings = made.winner.settings
    backbone = made.materials.networks.backbone(settings)
    trained, _ = artefact_states(made.network)
    state = {**backbone.state_dict(), **trained}
    how = backbone.preprocessing
    return backbone_from_state(model_of(settings), state, preprocessing=how)


def write_model(made: Made, judgement: Judgement, summary: Mapping[str, Any]) -> None:
    """The winner, backbone and head, as `model/`, where it does not stand there whole.

    `summary` is what its card tells.
    """
    stands = standing(made.directory.path)
    if stands and stands.trial == made.winner.id:
        write_atomically(made.directory.model / CARD, card(stands, judgement, summary))
        return
    settings = made.winner.settings
    backbone = made.materials.networks.backbone(settings)
    how = backbone.preprocessing
    manifest = Manifest(
        format=FORMAT,
        veduta=version("veduta"),
        model=settings.model,
        classes=made.plan.folder.classes,
        preprocessing=Preprocessing(
            image_size=how.image_size,
            filter=how.filter,
            fit=settings.resize,
            mean=how.mean,
            std=how.std,
        ),
        head=Head(**made.network.head.as_dict()),
        engine=made.materials.engine,
        engine_version=engine_version(made.materials.engine),
        precision=settings.precision,
        tta=settings.tta,
        temperature=judgement.temperature.value,
        error_bounds=judgement.error_bounds(),
        decoder=DECODER,
        weights=backbone.weights_source + _trained_here(settings),
        trial=made.winner.id,
        settings=settings,
    )
    trained, head = artefact_states(made.network)
    whole = {**backbone.state_dict(), **trained}
    tensors = {f"backbone.{name}": t for name, t in whole.items()}
    tensors |= {f"head.{name}": t for name, t in head.items()}
    network = made.materials.network(settings)
    told = card(manifest, judgement, summary)
    write_artefact(made.directory.model, manifest, tensors, network=network, card=told)


def _trained_here(settings: Settings) -> str:
    """What a trial has changed in the weights of its backbone, in words."""
    if settings.freeze == "all":
        return ""
    first = frozen_stages(settings)
    return f"; stages behind the first {first} trained" if first else "; all of it trained"


SHOWN = 16  # training images
ENLARGED = 8  # pixels a side for each number of a kernel
GAP = 4  # white pixels on each side of a kernel


def write_winner(made: Made, data: Data, console: Console) -> None:
    """Training images as its first epoch showed them, the kernels it came to, and its graph.

    Nothing for a head alone, and no images where what trains sees feature maps.
    """
    if made.winner.settings.freeze == "all":
        return
    train = data(made.winner)[0].train
    batch = train.seen_in(1)(np.arange(min(SHOWN, len(train))))
    pictures: dict[str, NDArray[np.float32]] = {}
    if batch.features.dtype == torch.uint8:
        pictures["images/epoch_1"] = (batch.features.numpy() / 255).astype(np.float32)
    backbone = whole_backbone(made)
    if any(isinstance(module, torch.nn.Conv2d) for module in backbone.modules()):
        pictures["kernels/first_layer"] = tiles_of(as_images(first_kernels(backbone)).numpy())
    fault = write_pictures(
        made.directory.tensorboard / made.winner.id,
        pictures,
        made.network.eval(),
        batch.features[:1],
    )
    if fault:
        console.warn(f"TensorBoard has no graph of the network: {fault}")


def tiles_of(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels (n, k, k, 3) from 0 to 1, each enlarged and framed in white.

    >>> tiles_of(np.zeros((2, 3, 3, 3), np.float32)).shape
    (2, 32, 32, 3)
    """
    large = kernels.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    return np.pad(large, ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=1)
