"""Initial weights of a whole network, for `--weights none`: the seed decides them, nothing else."""

import torch
from torch import Tensor, nn

from veduta.models.fitting import COUNTER, State
from veduta.runtime import streams


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
