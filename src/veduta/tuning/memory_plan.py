"""Memory that trials need while they train, and how many tiles fit side by side."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import torch
from rich.filesize import decimal
from torch import Tensor, nn
from torch.func import functional_call

from veduta.networks.backbones import headless, preprocessing_of
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import model_of
from veduta.networks.freezing import Stages, frozen_stages
from veduta.networks.heads import Head, head_of
from veduta.optim.rules import RULES
from veduta.runs.journal import Journal
from veduta.runtime.environment import processors
from veduta.runtime.memory import anonymous_memory, free_memory
from veduta.tracking.console import Console
from veduta.training.folds import Fold
from veduta.training.step import EVALUATION_BATCH, EVALUATION_MAPS
from veduta.tuning.trials.groups import Tile, groups, tiles
from veduta.tuning.trials.space import Trial

GRADIENTS = 3  # maps as large as the largest that the backward pass has at a time


@dataclass(frozen=True, slots=True)
class TailCost:
    """Numbers in memory for the stages behind the cut.

    Attributes:
        numbers: weights, and statistics of batch norm.
        kept: of a training image: what goes in, and what every layer gives, for the backward pass.
        widest: the most that one layer gives of an image.
    """

    numbers: int
    kept: int
    widest: int

    def passing(self, batch: int) -> int:
        """Bytes of activations: of a training step or of a part in evaluation, the larger."""
        step = batch * (self.kept + GRADIENTS * self.widest)
        return NUMBER * max(step, EVALUATION_MAPS * GRADIENTS * self.widest)


@cache
def tail_cost(model: Model, image_size: int | None, frozen: int) -> TailCost:
    """The cost of the stages of `model` behind the first `frozen`; of all of it behind 0.

    Args:
        model: its registry entry.
        image_size: pixels a side; None for that of the model.
        frozen: how many stages do not train.
    """
    network = tail = headless(model)
    size = preprocessing_of(model, image_size).image_size
    maps = torch.empty((1, 3, size, size), device="meta")
    if frozen:
        maps = _on_meta(Stages(network, model.stages[:frozen]), maps)
        tail = Stages(network, model.stages[frozen:])
    given = [0]

    def note(_module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if out is not inputs[0]:  # what works in place keeps nothing of its own
            given.append(out.numel())

    layers = [m for m in tail.modules() if isinstance(m, nn.BatchNorm2d) or not list(m.children())]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    _on_meta(tail, maps)
    for hook in hooks:
        hook.remove()
    numbers = sum(tensor.numel() for tensor in tail.state_dict().values())
    return TailCost(numbers, maps.numel() + sum(given), max(given))


def _on_meta(network: nn.Module, x: Tensor) -> Tensor:
    """What a network gives, in evaluation mode: its shape alone."""
    shapes = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    found: Tensor = functional_call(network.eval(), shapes, x)
    return found


UNITS = {"MB": 10**6, "GB": 10**9}
NUMBER, EXACT = 4, 8  # bytes: float32; float64, 64-bit integers
HEAP = 1.2  # bytes from the system for each in use: blocks of many sizes leave holes between them
COPIES = 2  # of a checkpoint, while it is made
BLOCK, OUTPUT = 3, 4  # tensors alive of the widest hidden layer in evaluation, of logits always


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many images train (in a fold) and choose (in all folds), classes, and folds."""

    train: int
    validation: int
    classes: int
    folds: int = 1


def sizes_of(folds: Sequence[Fold], classes: int) -> Sizes:
    """The sizes of what trials train on."""
    train = max(len(fold.train) for fold in folds)
    return Sizes(train, sum(len(fold.validation) for fold in folds), classes, len(folds))


@dataclass(frozen=True, slots=True)
class Residency:
    """What will be in memory while trials train.

    Attributes:
        trials, groups, tiles: how many there are.
        side_by_side: tiles that run at the same time, where most do.
        planned: bytes of these tiles, and of what is kept of trials that have ended.
        largest: bytes of the largest tile.
        allowed: bytes that tiles may take.
    """

    trials: int
    groups: int
    tiles: int
    side_by_side: int
    planned: int
    largest: int
    allowed: int


def allowed_bytes(memory: str | None = None) -> int:
    """What tiles may take: as the setting says, else half of what is free now.

    >>> allowed_bytes("1.5GB")
    1500000000
    """
    if memory is None:
        return free_memory() // 2
    return int(float(memory[:-2]) * UNITS[memory[-2:]])


