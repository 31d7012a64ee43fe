"""Techniques of pixels and of stages that train: the checks of `test_techniques`, on a network.

- off equals absent, to the bit: a loop in plain torch over pixels, which knows of no technique;
- its effect: the same loop with the one line that the technique changes, over pixels changed one
  by one as their drawn numbers say, by NumPy or torchvision where the technique has its own code;
- saved and resumed: left after any step, it goes on to the same bits;
- exported: the model file predicts what was scored. This one holds for both tables.

A new technique gets every check by one row.
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
from tests.contracts.courses import expect_resumed
from tests.contracts.test_techniques import TECHNIQUES
from tests.experiment.test_freezing import logits_from_files
from tests.support.augmentation import apply_reference_transforms
from tests.support.trials import run_trial
from veduta.augment import mixing, pipeline
from veduta.augment.registry import AUGMENTATIONS, MIXING_AUGMENTATIONS
from veduta.augment.transforms import compute_max_sigma
from veduta.config.settings import Settings
from veduta.experiment.feature_spec import Networks
from veduta.networks.freezing import Tail, TailNetwork
from veduta.runtime.streams import mix
from veduta.tracking.console import Console
from veduta.training.folds import Fold, undivided
from veduta.training.loop import Training, batches, shuffled
from veduta.training.state import Examples
from veduta.tuning.executors.serial import Way, fresh_network
from veduta.tuning.trials.space import trial_of

CLASSES, SIZE, IMAGES, EPOCHS, BATCH, LR = 3, 16, 20, 3, 8, 0.05
BASE: dict[str, Any] = {
    "model": "cnn", "freeze": "none", "weights": "none", "image_size": SIZE, "channels": (6, 8),
    "optimizer": "sgd", "momentum": 0.0, "lr": LR, "batch_size": BATCH, "epochs": EPOCHS,
    "nesterov": False, "augment": (), "seed": 3,
}  # fmt: skip
MAPS = {"freeze": 1}  # the stem, which makes of an image maps of (6, 4, 4)
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
See = Callable[[Pixels, Examples, int], Pixels]


def unchanged(pixels: Pixels, train: Examples, epoch: int) -> Pixels:
    return pixels


def changes(train: Examples, epoch: int, name: str) -> Any:
    (found,) = pipeline.draw_parameters(train.keys, (name,), seed=BASE["seed"], view=epoch).values()
    return found


def resampled(name: str) -> See:
    """Nothing left out, nothing in place."""

    def see(pixels: Pixels, train: Examples, epoch: int) -> Pixels:
        return apply_reference_transforms(
            pixels, {AUGMENTATIONS[name].kind: changes(train, epoch, name)}
        )

    return see


def mirrored(name: str, axis: int) -> See:
    def see(pixels: Pixels, train: Examples, epoch: int) -> Pixels:
        turned = np.linalg.det(changes(train, epoch, name)) < 0
        return np.where(turned[:, None, None, None], np.flip(pixels, axis), pixels)

    return see


def blurred(pixels: Pixels, train: Examples, epoch: int) -> Pixels:
    found = pixels.copy()
    for place, width in enumerate(changes(train, epoch, "blur")):
        if width:
            planes = torch.from_numpy(pixels[place]).permute(2, 0, 1).float()
            soft = gaussian_blur(planes, [5, 5], [width * compute_max_sigma(SIZE)] * 2)
            found[place] = soft.round().permute(1, 2, 0).numpy()
    return found


def erased(pixels: Pixels, train: Examples, epoch: int) -> Pixels:
    found = pixels.copy()
    for image, box in zip(found, changes(train, epoch, "erasing"), strict=True):
        left, top, right, bottom = (round(SIZE * edge) for edge in box)
        if left < right and top < bottom:
            image[top:bottom, left:right] = np.rint(image.mean((0, 1)))
    return found


def drawn_mix(train: Examples, epoch: int, name: str) -> tuple[list[int], list[float], Tensor]:
    """Of each image: its partner and its share, and how much of each place a white one keeps.

    It is mixed with black, which shows what was drawn: how much an image keeps, and where.
    """
    how: Any = {"names": (name,), "seed": BASE["seed"], "epoch": epoch}
    pixels = train.features.dtype == torch.uint8
    white = np.full((IMAGES, SIZE, SIZE, 3), 255, np.uint8)
    if not pixels:
        white = np.ones((IMAGES, *train.shape[1:], 1), np.float32)
    kept, shares = mixing.mix_images(white, 0 * white, train.keys, **how)
    found = mixing.assign_partners(train.keys, **how)
    assert found is not None
    part = torch.from_numpy(kept).double() / float(white.max())
    return found.tolist(), shares.tolist(), part if pixels else part.movedim(-1, 1)


# ---- a loop that has never heard of techniques, and what a row may change of it


@dataclass(frozen=True, slots=True)
class Plainly:
    """A training in plain torch.

    Attributes:
        see: pixels as an epoch shows them.
        mixed: the name of what mixes pairs of images.
        opened: the first epoch in which all trains; before it the head alone does.
        rates: what the learning rate is multiplied by, of the name of a parameter.
        inside: what the forward pass is computed in.
    """

    see: See = unchanged
    mixed: str = ""
    opened: int = 1
    rates: Callable[[str], float] = lambda _: 1.0
    inside: Callable[[], AbstractContextManager[Any]] = nullcontext

    def weights_after(self, network: nn.Module, train: Examples, epochs: int) -> dict[str, Tensor]:
        """What is measured after the last step."""
        assert isinstance(network, TailNetwork)
        pixels = np.asarray(train.features)  # or maps
        for epoch in range(1, epochs + 1):
            network.train()
            if epoch < self.opened:
                network.tail.eval()
            seen = torch.from_numpy(self.see(pixels, train, epoch))
            order = shuffled(train, BASE["seed"], epoch)
            for part in batches(IMAGES, BATCH):
                network.zero_grad()
                self._loss(network, seen, train, order[part], epoch).backward()
                with torch.no_grad():
                    for name, weights in network.named_parameters():
                        learns = epoch >= self.opened or not name.startswith("tail.")
                        if learns and weights.grad is not None:
                            weights.add_(weights.grad, alpha=-LR * self.rates(name))
        return network.eval().state_dict()

    def _loss(
        self, network: nn.Module, seen: Tensor, train: Examples, chosen: Any, epoch: int
    ) -> Any:
        x, y = seen[chosen], train.labels[chosen]
        with self.inside():
            if not self.mixed:
                return cross_entropy(network(x).float(), y)
            partners, shares, kept = drawn_mix(train, epoch, self.mixed)
            own = torch.tensor(shares)[chosen]
            others = [partners[place] for place in chosen]
            part = kept[chosen]
            if self.mixed == "mixup":  # white is rounded; the share is not
                part = own[:, None, None, None].double()
            found = part * x + (1 - part) * seen[others]
            x = found.float() if seen.is_floating_point() else (found + 1e-9).round().byte()
            logits = network(x)
            theirs = cross_entropy(logits, train.labels[others], reduction="none")
            return (own * cross_entropy(logits, y, reduction="none") + (1 - own) * theirs).mean()


def stage_rates(name: str) -> float:
    """Three stages train: the stem, and one of 6 and one of 8 maps; then the head."""
    rates = {"stem": 0.3, "stage1": 0.3 ** (2 / 3), "stage2": 0.3 ** (1 / 3)}
    return rates[name.split(".")[2]] if name.startswith("tail.") else 1.0


def bf16() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Technique:
    """One row: settings that switch it on, those at which it does nothing, its effect.

    `base` is what else it is tried with.
    """

    on: dict[str, Any]
    off: dict[str, Any]
    effect: Plainly
    tolerance: float = 1e-6
    way: dict[str, Any] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)

    def settings(self, values: dict[str, Any]) -> Settings:
        return Settings(**{**BASE, **self.base, **values})


def of_pixels(name: str, see: See, tolerance: float = 1e-6) -> Technique:
    return Technique({"augment": (name,)}, {"augment": ()}, Plainly(see), tolerance)


WHOLE: dict[str, Technique] = {
    **{
        name: of_pixels(name, resampled(name))
        for name in ("colour", "crop", "rotation", "perspective")
    },
    "flip": of_pixels("flip", mirrored("flip", 2)),
    "vertical_flip": of_pixels("vertical_flip", mirrored("vertical_flip", 1)),
    "blur": of_pixels("blur", blurred, 1e-3),  # a value that falls between two may go either way
    "erasing": of_pixels("erasing", erased),
    **{
        name: Technique({"augment": (name,)}, {"augment": ()}, Plainly(mixed=name))
        for name in MIXING_AUGMENTATIONS
    },
    **{
        f"{name} of maps": Technique(
            {"augment": (name,)}, {"augment": ()}, Plainly(mixed=name), base=MAPS
        )
        for name in MIXING_AUGMENTATIONS
    },
    "freeze_epochs": Technique({"freeze_epochs": 2}, {"freeze_epochs": 0}, Plainly(opened=3)),
    "backbone_lr_scale": Technique(
        {"backbone_lr_scale": 0.3}, {"backbone_lr_scale": 1.0}, Plainly(rates=stage_rates)
    ),
    "amp": Technique(
        {"amp": "bf16"}, {"amp": "none"}, Plainly(inside=bf16), way={"autocast": torch.bfloat16}
    ),
}
every = pytest.mark.parametrize("technique", WHOLE.values(), ids=WHOLE)


@cache
def tiny(freeze: int | str) -> Tail:
    found = Networks(0, Path()).tail(Settings(**{**BASE, "freeze": freeze}))
    assert found is not None
    return found


def way_of(technique: Technique, *, on: bool) -> Way:
    return Way(CLASSES, tiny(technique.settings({}).freeze), **(technique.way if on else {}))


def examples(settings: Settings, count: int, seed: int, *, train: bool = True) -> Examples:
    """Noise, a little brighter in the channel that is the label: pixels, or maps of a stem."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    pixels = generator.integers(0, 200, (count, SIZE, SIZE, 3))
    pixels[np.arange(count), :, :, labels] += 20
    maps = torch.from_numpy(pixels[:, :4, :8].reshape(count, 6, 4, 4)).float() / 100
    return Examples(
        torch.from_numpy(pixels.astype(np.uint8)) if settings.freeze == "none" else maps,
        torch.from_numpy(labels),
        mix(np.arange(count, dtype=np.uint64) + np.uint64(100 * seed)),
        augment=settings.augment if train else (),
        seed=settings.seed,
    )


