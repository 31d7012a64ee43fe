"""State dictionaries of networks: matching them to an architecture, and random initial ones."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from veduta.errors import WeightsError
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import build_network
from veduta.runtime import streams

COUNTER = "num_batches_tracked"  # of batch norm: never read in evaluation, absent in old files
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
State = dict[str, Tensor]


def fit(model: Model, found: Mapping[str, Tensor], *, in_order: bool = False) -> State:
    """The tensors of a file under the network's names; `in_order` matches them by position.

    The classifier may be missing or have another number of classes: it is left out then.

    Raises:
        WeightsError: a tensor of the network is missing, unknown, of another shape, or not finite.
    """
    with torch.device("meta"):
        expected = {n: tuple(t.shape) for n, t in build_network(model).state_dict().items()}
    if in_order:
        found = dict(zip(expected, found.values(), strict=True))
    state = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    head = classifier_names(model, expected)
    if any(tuple(state[n].shape) != expected[n] if n in state else True for n in head):
        state = {name: tensor for name, tensor in state.items() if name not in head}
        expected = {name: shape for name, shape in expected.items() if name not in head}
    for name in expected:
        if name.endswith(COUNTER):
            state.setdefault(name, torch.tensor(0))
    if faults := misfits(expected, state):
        raise WeightsError(
            f"weights for {model.name} must have its tensors; {faults}; "
            f"give a state dict of {model.library}'s {model.architecture}"
        )
    return state


def misfits(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> str:
    """What differs between a network's tensors and a file's: the first phrases; "" where nothing.

    >>> misfits({"bias": (2,)}, {"bias": torch.zeros(3)})
    'bias is (3,) instead of (2,)'
    """
    faults = list(_misfits(expected, state))
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return ", ".join(faults[:3]) + more


def _misfits(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> Iterator[str]:
    for name, shape in expected.items():
        if name not in state:
            yield f"{name} {shape} is missing"
        elif tuple(state[name].shape) != shape:
            yield f"{name} is {tuple(state[name].shape)} instead of {shape}"
        elif name.endswith(COUNTER):
            continue
        elif state[name].dtype not in FLOATS:
            yield f"{name} is {str(state[name].dtype).removeprefix('torch.')}, not floating point"
        elif not torch.isfinite(state[name]).all():
            yield f"{name} holds values that are not finite"
    yield from (f"{name} is unknown" for name in state if name not in expected)


def classifier_names(model: Model, names: Mapping[str, object]) -> list[str]:
    """Which of a network's tensors belong to its classifier."""
    parts = tuple(f"{part}." for part in model.classifier)
    return [name for name in names if name.startswith(parts)]


def random_state(network: nn.Module, seed: int) -> State:
    """Initial weights, each tensor a pure function of (seed, its name, its shape).

    Kernels are uniform with He's variance 2 / fan-in (He et al. 2015, arXiv 1502.01852), offsets
    zero, untied ones too, batch norm the identity. What a module names in `zero` starts at 0.
    """
    zero = {
        f"{prefix}.{name}".removeprefix(".")
        for prefix, module in network.named_modules()
        for name in getattr(module, "zero", ())
    }
    return {
        name: torch.zeros(t.shape) if name in zero else _initial(name, t.shape, seed)
        for name, t in network.state_dict().items()
    }


def _initial(name: str, shape: torch.Size, seed: int) -> Tensor:
    if len(shape) < 2 or name.endswith(".bias"):
        unit = name.endswith((".weight", "running_var"))
        counter = name.endswith(COUNTER)
        return torch.full(shape, int(unit), dtype=torch.int64 if counter else torch.float32)
    bound = (6 / shape[1:].numel()) ** 0.5
    numbers = streams.tensor(streams.stream(seed, "weights", name, *shape), tuple(shape))
    return torch.from_numpy((2 * numbers - 1) * bound).float()
