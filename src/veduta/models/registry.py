"""The networks that can be trained, found by name or by what settings describe.

A name is that of an entry here, or `timm:NAME` for any other network of timm. Whatever takes a
network takes its entry; `model_of` gives the one that a user's settings describe, which for our own
networks depends on more than the name.
"""

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from veduta.config.parsing import unknown
from veduta.config.settings import Settings
from veduta.errors import InputError
from veduta.models.imagenet import CLASSICS
from veduta.models.lites import LITES
from veduta.models.model import Model, Options
from veduta.models.own import OWN
from veduta.models.reported import NOT_HERE

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, Model] = {model.name: model for model in (*LITES, *OWN, *CLASSICS)}

TIMM = "timm:"
"""What a name begins with that timm shall find."""


def find_model(name: str) -> Model:
    """The model called `name`, as it is by default.

    >>> find_model("efficientnet_lite0").features
    1280

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name.startswith(TIMM):
        from veduta.models.timm_models import timm_model

        return timm_model(name.removeprefix(TIMM))
    if name in NOT_HERE:
        raise InputError(f"{name} is in the report's table, but {NOT_HERE[name]}")
    if name not in MODELS:
        raise InputError(unknown("model", name, (*MODELS, f"{TIMM}NAME")))
    return MODELS[name]


def model_of(settings: Settings) -> Model:
    """The network that `settings` describe.

    >>> model_of(Settings(model="report_cnn", channels=(8,), image_size=32)).features
    648

    Raises:
        InputError: there is none, or nothing would be left of such small images.
    """
    model = find_model(settings.model)
    return with_options(model.name, options_of(settings, model))


def options_of(settings: Settings, model: Model) -> Options | None:
    """What `settings` say of a network of our own; None for any other."""
    if model.options is None:
        return None
    size = model.image_size if settings.image_size is None else settings.image_size
    chosen = {name: getattr(settings, name) for name in model.uses if name != "channels"}
    if "channels" in model.uses:
        chosen["channels"] = settings.channels or model.options.channels
    return replace(model.options, image_size=size, **chosen)


@cache
def with_options(name: str, options: Options | None) -> Model:
    """The entry called `name`, for a network of our own with these options.

    Its features, parameters and stages are those of the network, found without computing anything.

    Raises:
        InputError: there is none, or nothing would be left of such small images.
    """
    model = find_model(name)
    if options is None or options == model.options:
        return model
    import torch

    from veduta.models.networks import DESIGNS

    design = DESIGNS[model.architecture]
    smallest = design.smallest(options)
    if options.image_size < smallest:
        raise too_small(model, options.image_size, smallest)
    with torch.device("meta"):
        network = design.build(options)
        shape = network(torch.empty(2, 3, options.image_size, options.image_size)).shape
    return replace(
        model,
        parameters=sum(p.numel() for p in network.parameters()),
        image_size=options.image_size,
        features=shape[1],
        stages=tuple((name,) for name, _ in network.named_children()),
        smallest=smallest,
        options=options,
    )


def too_small(model: Model, size: int, smallest: int) -> InputError:
    """The error of images of which the strides of `model` would leave nothing."""
    return InputError(
        f"image_size must be at least {smallest} for {model.name}, whose strides leave "
        f"nothing of smaller images; got {size}; its native size is {model.image_size}"
    )


def build_network(model: Model) -> "nn.Module":
    """The whole network with its 1000-way classifier, on torch's default device.

    A network of our own ends with its features. Under `torch.device("meta")` it has names and
    shapes, and takes no memory. Its weights are whatever the library fills in: they are there to be
    replaced.
    """
    network: nn.Module
    if model.options is not None:
        from veduta.models.networks import DESIGNS

        network = DESIGNS[model.architecture].build(model.options)
    elif model.library == "timm":
        import timm

        network = timm.create_model(model.architecture, pretrained=False)
    else:
        import torchvision

        network = torchvision.models.get_model(model.architecture, weights=None)
    return network
