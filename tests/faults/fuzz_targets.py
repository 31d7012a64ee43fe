"""Functions that read untrusted bytes; only errors of Veduta may be raised.

Hypothesis, and atheris in longer runs, call these functions with mutations of the same seeds.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tests.support.image_files import RGB, encode, encode_oriented, make_long_gif, make_png16
from tests.support.image_files import WIDE as GRAY_16
from veduta.config.network_specs import Head, Preprocessing
from veduta.config.parsing import parse_grid, parse_settings, read_file
from veduta.config.settings import Settings
from veduta.data.decode import DECODER, MAX_PIXELS, decode
from veduta.data.folder import read_folder
from veduta.errors import DecodeError, InputError, VedutaError
from veduta.inference.classifier import load_classifier
from veduta.networks.weights import read_safetensors
from veduta.runs.artifact import MANIFEST, TENSORS, Manifest, write_artifact
from veduta.runs.provenance import FORMAT

SIZE = 8
FEATURES = 3 * SIZE * SIZE

IMAGES = {
    "jpeg": encode(RGB, "JPEG", quality=95),
    "progressive jpeg": encode_oriented(6, "JPEG") + encode(RGB, "JPEG", progressive=True),
    "png": encode_oriented(3),
    "png of 16 bits": make_png16(GRAY_16),
    "gif": make_long_gif(3),
    "webp": encode(RGB, "WEBP", lossless=True),
    "tiff": encode(RGB, "TIFF", compression="tiff_lzw"),
    "bmp": encode(RGB, "BMP"),
}

CONFIGURATION = b"""\
model: efficientnet_lite0
lr: 3e-4
hidden: [256, 128]
betas: 0.9x0.999
augment: crop+flip
patience: none
batch_norm: true
grid: {lr: [1e-3, 1e-2], epochs: "1,2", dropout: 0.5}
run: {data: somewhere, date: 2024-02-29}
"""

TABLE = b"""\
image_path,label,split
a.png,"red, or so",train
b.png,blue,train
c.png,red,val
d.png,,predict
"""


@cache
def get_folder() -> Path:
    """Return a folder for files, with images and a small model."""
    folder = Path(tempfile.mkdtemp(prefix="veduta-fuzz-"))
    half = (0.5, 0.5, 0.5)
    manifest = Manifest(
        format=FORMAT,
        veduta="0",
        model="mlp",
        classes=("blue", "red"),
        preprocessing=Preprocessing(
            image_size=SIZE, filter="bicubic", fit="squash", mean=half, std=half
        ),
        head=Head(
            features=FEATURES,
            classes=2,
            hidden=(5,),
            activation="relu",
            batch_norm=False,
            dropout=0.0,
        ),
        engine="torch",
        engine_version="0",
        precision="f32",
        tta="none",
        decoder=DECODER,
        weights="none",
        trial="t0",
        settings=Settings(model="mlp", weights="none", image_size=SIZE, hidden=(5,)),
    )
    shapes = {"dense.0.weight": (5, FEATURES), "dense.0.bias": 5, "dense.1.weight": (2, 5)}
    tensors = {f"head.{name}": torch.ones(shape) for name, shape in shapes.items()}
    write_artifact(folder / "model", manifest, {**tensors, "head.dense.1.bias": torch.ones(2)})
    for name in ("a", "b", "c", "d"):
        (folder / f"{name}.png").write_bytes(IMAGES["png"])
    return folder


def write_file(name: str, data: bytes) -> Path:
    """Write a file and return its path."""
    path = get_folder() / name
    path.write_bytes(data)
    return path


def copy_model() -> Path:
    """Return a copy of the model that may be changed."""
    copy = get_folder() / "copy"
    shutil.copytree(get_folder() / "model", copy, dirs_exist_ok=True)
    return copy


def check_lines(error: VedutaError) -> None:
    """Check that each fault is one line of readable length."""
    for line in getattr(error, "faults", (str(error),)):
        assert "\n" not in line
        assert 0 < len(line) < 2000


def decode_image(data: bytes) -> None:
    """Decode an image file."""
    try:
        pixels = decode(data)
    except DecodeError as error:
        check_lines(error)
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    assert 0 < pixels.size <= 3 * MAX_PIXELS


def load_model(model: Path) -> None:
    """Load a model and classify an image; other versions give warnings."""
    warnings: list[str] = []
    try:
        classifier = load_classifier(model, warn=warnings.append)
    except InputError as error:
        check_lines(error)
        return
    size = classifier.manifest.preprocessing.image_size
    if size <= 256:
        assert np.isfinite(
            classifier.compute_probabilities(np.zeros((1, size, size, 3), np.uint8))
        ).all()


def load_manifest(data: bytes) -> None:
    """Load a model with another manifest."""
    copy = copy_model()
    (copy / MANIFEST).write_bytes(data)
    load_model(copy)


def load_tensors(data: bytes) -> None:
    """Load a model whose weights have a valid hash, and read the same file as weights."""
    copy = copy_model()
    (copy / TENSORS).write_bytes(data)
    content = json.loads((copy / MANIFEST).read_text())
    content["files"][0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (copy / MANIFEST).write_text(json.dumps(content))
    load_model(copy)
    with suppress(VedutaError):
        read_safetensors(copy / TENSORS)


def read_configuration(data: bytes) -> None:
    """Read a configuration file."""
    try:
        values = read_file(write_file("settings.yaml", data))
    except InputError as error:
        check_lines(error)
        return
    grid = values.pop("grid", {})
    check_lines(InputError("faults", *parse_settings(values)[1], *parse_grid(grid)[1]))


def read_table(data: bytes) -> None:
    """Read a table of images."""
    try:
        read_folder(write_file("table.csv", data))
    except InputError as error:
        check_lines(error)


Target = Callable[[bytes], None]


def list_targets() -> dict[str, tuple[Target, list[bytes]]]:
    """Return each function with its seeds, by name."""
    model = get_folder() / "model"
    return {
        "decode": (decode_image, list(IMAGES.values())),
        "manifest": (load_manifest, [(model / MANIFEST).read_bytes()]),
        "tensors": (load_tensors, [(model / TENSORS).read_bytes()]),
        "configuration": (read_configuration, [CONFIGURATION]),
        "table": (read_table, [TABLE]),
    }
