"""Any network of timm under `timm:NAME`: its entry is made from what timm says of it."""

from functools import cache

import torch
from torch import nn

from veduta.config.parsing import unknown
from veduta.errors import InputError
from veduta.models.model import Model

RULE = "timm:NAME takes a network of timm that classifies images by a vector of features"


@cache
def timm_model(name: str) -> Model:
    """The entry of timm's network `name`, a tag such as `.in1k` included where it has one.

    Raises:
        InputError: timm has none, or it does not give a vector of features.
    """
    import timm

    if not timm.is_model(name):
        raise InputError(unknown("model of timm", name, timm.list_models()))
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.classifier or len(known.mean) != 3:
        raise InputError(f"{RULE}; of {name} it does not say how it is cut: take another")
    parts = (known.classifier,) if isinstance(known.classifier, str) else tuple(known.classifier)
    size = known.input_size[-1]
    smallest = known.min_input_size[-1] if known.min_input_size else 32
    parameters, features = _measured(name, parts, size)
    return Model(
        name=f"timm:{name}",
        architecture=name,
        library="timm",
        parameters=parameters,
        image_size=size,
        features=features,
        cut="before its classifier",
        classifier=parts,
        stages=(),
        mean=(known.mean[0], known.mean[1], known.mean[2]),
        std=(known.std[0], known.std[1], known.std[2]),
        filter="bilinear" if known.interpolation == "bilinear" else "bicubic",
        licence=known.license or "unknown",
        source="timm's hub, or a file",
        smallest=min(smallest, size),
        fixed_size=bool(known.fixed_input_size),
    )


def _measured(name: str, classifier: tuple[str, ...], size: int) -> tuple[int, int]:
    """How many parameters a network has, and how wide its features are."""
    import timm

    try:
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False).eval()
            parameters = sum(p.numel() for p in network.parameters())
            for part in classifier:
                network.set_submodule(part, nn.Identity())
            shape = tuple(network(torch.empty(1, 3, size, size)).shape[1:])
    except (RuntimeError, AttributeError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{RULE}; {name} does not: {reason}; take another") from error
    if len(shape) != 1:
        raise InputError(f"{RULE}; {name} gives {shape}: take another")
    return parameters, int(shape[0])
