"""What is known of a network before it is built: one entry of the registry.

Apart from the table, so that whatever takes a network takes this, whether the table, a library's
name or a user's settings made it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Channels = tuple[float, float, float]
Stages = tuple[tuple[str, ...], ...]

HALF: Channels = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


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
class Options:
    """What a network of our own is built with; names and meanings are those of the settings.

    What a network does not use stays at its default, so that equal networks have equal options.
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
    """One network: as its authors trained it on ImageNet, or of our own.

    Attributes:
        name: what users call it.
        architecture: what its library calls it.
        library: which library builds it, `timm`, `torchvision` or `veduta`.
        parameters: how many the whole network has, its 1000-way classifier included; of a network
            of our own, those before its head.
        image_size: pixels a side that it was trained at, or is meant for.
        features: width of its features; at any image size, but for our own.
        cut: where the network is cut to give features, in words.
        classifier: the submodules that are left out for features.
        stages: the parts of the network up to its features, in order, those that belong together
            in one stage; between two stages it may be cut. Empty where it is not known as a
            sequence of parts.
        mean, std: of the channels red, green, blue, for pixels in [0, 1].
        filter: with which images were resized in training: `bicubic` or `bilinear`.
        licence: of the pretrained weights, `none` where there are none.
        source: where the pretrained weights come from, in words.
        smallest: pixels a side below which nothing is left after its strides.
        fixed_size: whether it takes images of `image_size` alone.
        packaged: the file that brings them, or None where the library's hub does.
        top1, top5: per cent of ImageNet's validation images, as the authors published it.
        options: what a network of our own is built with.
        uses: the settings among its options that change it.
        defaults: what settings are where neither the user nor a preset of the head says.
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
    filter: str
    licence: str
    source: str
    smallest: int = 8
    fixed_size: bool = False
    packaged: Packaged | None = None
    top1: float | None = None
    top5: float | None = None
    options: Options | None = None
    uses: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def own(self) -> bool:
        """Whether it is a network of ours, which has no pretrained weights."""
        return self.library == "veduta"
