"""The manifest of a small model for tests."""

from veduta.config.network_specs import Head, Preprocessing
from veduta.config.settings import Settings
from veduta.runs.artifact import Manifest

STATISTICS = (0.5, 0.5, 0.5)
MANIFEST = Manifest(
    format=1,
    veduta="0",
    model="efficientnet_lite0",
    classes=("nan", "007"),
    preprocessing=Preprocessing(
        image_size=32, filter="bicubic", fit="squash", mean=STATISTICS, std=STATISTICS
    ),
    head=Head(features=3, classes=2),
    engine="torch",
    engine_version="2.9",
    precision="f32",
    tta="none",
    decoder="pillow",
    weights="nowhere",
    trial="t0",
    settings=Settings(),
)