def folds_of(settings: Settings) -> Sequence[Fold]:
    train = examples(settings, IMAGES, 1)
    return undivided(train, examples(settings, 30, 2, train=False))


def trained(technique: Technique, values: dict[str, Any], *, on: bool) -> dict[str, Tensor]:
    settings, way = technique.settings(values), way_of(technique, on=on)
    train = examples(settings, IMAGES, 1)
    training = Training(fresh_network(settings, train, way), train, settings, autocast=way.autocast)
    for _ in range(EPOCHS):
        training.finish_epoch()
        training.next_epoch()
    return training.measured.state_dict()


def by_hand(
    technique: Technique, effect: Plainly | None = None, epochs: int = EPOCHS
) -> dict[str, Tensor]:
    plain = technique.settings({})
    train = examples(plain, IMAGES, 1)
    start = fresh_network(plain, train, Way(CLASSES, tiny(plain.freeze)))
    return (effect or technique.effect).weights_after(start, train, epochs)


def farthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def test_everything_that_changes_pixels_has_a_row() -> None:
    assert {*AUGMENTATIONS, *MIXING_AUGMENTATIONS} <= set(WHOLE)


@every
def test_off_equals_absent(technique: Technique) -> None:
    trial = trial_of(technique.settings(technique.off))
    end = run_trial(
        trial, folds_of(trial.settings), way=way_of(technique, on=False), record=lambda _: None
    )
    expected = by_hand(technique, Plainly(), end.outcome.best_epoch)
    assert farthest(end.network.state_dict(), expected) == 0


