"""What takes bytes from outside: one function each, out of which nothing but our errors may come.

Hypothesis and, in a longer job, atheris call the same functions with mutations of the same seeds.
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

from tests.support.image_files import RGB, long_gif, png16, saved, turned
from tests.support.image_files import WIDE as GREY_16
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
    "jpeg": saved(RGB, "JPEG", quality=95),
    "progressive jpeg": turned(6, "JPEG") + saved(RGB, "JPEG", progressive=True),
    "png": turned(3),
    "png of 16 bits": png16(GREY_16),
    "gif": long_gif(3),
    "webp": saved(RGB, "WEBP", lossless=True),
    "tiff": saved(RGB, "TIFF", compression="tiff_lzw"),
    "bmp": saved(RGB, "BMP"),
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
def folder() -> Path:
    """A place for files, and a small model in it."""
    place = Path(tempfile.mkdtemp(prefix="veduta-fuzz-"))
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
    write_artifact(place / "model", manifest, {**tensors, "head.dense.1.bias": torch.ones(2)})
    for name in ("a", "b", "c", "d"):
        (place / f"{name}.png").write_bytes(IMAGES["png"])
    return place


def written(name: str, data: bytes) -> Path:
    path = folder() / name
    path.write_bytes(data)
    return path


def copied() -> Path:
    """The model in a folder of its own, which may be changed."""
    copy = folder() / "copy"
    shutil.copytree(folder() / "model", copy, dirs_exist_ok=True)
    return copy


def in_lines(error: VedutaError) -> None:
    """A fault is a line that can be read."""
    for line in getattr(error, "faults", (str(error),)):
        assert "\n" not in line
        assert 0 < len(line) < 2000


def decoding(data: bytes) -> None:
    try:
        pixels = decode(data)
    except DecodeError as error:
        in_lines(error)
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2:] == (3,)
    assert 0 < pixels.size <= 3 * MAX_PIXELS


def loading(model: Path) -> None:
    """A model that loads also says something of an image; other versions are only warned about."""
    told: list[str] = []
    try:
        classifier = load_classifier(model, warn=told.append)
    except InputError as error:
        in_lines(error)
        return
    size = classifier.manifest.preprocessing.image_size
    if size <= 256:
        assert np.isfinite(
            classifier.compute_probabilities(np.zeros((1, size, size, 3), np.uint8))
        ).all()


def manifest(data: bytes) -> None:
    copy = copied()
    (copy / MANIFEST).write_bytes(data)
    loading(copy)


def tensors(data: bytes) -> None:
    """A file of weights that the manifest vouches for, and the same file given as weights."""
    copy = copied()
    (copy / TENSORS).write_bytes(data)
    told = json.loads((copy / MANIFEST).read_text())
    told["files"][0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (copy / MANIFEST).write_text(json.dumps(told))
    loading(copy)
    with suppress(VedutaError):
        read_safetensors(copy / TENSORS)


def configuration(data: bytes) -> None:
    try:
        values = read_file(written("settings.yaml", data))
    except InputError as error:
        in_lines(error)
        return
    grid = values.pop("grid", {})
    in_lines(InputError("faults", *parse_settings(values)[1], *parse_grid(grid)[1]))


def table(data: bytes) -> None:
    try:
        read_folder(written("table.csv", data))
    except InputError as error:
        in_lines(error)


Target = Callable[[bytes], None]


def targets() -> dict[str, tuple[Target, list[bytes]]]:
    """Each function and its seeds."""
    model = folder() / "model"
    return {
        "decode": (decoding, list(IMAGES.values())),
        "manifest": (manifest, [(model / MANIFEST).read_bytes()]),
        "tensors": (tensors, [(model / TENSORS).read_bytes()]),
        "configuration": (configuration, [CONFIGURATION]),
        "table": (table, [TABLE]),
    }
