"""Techniques of pixels and of trained stages: the checks of `test_techniques` on a network.

- Off equals absent, bit for bit: a plain torch loop over pixels, which contains no technique.
- Effect: the same loop with the one line that the technique changes, on pixels changed one by one
  as their random numbers say, by NumPy or torchvision where the technique has its own code.
- Saved and resumed: interrupted after any step, a training continues with the same bits.
- Exported: the model file predicts what was evaluated, for the techniques of both tables.

A new technique gets all checks by one row of the table.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms.v2.functional import gaussian_blur

import veduta
from tests.support.augmentation import apply_reference_transforms
from tests.support.models import compute_test_log_probabilities
from tests.support.techniques import TECHNIQUES
from tests.support.trials import assert_resumes_exactly, run_trial
from veduta.augment import mixing, pipeline
from veduta.augment.registry import AUGMENTATIONS, MIXING_AUGMENTATIONS
from veduta.augment.transforms import compute_max_sigma
from veduta.config.settings import Settings
from veduta.experiment.feature_spec import BackboneLoader
from veduta.networks.freezing import Tail, TailNetwork
from veduta.runs.directory import RunDirectory
from veduta.runs.scores import load_test_scores
from veduta.runtime.streams import mix_bits
from veduta.tracking.console import Console
from veduta.training.examples import Examples
from veduta.training.folds import Fold, create_single_fold
from veduta.training.loop import Training, shuffle_examples, split_into_batches
from veduta.tuning.executors.serial import TrainingContext, build_network
from veduta.tuning.trials.space import build_trial
from veduta.types import PixelArray

CLASSES, SIZE, IMAGES, EPOCHS, BATCH, LR = 3, 16, 20, 3, 8, 0.05
BASE: dict[str, Any] = {
    "model": "cnn", "freeze": "none", "weights": "none", "image_size": SIZE, "channels": (6, 8),
    "optimizer": "sgd", "momentum": 0.0, "lr": LR, "batch_size": BATCH, "epochs": EPOCHS,
    "nesterov": False, "augment": (), "seed": 3,
}  # fmt: skip
MAPS = {"freeze": 1}  # the stem is frozen; it outputs maps of (6, 4, 4)
ChangePixels = Callable[[PixelArray, Examples, int], PixelArray]
"""Returns the pixels of all images as they are in an epoch."""


def keep_pixels(pixels: PixelArray, train: Examples, epoch: int) -> PixelArray:
    return pixels


def draw_parameters(train: Examples, epoch: int, name: str) -> Any:
    """Return the parameters of an augmentation for every image."""
    (parameters,) = pipeline.draw_parameters(
        train.keys, (name,), seed=BASE["seed"], view=epoch
    ).values()
    return parameters


def transform(name: str) -> ChangePixels:
    def change(pixels: PixelArray, train: Examples, epoch: int) -> PixelArray:
        return apply_reference_transforms(
            pixels, {AUGMENTATIONS[name].kind: draw_parameters(train, epoch, name)}
        )

    return change


def flip(name: str, axis: int) -> ChangePixels:
    def change(pixels: PixelArray, train: Examples, epoch: int) -> PixelArray:
        is_flipped = np.linalg.det(draw_parameters(train, epoch, name)) < 0
        return np.where(is_flipped[:, None, None, None], np.flip(pixels, axis), pixels)

    return change


def blur(pixels: PixelArray, train: Examples, epoch: int) -> PixelArray:
    result = pixels.copy()
    for index, width in enumerate(draw_parameters(train, epoch, "blur")):
        if width:
            planes = torch.from_numpy(pixels[index]).permute(2, 0, 1).float()
            blurred = gaussian_blur(planes, [5, 5], [width * compute_max_sigma(SIZE)] * 2)
            result[index] = blurred.round().permute(1, 2, 0).numpy()
    return result


def erase(pixels: PixelArray, train: Examples, epoch: int) -> PixelArray:
    result = pixels.copy()
    for image, box in zip(result, draw_parameters(train, epoch, "erasing"), strict=True):
        left, top, right, bottom = (round(SIZE * edge) for edge in box)
        if left < right and top < bottom:
            image[top:bottom, left:right] = np.rint(image.mean((0, 1)))
    return result


def draw_mix(train: Examples, epoch: int, name: str) -> tuple[list[int], list[float], Tensor]:
    """Return the partner of each image, its own fraction, and its weight at each position.

    White images are mixed with black ones, which shows the weights that were drawn.
    """
    options: Any = {"names": (name,), "seed": BASE["seed"], "epoch": epoch}
    pixels = train.features.dtype == torch.uint8
    white = np.full((IMAGES, SIZE, SIZE, 3), 255, np.uint8)
    if not pixels:
        white = np.ones((IMAGES, *train.shape[1:], 1), np.float32)
    mixed, fractions = mixing.mix_images(white, 0 * white, train.keys, **options)
    partners = mixing.assign_partners(train.keys, **options)
    assert partners is not None
    weights = torch.from_numpy(mixed).double() / float(white.max())
    return partners.tolist(), fractions.tolist(), weights if pixels else weights.movedim(-1, 1)


@dataclass(frozen=True, slots=True)
class PlainLoop:
    """A training in plain torch without techniques; a row of the table replaces some attributes.

    Attributes:
        change: changes the pixels of an epoch.
        mix: name of the augmentation that mixes pairs of images.
        first_epoch: first epoch in which all layers train; before it the head alone does.
        rate: factor of the learning rate by parameter name.
        autocast: context of the forward pass.
    """

    change: ChangePixels = keep_pixels
    mix: str = ""
    first_epoch: int = 1
    rate: Callable[[str], float] = lambda _: 1.0
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def train(self, network: nn.Module, train: Examples, epochs: int) -> dict[str, Tensor]:
        """Return the weights that are evaluated after the last step."""
        assert isinstance(network, TailNetwork)
        pixels = np.asarray(train.features)  # or maps
        for epoch in range(1, epochs + 1):
            network.train()
            if epoch < self.first_epoch:
                network.tail.eval()
            features = torch.from_numpy(self.change(pixels, train, epoch))
            order = shuffle_examples(train, BASE["seed"], epoch)
            for batch in split_into_batches(IMAGES, BATCH):
                network.zero_grad()
                self._compute_loss(network, features, train, order[batch], epoch).backward()
                with torch.no_grad():
                    for name, weights in network.named_parameters():
                        trains = epoch >= self.first_epoch or not name.startswith("tail.")
                        if trains and weights.grad is not None:
                            weights.add_(weights.grad, alpha=-LR * self.rate(name))
        return network.eval().state_dict()

    def _compute_loss(
        self, network: nn.Module, features: Tensor, train: Examples, chosen: Any, epoch: int
    ) -> Any:
        x, y = features[chosen], train.labels[chosen]
        with self.autocast():
            if not self.mix:
                return cross_entropy(network(x).float(), y)
            partners, fractions, weights = draw_mix(train, epoch, self.mix)
            own = torch.tensor(fractions)[chosen]
            others = [partners[index] for index in chosen]
            weight = weights[chosen]
            if self.mix == "mixup":  # the white pixels are rounded, the fractions are not
                weight = own[:, None, None, None].double()
            mixed = weight * x + (1 - weight) * features[others]
            x = mixed.float() if features.is_floating_point() else (mixed + 1e-9).round().byte()
            logits = network(x)
            own_loss = cross_entropy(logits, y, reduction="none")
            partner_loss = cross_entropy(logits, train.labels[others], reduction="none")
            return (own * own_loss + (1 - own) * partner_loss).mean()


def find_stage_rate(name: str) -> float:
    """Return the factor of the learning rate of a parameter: three stages train, and the head."""
    rates = {"stem": 0.3, "stage1": 0.3 ** (2 / 3), "stage2": 0.3 ** (1 / 3)}
    return rates[name.split(".")[2]] if name.startswith("tail.") else 1.0


def autocast_bf16() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Technique:
    """A row of the table.

    Attributes:
        on: settings that enable the technique.
        off: settings with which it must have no effect.
        effect: its effect by hand.
        tolerance: of the comparison with the effect by hand.
        context: arguments of `TrainingContext` that enable it.
        base: settings of both, besides `BASE`.
    """

    on: dict[str, Any]
    off: dict[str, Any]
    effect: PlainLoop
    tolerance: float = 1e-6
    context: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)

    def build_settings(self, values: dict[str, Any]) -> Settings:
        return Settings(**{**BASE, **self.base, **values})


def create_row(name: str, change: ChangePixels, tolerance: float = 1e-6) -> Technique:
    return Technique({"augment": (name,)}, {"augment": ()}, PlainLoop(change), tolerance)


NETWORK_TECHNIQUES: dict[str, Technique] = {
    **{
        name: create_row(name, transform(name))
        for name in ("color", "crop", "rotation", "perspective")
    },
    "flip": create_row("flip", flip("flip", 2)),
    "vertical_flip": create_row("vertical_flip", flip("vertical_flip", 1)),
    "blur": create_row("blur", blur, 1e-3),  # a value halfway may be rounded either way
    "erasing": create_row("erasing", erase),
    **{
        name: Technique({"augment": (name,)}, {"augment": ()}, PlainLoop(mix=name))
        for name in MIXING_AUGMENTATIONS
    },
    **{
        f"{name} of maps": Technique(
            {"augment": (name,)}, {"augment": ()}, PlainLoop(mix=name), base=MAPS
        )
        for name in MIXING_AUGMENTATIONS
    },
    "freeze_epochs": Technique(
        {"freeze_epochs": 2}, {"freeze_epochs": 0}, PlainLoop(first_epoch=3)
    ),
    "backbone_lr_scale": Technique(
        {"backbone_lr_scale": 0.3}, {"backbone_lr_scale": 1.0}, PlainLoop(rate=find_stage_rate)
    ),
    "amp": Technique(
        {"amp": "bf16"},
        {"amp": "none"},
        PlainLoop(autocast=autocast_bf16),
        context={"autocast": torch.bfloat16},
    ),
}
for_all_techniques = pytest.mark.parametrize(
    "technique", NETWORK_TECHNIQUES.values(), ids=NETWORK_TECHNIQUES
)


@cache
def build_tail(freeze: int | str) -> Tail:
    tail = BackboneLoader(0, Path()).build_tail(Settings(**{**BASE, "freeze": freeze}))
    assert tail is not None
    return tail


def create_context(technique: Technique, *, on: bool) -> TrainingContext:
    return TrainingContext(
        CLASSES,
        build_tail(technique.build_settings({}).freeze),
        **(technique.context if on else {}),
    )


def create_examples(settings: Settings, count: int, seed: int, *, train: bool = True) -> Examples:
    """Return noise, brighter in the channel that is the label: pixels, or feature maps."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    pixels = generator.integers(0, 200, (count, SIZE, SIZE, 3))
    pixels[np.arange(count), :, :, labels] += 20
    maps = torch.from_numpy(pixels[:, :4, :8].reshape(count, 6, 4, 4)).float() / 100
    return Examples(
        torch.from_numpy(pixels.astype(np.uint8)) if settings.freeze == "none" else maps,
        torch.from_numpy(labels),
        mix_bits(np.arange(count, dtype=np.uint64) + np.uint64(100 * seed)),
        augment=settings.augment if train else (),
        seed=settings.seed,
    )