@every
def test_its_effect_is_that_by_hand(technique: Technique) -> None:
    found = trained(technique, technique.on, on=True)
    assert farthest(found, by_hand(technique)) <= technique.tolerance
    without = trained(technique, technique.off, on=False)
    assert farthest(found, without) > 3 * technique.tolerance


@every
@pytest.mark.parametrize("steps", [1, 3, 6, 8, 11, 13])  # of five beats an epoch
def test_saved_and_resumed_it_is_the_training_that_never_stopped(
    technique: Technique, steps: int, tmp_path: Path
) -> None:
    trial = trial_of(technique.settings({"momentum": 0.9, **technique.on}))
    way = way_of(technique, on=True)
    expect_resumed(trial, folds_of(trial.settings), way, after=steps, folder=tmp_path)


HEAD = {"freeze": "all", "weights": "none", "image_size": 32, "lr": 0.01, "epochs": 3}
EXPORTED = {
    **{name: {**row.base, **HEAD, **row.on} for name, row in TECHNIQUES.items()},
    **{
        name: {**HEAD, "freeze": 3, **row.on} if row.base else {**BASE, **row.on}
        for name, row in WHOLE.items()
    },
    "tta": {**HEAD, "tta": "flip"},
    "views": {**HEAD, "views": 2},
}


@pytest.mark.parametrize("values", EXPORTED.values(), ids=EXPORTED)
def test_exported_it_predicts_what_was_scored(
    values: dict[str, Any], colours: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    veduta.train(colours, out=run, engine="torch", console=Console(quiet=True), **values)
    _, found = logits_from_files(run, colours)
    with np.load(run / "scores" / "test.npz") as kept:
        expected = torch.from_numpy(kept["logits"]).double().log_softmax(1).numpy()
    assert np.abs(found - expected).max() < 1e-4
