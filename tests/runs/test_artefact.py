"""Model files: what is written reads back; what is damaged, foreign or newer is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from veduta.config.settings import Settings
from veduta.errors import ArtefactError
from veduta.runs.artefact import Head, Manifest, Preprocessing, read_artefact, write_artefact

STATISTICS = (0.5, 0.5, 0.5)
MANIFEST = Manifest(
    format=1,
    veduta="0",
    model="efficientnet_lite0",
    classes=("nan", "007"),
    preprocessing=Preprocessing(
        image_size=32, filter="bicubic", fit="squash", mean=STATISTICS, std=STATISTICS
    ),
    head=Head(features=3, classes=2, hidden=(), activation="relu", batch_norm=False, dropout=0.0),
    engine="torch",
    precision="f32",
    decoder="pillow",
    weights="nowhere",
    trial="t0",
    settings=Settings(),
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    tensors = {"head.weight": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(3)}
    write_artefact(tmp_path / "model", MANIFEST, tensors)
    return tmp_path


def test_it_reads_back_from_run_and_model_folder(run: Path) -> None:
    for path in (run, run / "model"):
        manifest, tensors = read_artefact(path)
        assert manifest.model_copy(update={"files": ()}) == MANIFEST
        assert torch.equal(tensors["head.weight"], torch.arange(6.0).reshape(2, 3).T)


def test_a_manifest_from_before_test_time_augmentation_reads_back(run: Path) -> None:
    path = run / "model" / "model.json"
    content = json.loads(path.read_text())
    del content["tta"]
    path.write_text(json.dumps(content))
    assert read_artefact(run)[0].tta == "none"


def test_no_half_written_model_is_seen(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == ["model"]


def edit(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text())
        content[key] = value
        (folder / "model.json").write_text(json.dumps(content))

    return change


def flip(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "bit flipped": (flip, "SHA-256"),
    "cut": (lambda f: (f / "model.safetensors").write_bytes(b"123"), "it has 3"),
    "gone": (lambda f: (f / "model.safetensors").unlink(), "it is missing"),
    "no json": (lambda f: (f / "model.json").write_text("{"), "must be a manifest"),
    "deep json": (lambda f: (f / "model.json").write_text("[" * 100_000), "must be a manifest"),
    "not text": (lambda f: (f / "model.json").write_bytes(b"\xff\xfe"), "must be a manifest"),
    "a list": (lambda f: (f / "model.json").write_text("[1]"), "must be a manifest"),
    "newer": (edit("format", 99), "update veduta"),
    "unknown key": (edit("surprise", 1), "surprise"),
    "one class": (edit("classes", ["a"]), "classes"),
    "no file": (edit("files", []), "one file"),
    "a path outside": (
        edit("files", [{"name": "../x", "role": "weights", "bytes": 1, "sha256": "0" * 64}]),
        "files.0.name",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused(run: Path, damage: str) -> None:
    change, told = DAMAGE[damage]
    change(run / "model")
    with pytest.raises(ArtefactError, match=told):
        read_artefact(run)


def test_nothing_there_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="veduta search"):
        read_artefact(tmp_path / "absent")
