"""The registry of models: find one by name, build its network, list all of them."""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from veduta.config.settings import Settings
from veduta.errors import InputError, describe_unknown_name
from veduta.networks.catalogue.model import IMAGENET_MEAN, IMAGENET_STD, Model, Options
from veduta.networks.catalogue.pretrained import CLASSICS, LITES

if TYPE_CHECKING:
    from torch import nn


TRAINED_FROM_SCRATCH: dict[str, Any] = {"freeze": "none", "weights": "none"}

BUILTIN_FIELDS: dict[str, Any] = {
    "library": "veduta",
    "classifier": (),
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "filter": "bilinear",
    "license": "none",
    "source": "none: it is trained from scratch",
}

BUILTIN_MODELS = (
    Model(
        name="cnn",
        architecture="residual",
        parameters=1_239_360,
        image_size=128,
        features=256,
        cut="global average pooling",
        stages=(("stem",), *((f"stage{number}",) for number in range(1, 5)), ("pool",)),
        options=Options(image_size=128, channels=(32, 64, 128, 256)),
        used_options=frozenset({"channels"}),
        defaults={
            **TRAINED_FROM_SCRATCH,
            "augment": ("crop", "flip"),
            "optimizer": "sgd",
            "nesterov": True,
            "lr": 0.2,
            "weight_decay": 5e-4,
            "schedule": "one_cycle",
            "label_smoothing": 0.1,
            "epochs": 25,
        },
        **BUILTIN_FIELDS,
    ),
    Model(
        name="report_cnn",
        architecture="report_cnn",
        parameters=69_136,
        image_size=150,
        features=144,
        cut="its convolutions, flattened",
        stages=(("block1",), ("block2",), ("block3",), ("flatten",)),
        min_image_size=79,
        options=Options(image_size=150, channels=(64, 32, 16)),
        used_options=frozenset(
            {"channels", "pooling", "activation", "batch_norm", "norm_first", "untied_bias"}
        ),
        defaults={
            **TRAINED_FROM_SCRATCH,
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
        **BUILTIN_FIELDS,
    ),
    Model(
        name="mlp",
        architecture="mlp",
        parameters=0,
        image_size=32,
        features=3072,
        cut="the pixels themselves",
        stages=(("flatten",),),
        min_image_size=1,
        options=Options(image_size=32),
        defaults={
            **TRAINED_FROM_SCRATCH,
            "hidden": (256, 128),
            "batch_norm": True,
            "augment": ("crop", "flip"),
            "epochs": 30,
        },
        **BUILTIN_FIELDS,
    ),
)


@dataclass(frozen=True)
class ReportRow:
    """One row of the report's table of models.

    Attributes:
        title: name of the model in the report.
        megabytes: size of its weights.
        top1: top-1 accuracy on ImageNet's validation images in percent.
        top5: top-5 accuracy on ImageNet's validation images in percent.
        parameters: number of parameters as Keras counts them.
        depth: number of layers, including activations and batch normalization; None if not given.
        difference: why the number of parameters differs from that counted here, in words.
    """

    title: str
    megabytes: int
    top1: float
    top5: float
    parameters: int
    depth: int | None
    difference: str


SAME = "the same"
STATISTICS = "with the running statistics of batch normalization"
UNSCALED = "with the running statistics of batch normalization, which has no scale in Keras"
BIASED = "with the running statistics of batch normalization, and biases before it"

REPORT_TABLE: dict[str, ReportRow] = {
    "xception": ReportRow("Xception", 88, 79.0, 94.5, 22_910_480, 126, STATISTICS),
    "vgg16": ReportRow("VGG16", 528, 71.3, 90.1, 138_357_544, 23, SAME),
    "vgg19": ReportRow("VGG19", 549, 71.3, 90.0, 143_667_240, 26, SAME),
    "resnet50": ReportRow("ResNet50", 99, 74.9, 92.1, 25_636_712, 168, BIASED),
    "inception_v3": ReportRow("InceptionV3", 92, 77.9, 93.7, 23_851_784, 159, UNSCALED),
    "inception_resnet_v2": ReportRow(
        "InceptionResNetV2", 215, 80.3, 95.3, 55_873_736, 572, UNSCALED
    ),
    "mobilenet": ReportRow("MobileNet", 16, 70.4, 89.5, 4_253_864, 88, STATISTICS),
    "mobilenet_v2": ReportRow("MobileNetV2", 14, 71.3, 90.1, 3_538_984, 88, STATISTICS),
    "densenet121": ReportRow("DenseNet121", 33, 75.0, 92.3, 8_062_504, 121, STATISTICS),
    "densenet169": ReportRow("DenseNet169", 57, 76.2, 93.2, 14_307_880, 169, STATISTICS),
    "densenet201": ReportRow("DenseNet201", 80, 77.3, 93.6, 20_242_984, 201, STATISTICS),
    "nasnet_mobile": ReportRow("NASNetMobile", 23, 74.4, 91.9, 5_326_716, None, "not available"),
    "nasnet_large": ReportRow("NASNetLarge", 343, 82.5, 96.0, 88_949_818, None, STATISTICS),
}

UNAVAILABLE: dict[str, str] = {
    "nasnet_mobile": (
        "neither timm nor torchvision has it, so it cannot be trained; nasnet_large is similar in "
        "design, mobilenet_v2 in size"
    )
}
"""Models of the table that cannot be built: the reason, and what to use instead."""


MODELS: dict[str, Model] = {model.name: model for model in (*LITES, *BUILTIN_MODELS, *CLASSICS)}

TIMM_PREFIX = "timm:"
"""Prefix of the names of other networks of timm."""


def find_model(name: str) -> Model:
    """Return the model called `name`, with its default options.

    >>> find_model("efficientnet_lite0").features
    1280

    Raises:
        InputError: the model does not exist; the message names similar ones.
    """
    if name.startswith(TIMM_PREFIX):
        from veduta.networks.catalogue.pretrained import create_timm_model

        return create_timm_model(name.removeprefix(TIMM_PREFIX))
    if name in UNAVAILABLE:
        raise InputError(f"{name} is in the report's table, but {UNAVAILABLE[name]}")
    if name not in MODELS:
        raise InputError(describe_unknown_name("model", name, (*MODELS, f"{TIMM_PREFIX}NAME")))
    return MODELS[name]


def resolve_model(settings: Settings) -> Model:
    """Return the model that `settings` name, with their options.

    >>> resolve_model(Settings(model="report_cnn", channels=(8,), image_size=32)).features
    648

    Raises:
        InputError: the model does not exist, or the images are too small for it.
    """
    model = find_model(settings.model)
    return configure_model(model.name, resolve_options(settings, model))


def resolve_options(settings: Settings, model: Model) -> Options | None:
    """Return the options of a built-in network in `settings`; None for other networks."""
    if model.options is None:
        return None
    size = model.image_size if settings.image_size is None else settings.image_size
    options = {name: getattr(settings, name) for name in model.used_options if name != "channels"}
    if "channels" in model.used_options:
        options["channels"] = settings.channels or model.options.channels
    return replace(model.options, image_size=size, **options)


@cache
def configure_model(name: str, options: Options | None) -> Model:
    """Return the model called `name` with these options of a built-in network.

    The number of features, the number of parameters and the stages are those of the network, which
    is built on the meta device.

    Raises:
        InputError: the model does not exist, or the images are too small for it.
    """
    model = find_model(name)
    if options is None or options == model.options:
        return model
    import torch

    from veduta.networks.catalogue.builtin import DESIGNS

    design = DESIGNS[model.architecture]
    smallest = design.min_image_size(options)
    if options.image_size < smallest:
        raise create_size_error(model, options.image_size, smallest)
    with torch.device("meta"):
        network = design.build(options)
        shape = network(torch.empty(2, 3, options.image_size, options.image_size)).shape
    return replace(
        model,
        parameters=sum(p.numel() for p in network.parameters()),
        image_size=options.image_size,
        features=shape[1],
        stages=tuple((name,) for name, _ in network.named_children()),
        min_image_size=smallest,
        options=options,
    )


def create_size_error(model: Model, size: int, smallest: int) -> InputError:
    """Create the error for images that are too small for the strides of a model."""
    return InputError(
        f"image_size must be at least {smallest} for {model.name}, because of its strides; got "
        f"{size}: use its native size {model.image_size}, for example"
    )


def build_network(model: Model) -> "nn.Module":
    """Build the whole network with its 1000-way classifier, on torch's default device.

    A built-in network ends with its features. With `torch.device("meta")` the network has names and
    shapes but needs no memory. Its weights are those that its library initializes, to be replaced.
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


def list_models() -> list[dict[str, Any]]:
    """Return one row per model; models of the report that cannot be built come last."""
    rows = [_create_row(model) for model in MODELS.values()]
    return rows + [
        {"model": name, **_list_report_values(REPORT_TABLE[name]), "note": why}
        for name, why in UNAVAILABLE.items()
    ]


def _create_row(model: Model) -> dict[str, Any]:
    row = {
        "model": model.name,
        "parameters": model.parameters,
        "megabytes": round(model.parameters * 4 / 2**20),
        "features": model.features,
        "stages": len(model.stages),
        "image_size": model.image_size,
        "top1_percent": model.top1,
        "top5_percent": model.top5,
        "license": model.license,
        "weights": model.source,
    }
    return (
        row | _list_report_values(REPORT_TABLE[model.name]) if model.name in REPORT_TABLE else row
    )


def _list_report_values(row: ReportRow) -> dict[str, Any]:
    """Return the values in the report's table."""
    return {
        "report_name": row.title,
        "report_megabytes": row.megabytes,
        "report_parameters": row.parameters,
        "report_counts": row.difference,
        "report_depth": row.depth,
        "report_top1_percent": row.top1,
        "report_top5_percent": row.top5,
    }
