"""What training a partly frozen backbone takes: from shapes alone, nothing is computed.

A head takes little beside the tail before it: convolutions keep maps of every image of a batch.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from veduta.models.backbones import headless, preprocessing_of
from veduta.models.freezing import Stages
from veduta.models.model import Model
from veduta.training.step import EVALUATION_MAPS

NUMBER = 4  # bytes, float32
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
