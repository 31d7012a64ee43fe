"""Models by name: look one up, build its network, list all of them."""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from veduta.config.parsing import unknown
from veduta.config.settings import Settings
from veduta.errors import InputError
from veduta.networks.catalogue.model import IMAGENET_MEAN, IMAGENET_STD, Model, Options
from veduta.networks.catalogue.pretrained import CLASSICS, LITES

if TYPE_CHECKING:
    from torch import nn


WHOLE: dict[str, Any] = {"freeze": "none", "weights": "none"}

COMMON: dict[str, Any] = {
    "library": "veduta",
    "classifier": (),
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "filter": "bilinear",
    "licence": "none",
    "source": "none: it is trained from the start",
}

OWN = (
    Model(
        name="cnn",
        architecture="residual",
        parameters=1_239_360,
        image_size=128,
        features=256,
        cut="global average pooling",
        stages=(("stem",), *((f"stage{number}",) for number in range(1, 5)), ("pool",)),
        options=Options(image_size=128, channels=(32, 64, 128, 256)),
        uses=frozenset({"channels"}),
        defaults={
            **WHOLE,
            "augment": ("crop", "flip"),
            "optimizer": "sgd",
            "nesterov": True,
            "lr": 0.2,
            "weight_decay": 5e-4,
            "schedule": "one_cycle",
            "label_smoothing": 0.1,
            "epochs": 25,
        },
        **COMMON,
    ),
    Model(
        name="report_cnn",
        architecture="report_cnn",
        parameters=69_136,
        image_size=150,
        features=144,
        cut="its convolutions, flattened",
        stages=(("block1",), ("block2",), ("block3",), ("flatten",)),
        smallest=79,
        options=Options(image_size=150, channels=(64, 32, 16)),
        uses=frozenset(
            {"channels", "pooling", "activation", "batch_norm", "norm_first", "untied_bias"}
        ),
        defaults={
            **WHOLE,
            "pooling": "average",
            "hidden": (4000, 4000, 1000),
            "batch_norm": True,
            "dropout": 0.6,
            "dropout_layers": 2,
            "augment": ("flip", "perspective", "vertical_flip"),
            "optimizer": "adam",
            "lr": 3e-4,
            "batch_size": 32,
            "epochs": 100,
        },
        **COMMON,
    ),
    Model(
        name="mlp",
        architecture="mlp",
        parameters=0,
        image_size=32,
        features=3072,
        cut="the pixels themselves",
        stages=(("flatten",),),
        smallest=1,
        options=Options(image_size=32),
        defaults={
            **WHOLE,
            "hidden": (256, 128),
            "batch_norm": True,
            "augment": ("crop", "flip"),
            "epochs": 30,
        },
        **COMMON,
    ),
)


@dataclass(frozen=True)
class Reported:
    """One row of the table.

    Attributes:
        title: the report's name of the model.
        megabytes: size of its weights.
        top1, top5: per cent of ImageNet's validation images.
        parameters: as Keras counts them.
        depth: layers, activations and batch norm among them; None where it says none.
        beside: why the number of parameters is not the one counted here, in words.
    """

    title: str
    megabytes: int
    top1: float
    top5: float
    parameters: int
    depth: int | None
    beside: str


SAME = "the same"
STATISTICS = "with the statistics of batch norm"
UNSCALED = "with the statistics of batch norm, which has no scale there"
BIASED = "with the statistics of batch norm, and biases before it"

REPORTED: dict[str, Reported] = {
    "xception": Reported("Xception", 88, 79.0, 94.5, 22_910_480, 126, STATISTICS),
    "vgg16": Reported("VGG16", 528, 71.3, 90.1, 138_357_544, 23, SAME),
    "vgg19": Reported("VGG19", 549, 71.3, 90.0, 143_667_240, 26, SAME),
    "resnet50": Reported("ResNet50", 99, 74.9, 92.1, 25_636_712, 168, BIASED),
    "inception_v3": Reported("InceptionV3", 92, 77.9, 93.7, 23_851_784, 159, UNSCALED),
    "inception_resnet_v2": Reported(
        "InceptionResNetV2", 215, 80.3, 95.3, 55_873_736, 572, UNSCALED
    ),
    "mobilenet": Reported("MobileNet", 16, 70.4, 89.5, 4_253_864, 88, STATISTICS),
    "mobilenet_v2": Reported("MobileNetV2", 14, 71.3, 90.1, 3_538_984, 88, STATISTICS),
    "densenet121": Reported("DenseNet121", 33, 75.0, 92.3, 8_062_504, 121, STATISTICS),
    "densenet169": Reported("DenseNet169", 57, 76.2, 93.2, 14_307_880, 169, STATISTICS),
    "densenet201": Reported("DenseNet201", 80, 77.3, 93.6, 20_242_984, 201, STATISTICS),
    "nasnet_mobile": Reported("NASNetMobile", 23, 74.4, 91.9, 5_326_716, None, "not here"),
    "nasnet_large": Reported("NASNetLarge", 343, 82.5, 96.0, 88_949_818, None, STATISTICS),
}

NOT_HERE: dict[str, str] = {
    "nasnet_mobile": (
        "neither timm nor torchvision has it, so it cannot be trained; nasnet_large is of its "
        "kind, mobilenet_v2 of its size"
    )
}
"""Models of the table that cannot be built: why, and what to take instead."""


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
        from veduta.networks.catalogue.pretrained import timm_model

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

    from veduta.networks.catalogue.builtin import DESIGNS

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
        from veduta.networks.catalogue.builtin import DESIGNS

        network = DESIGNS[model.architecture].build(model.options)
    elif model.library == "timm":
        import timm

        network = timm.create_model(model.architecture, pretrained=False)
    else:
        import torchvision

        network = torchvision.models.get_model(model.architecture, weights=None)
    return network


def listed() -> list[dict[str, Any]]:
    """One row a model; those of the report's table that cannot be built come last."""
    rows = [_row(model) for model in MODELS.values()]
    return rows + [
        {"model": name, **_beside(REPORTED[name]), "note": why} for name, why in NOT_HERE.items()
    ]


def _row(model: Model) -> dict[str, Any]:
    row = {
        "model": model.name,
        "parameters": model.parameters,
        "megabytes": round(model.parameters * 4 / 2**20),
        "features": model.features,
        "stages": len(model.stages),
        "image_size": model.image_size,
        "top1_percent": model.top1,
        "top5_percent": model.top5,
        "licence": model.licence,
        "weights": model.source,
    }
    return row | _beside(REPORTED[model.name]) if model.name in REPORTED else row


def _beside(row: Reported) -> dict[str, Any]:
    """What the report's table says."""
    return {
        "report_name": row.title,
        "report_megabytes": row.megabytes,
        "report_parameters": row.parameters,
        "report_counts": row.beside,
        "report_depth": row.depth,
        "report_top1_percent": row.top1,
        "report_top5_percent": row.top5,
    }
