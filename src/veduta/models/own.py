"""Networks of our own: the table, readable without loading torch.

They have no pretrained weights, so everything in them trains. Their entries hold what they are by
default; `registry.with_options` derives what a user's settings make of them.
"""

from typing import Any

from veduta.models.model import IMAGENET_MEAN, IMAGENET_STD, Model, Options

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