def tile_bytes(tile: Tile, head: Head, sizes: Sizes) -> int:
    """The most that a tile takes while it trains.

    Args:
        tile: trials of one group.
        head: of each of them.
        sizes: of the data.
    """
    settings = tile[0].settings
    trials, count = len(tile), sizes.validation
    epochs = max(trial.settings.epochs for trial in tile)
    own = (2 + RULES[settings.optimizer].moments + (settings.ema > 0)) * sizes.folds
    learned = (own + 1) * head.parameters * NUMBER
    logits = (3 if sizes.folds == 1 else 5) * sizes.classes * count * NUMBER
    hits = count * (epochs // 8 + epochs + 2)
    order = 5 * EXACT * sizes.train
    if settings.freeze != "all":
        tail = tail_cost(model_of(settings), settings.image_size, frozen_stages(settings))
        learned += (own + 1) * tail.numbers * NUMBER
        held = (own + 1 - sizes.folds) * (head.parameters + tail.numbers) * NUMBER  # no gradients
        passing = max(tail.passing(settings.batch_size), COPIES * held)
    else:
        passing = _passing(tile, head)
    return int(HEAP * (trials * (learned + logits + hits) + order + passing))


def _passing(tile: Tile, head: Head) -> int:
    """Activations: of a training step or of a block of evaluation, whichever is more."""
    trials, batch = len(tile), tile[0].settings.batch_size
    rates = {trial.settings.dropout for trial in tile}
    widest, inputs = max(head.hidden, default=0), head.features * NUMBER
    outputs = trials * head.classes
    kept = 2 + head.batch_norm + 2 * any(rates)  # z, a; normalised z; scale and out of dropout
    back = 2 + head.batch_norm + (len(head.hidden) > 1)  # delta, slope; centred; the delta before
    layers = trials * ((sum(head.hidden) * kept + widest * back) * NUMBER + widest)  # and a mask
    step = batch * (inputs + layers + outputs * OUTPUT * NUMBER)
    if any(rates):
        copies = 0 if head.hidden else len(rates) * head.features * NUMBER
        step += batch * (3 * (widest or head.features) * EXACT + copies)
    block = inputs + trials * widest * BLOCK * NUMBER + outputs * OUTPUT * EXACT
    return max(step, EVALUATION_BATCH * block)


def side_by_side_of(cut: Sequence[Tile], bytes_each: int, allowed: int) -> int:
    """How many tiles may run at the same time: one a processor, as far as memory goes, never none.

    Args:
        cut: the tiles of a group.
        bytes_each: of the largest of them.
        allowed: bytes for all.
    """
    return max(1, min(processors(), len(cut), allowed // bytes_each))


def residency(
    trials: Sequence[Trial], sizes: Sizes, allowed: int, *, apart: bool = False
) -> Residency:
    """The plan of a whole search: what the groups, one after the other, will take at most.

    Args:
        trials: of the search.
        sizes: of the data.
        allowed: bytes for all.
        apart: whether each trial is a tile of its own, as where trials are halved.
    """
    cut, most = [], (0, 0, 0)
    for group in groups(trials):
        head = head_of(group[0].settings, model_of(group[0].settings).features, sizes.classes)
        mine = [(trial,) for trial in group] if apart else tiles(group, head.parameters)
        each = max(tile_bytes(tile, head, sizes) for tile in mine)
        workers = side_by_side_of(mine, each, allowed)
        cut.append(len(mine))
        most = max(most, (workers * each, workers, each))
    kept = len(trials) * sizes.validation  # what the best epoch of each got right
    return Residency(len(trials), len(cut), sum(cut), most[1], most[0] + kept, most[2], allowed)


def announce(resident: Residency, journal: Journal, console: Console) -> None:
    """Say and journal what is going to be in memory, on top of what is there now."""
    now = anonymous_memory()
    journal.append("residency", in_use=now, **asdict(resident))
    console.say(
        f"memory      groups {resident.groups}, tiles {resident.tiles}, "
        f"side by side {resident.side_by_side}: {decimal(resident.planned)} of the "
        f"{decimal(resident.allowed)} allowed, besides {decimal(now)} in use"
    )
    if resident.largest > resident.allowed:
        console.warn(
            f"a tile of trials should fit in --memory; the largest takes "
            f"{decimal(resident.largest)} of {decimal(resident.allowed)} allowed, and is tried all "
            "the same: allow more, or give the head fewer or narrower hidden layers"
        )
