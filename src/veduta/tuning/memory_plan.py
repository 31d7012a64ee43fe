"""Estimates of the memory that trials need while they train, and how many tiles may run at once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import torch
from rich.filesize import decimal
from torch import Tensor, nn
from torch.func import functional_call

from veduta.config.network_specs import Head
from veduta.networks.backbones import build_headless_network, build_preprocessing
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import resolve_model
from veduta.networks.freezing import Stages
from veduta.networks.heads import describe_head
from veduta.optim.rules import RULES
from veduta.runs.events import MemoryPlanned
from veduta.runs.journal import Journal
from veduta.runtime.environment import count_cores
from veduta.runtime.memory import measure_anonymous_memory, measure_free_memory
from veduta.tracking.console import Console
from veduta.training.folds import Fold
from veduta.training.step import EVALUATION_BATCH_SIZE, EVALUATION_BATCH_SIZE_OF_MAPS
from veduta.tuning.trials.space import Tile, Trial, group_trials, plan_tiles

UNITS = {"MB": 10**6, "GB": 10**9}
FLOAT32_BYTES, FLOAT64_BYTES = 4, 8
HEAP_FACTOR = 1.2  # bytes of heap per byte in use, because of fragmentation
BACKWARD_MAPS = 3  # feature maps of the largest size that the backward pass holds at once
CHECKPOINT_COPIES = 2  # copies of all tensors while a checkpoint is written
HIDDEN_TENSORS = 3  # tensors of the widest hidden layer, held at once in evaluation
LOGIT_TENSORS = 4  # tensors of logits, held at once in training and evaluation


@dataclass(frozen=True, slots=True)
class TailSize:
    """Size of the trainable backbone stages, as numbers of tensor elements.

    Attributes:
        weights: weights and batch normalization statistics.
        activations: inputs and outputs of all layers per training image, which the backward pass
            needs.
        largest_activation: largest output of a layer per image.
    """

    weights: int
    activations: int
    largest_activation: int

    def estimate_activation_bytes(self, batch_size: int) -> int:
        """Return the larger of the bytes of activations in a training step and in evaluation."""
        backward = BACKWARD_MAPS * self.largest_activation
        training = batch_size * (self.activations + backward)
        return FLOAT32_BYTES * max(training, EVALUATION_BATCH_SIZE_OF_MAPS * backward)


@cache
def measure_tail(model: Model, image_size: int | None, frozen_stages: int) -> TailSize:
    """Return the size of the stages of `model` after the first `frozen_stages`.

    Args:
        model: entry of the model catalogue.
        image_size: image size in pixels; None for the image size of the model.
        frozen_stages: number of frozen stages; 0 if all stages train.
    """
    network = tail = build_headless_network(model)
    size = build_preprocessing(model, image_size).image_size
    maps = torch.empty((1, 3, size, size), device="meta")
    if frozen_stages:
        maps = _run_on_meta(Stages(network, model.stages[:frozen_stages]), maps)
        tail = Stages(network, model.stages[frozen_stages:])
    output_sizes = [0]

    def record_output(_module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if out is not inputs[0]:  # in-place layers allocate no output
            output_sizes.append(out.numel())

    layers = [m for m in tail.modules() if isinstance(m, nn.BatchNorm2d) or not list(m.children())]
    hooks = [layer.register_forward_hook(record_output) for layer in layers]
    _run_on_meta(tail, maps)
    for hook in hooks:
        hook.remove()
    weights = sum(tensor.numel() for tensor in tail.state_dict().values())
    return TailSize(weights, maps.numel() + sum(output_sizes), max(output_sizes))


def _run_on_meta(network: nn.Module, x: Tensor) -> Tensor:
    """Return the output of a network in evaluation mode on the meta device, without data."""
    state = {name: tensor.to("meta") for name, tensor in network.state_dict().items()}
    output: Tensor = functional_call(network.eval(), state, x)
    return output


@dataclass(frozen=True, slots=True)
class DataSizes:
    """Number of training images (of one fold), validation images (of all folds), classes, folds."""

    train: int
    validation: int
    classes: int
    folds: int = 1


def measure_data(folds: Sequence[Fold], classes: int) -> DataSizes:
    """Return the sizes of the data that trials train on."""
    train = max(len(fold.train) for fold in folds)
    validation = sum(len(fold.validation) for fold in folds)
    return DataSizes(train, validation, classes, len(folds))


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory that training is expected to need.

    Attributes:
        trials, groups, tiles: number of each.
        concurrent_tiles: number of tiles that train at once in the group with the most memory.
        planned: bytes of these tiles, and of the results of all trials.
        largest_tile: bytes of the largest of them.
        allowed: maximum number of bytes for all tiles.
    """

    trials: int
    groups: int
    tiles: int
    concurrent_tiles: int
    planned: int
    largest_tile: int
    allowed: int


def find_memory_limit(memory: str | None = None) -> int:
    """Return the number of bytes of the setting `memory`; by default half of the free memory.

    >>> find_memory_limit("1.5GB")
    1500000000
    """
    if memory is None:
        return measure_free_memory() // 2
    return int(float(memory[:-2]) * UNITS[memory[-2:]])


