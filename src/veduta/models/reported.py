"""The report's table of pretrained models (section 4.9): what it says, beside what is counted here.

Its figures are those of Keras. They count the running statistics of batch norm as parameters, and
some of its networks are built a little differently; `beside` says how, and a test does the sum.
"""

from dataclasses import dataclass


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