def create_folds(settings: Settings) -> Sequence[Fold]:
    train = create_examples(settings, IMAGES, 1)
    return create_single_fold(train, create_examples(settings, 30, 2, train=False))


def train(technique: Technique, values: dict[str, Any], *, on: bool) -> dict[str, Tensor]:
    """Return the weights that are evaluated after the last epoch."""
    settings, context = technique.build_settings(values), create_context(technique, on=on)
    examples = create_examples(settings, IMAGES, 1)
    network = build_network(settings, examples, context)
    training = Training(network, examples, settings, autocast=context.autocast)
    for _ in range(EPOCHS):
        training.finish_epoch()
        training.start_next_epoch()
    return training.evaluated_network.state_dict()


def train_by_hand(
    technique: Technique, effect: PlainLoop | None = None, epochs: int = EPOCHS
) -> dict[str, Tensor]:
    plain = technique.build_settings({})
    examples = create_examples(plain, IMAGES, 1)
    network = build_network(plain, examples, TrainingContext(CLASSES, build_tail(plain.freeze)))
    return (effect or technique.effect).train(network, examples, epochs)


def compute_largest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    assert first.keys() == second.keys()
    differences = (first[name].double() - second[name].double() for name in first)
    return max(difference.abs().max().item() for difference in differences)