def estimate_tile_memory(tile: Tile, head: Head, sizes: DataSizes) -> int:
    """Return the maximum number of bytes that a tile takes while it trains.

    Args:
        tile: trials of one group.
        head: head of each of them.
        sizes: sizes of the data.
    """
    settings = tile[0].settings
    trials, images = len(tile), sizes.validation
    epochs = max(trial.settings.epochs for trial in tile)
    moments = RULES[settings.optimizer].moments
    # per fold: weights, gradients, moments, moving average; in addition, the best weights
    copies = (2 + moments + settings.averages_weights) * sizes.folds + 1
    weights = head.parameters
    logits = (3 if sizes.folds == 1 else 5) * sizes.classes * images * FLOAT32_BYTES
    correct = images * (epochs // 8 + epochs + 2)
    order = 5 * FLOAT64_BYTES * sizes.train
    if (frozen_stages := settings.frozen_stages) is None:
        activations = _estimate_head_activations(tile, head)
    else:
        tail = measure_tail(resolve_model(settings), settings.image_size, frozen_stages)
        weights += tail.weights
        saved = (copies - sizes.folds) * weights * FLOAT32_BYTES  # a checkpoint has no gradients
        training = tail.estimate_activation_bytes(settings.batch_size)
        activations = max(training, CHECKPOINT_COPIES * saved)
    per_trial = copies * weights * FLOAT32_BYTES + logits + correct
    return int(HEAP_FACTOR * (trials * per_trial + order + activations))


def _estimate_head_activations(tile: Tile, head: Head) -> int:
    """Return the larger of the bytes of activations in a training step and in evaluation."""
    trials, batch_size = len(tile), tile[0].settings.batch_size
    rates = {trial.settings.dropout for trial in tile}
    widest, input_bytes = max(head.hidden, default=0), head.features * FLOAT32_BYTES
    outputs = trials * head.classes
    # z and a; normalized z; scale and output of dropout
    forward = 2 + head.batch_norm + 2 * any(rates)
    # delta and derivative of the activation; centered delta; delta of the previous layer
    backward = 2 + head.batch_norm + (len(head.hidden) > 1)
    layer_bytes = (sum(head.hidden) * forward + widest * backward) * FLOAT32_BYTES
    layer_bytes += widest  # a boolean mask
    training = input_bytes + trials * layer_bytes + outputs * LOGIT_TENSORS * FLOAT32_BYTES
    if any(rates):
        dropped = 0 if head.hidden else len(rates) * head.features * FLOAT32_BYTES
        training += 3 * (widest or head.features) * FLOAT64_BYTES + dropped
    evaluation = input_bytes + trials * widest * HIDDEN_TENSORS * FLOAT32_BYTES
    evaluation += outputs * LOGIT_TENSORS * FLOAT64_BYTES
    return max(batch_size * training, EVALUATION_BATCH_SIZE * evaluation)


def count_concurrent_tiles(tiles: Sequence[Tile], tile_bytes: int, limit: int) -> int:
    """Return how many tiles may run at once: at most one per core, within the limit, at least one.

    Args:
        tiles: tiles of a group.
        tile_bytes: bytes of the largest of them.
        limit: maximum number of bytes for all.
    """
    return max(1, min(count_cores(), len(tiles), limit // tile_bytes))


def plan_memory(trials: Sequence[Trial], sizes: DataSizes, limit: int) -> MemoryPlan:
    """Return the memory plan of a search, whose groups run one after the other.

    Args:
        trials: all trials of the search.
        sizes: sizes of the data.
        limit: maximum number of bytes for all tiles.
    """
    groups = group_trials(trials)
    tile_count, largest = 0, (0, 0, 0)
    for group in groups:
        settings = group[0].settings
        head = describe_head(settings, resolve_model(settings).features, sizes.classes)
        tiles = plan_tiles(group, head.parameters)
        tile_bytes = max(estimate_tile_memory(tile, head, sizes) for tile in tiles)
        workers = count_concurrent_tiles(tiles, tile_bytes, limit)
        tile_count += len(tiles)
        largest = max(largest, (workers * tile_bytes, workers, tile_bytes))
    planned, concurrent_tiles, largest_tile = largest
    results = len(trials) * sizes.validation  # correctness of every trial at its best epoch
    return MemoryPlan(
        len(trials),
        len(groups),
        tile_count,
        concurrent_tiles=concurrent_tiles,
        planned=planned + results,
        largest_tile=largest_tile,
        allowed=limit,
    )


def announce_memory_plan(plan: MemoryPlan, journal: Journal, console: Console) -> None:
    """Print and journal how much memory training will need in addition to that in use."""
    in_use = measure_anonymous_memory()
    journal.append(MemoryPlanned(in_use=in_use, **asdict(plan)))
    console.say(
        f"memory      groups {plan.groups}, tiles {plan.tiles}, concurrent tiles "
        f"{plan.concurrent_tiles}: {decimal(plan.planned)} of at most {decimal(plan.allowed)}, in "
        f"addition to {decimal(in_use)} in use"
    )
    if plan.largest_tile > plan.allowed:
        console.warn(
            f"a tile of trials should fit in --memory; the largest takes "
            f"{decimal(plan.largest_tile)} of {decimal(plan.allowed)} allowed, and is trained "
            "nevertheless: increase the limit, or use fewer or narrower hidden layers"
        )