def test_every_augmentation_has_a_row() -> None:
    assert {*AUGMENTATIONS, *MIXING_AUGMENTATIONS} <= set(NETWORK_TECHNIQUES)


@for_all_techniques
def test_off_equals_absent(technique: Technique) -> None:
    trial = build_trial(technique.build_settings(technique.off))
    end = run_trial(
        trial,
        create_folds(trial.settings),
        context=create_context(technique, on=False),
        record=lambda _: None,
    )
    expected = train_by_hand(technique, PlainLoop(), end.outcome.best_epoch)
    assert compute_largest_difference(end.network.state_dict(), expected) == 0


@for_all_techniques
def test_the_effect_is_that_by_hand(technique: Technique) -> None:
    actual = train(technique, technique.on, on=True)
    assert compute_largest_difference(actual, train_by_hand(technique)) <= technique.tolerance
    without_effect = train(technique, technique.off, on=False)
    assert compute_largest_difference(actual, without_effect) > 3 * technique.tolerance


@for_all_techniques
@pytest.mark.parametrize("steps", [1, 3, 6, 8, 11, 13])  # of five heartbeats per epoch
def test_saved_and_resumed_equals_never_interrupted(
    technique: Technique, steps: int, tmp_path: Path
) -> None:
    trial = build_trial(technique.build_settings({"momentum": 0.9, **technique.on}))
    context = create_context(technique, on=True)
    folds = create_folds(trial.settings)
    assert_resumes_exactly(trial, folds, context, after=steps, folder=tmp_path)


HEAD = {"freeze": "all", "weights": "none", "image_size": 32, "lr": 0.01, "epochs": 3}
EXPORTED_SETTINGS = {
    **{name: {**row.base, **HEAD, **row.on} for name, row in TECHNIQUES.items()},
    **{
        name: {**HEAD, "freeze": 3, **row.on} if row.base else {**BASE, **row.on}
        for name, row in NETWORK_TECHNIQUES.items()
    },
    "tta": {**HEAD, "tta": "flip"},
    "views": {**HEAD, "views": 2},
}


@pytest.mark.parametrize("values", EXPORTED_SETTINGS.values(), ids=EXPORTED_SETTINGS)
def test_an_exported_model_predicts_what_was_evaluated(
    values: dict[str, Any], color_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    veduta.train(color_folder, out=run, engine="torch", console=Console(quiet=True), **values)
    actual = compute_test_log_probabilities(run, color_folder)
    logits = load_test_scores(RunDirectory(run).test_scores).logits
    expected = torch.from_numpy(logits).double().log_softmax(1).numpy()
    assert np.abs(actual - expected).max() < 1e-4
