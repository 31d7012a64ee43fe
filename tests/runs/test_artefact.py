"""Model files: what is written reads back; what is damaged, foreign or newer is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from veduta.config.settings import Settings
from veduta.errors import ArtefactError
from veduta.runs.artifact import (
    Head,
    Manifest,
    Network,
    Preprocessing,
    read_artefact,
    read_network,
    version_differences,
    write_artefact,
)

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


@pytest.mark.parametrize(
    ("recorded", "named"),
    [
        ({}, []),
        ({"decoder": "old-1"}, [("decoder", "old-1", "pillow")]),
        ({"engine_version": "2025"}, []),  # in float32 another version only rounds differently
        ({"engine": "openvino", "precision": "int8"}, []),  # a manifest that does not say
        ({"engine": "openvino", "precision": "int8", "engine_version": "2026"}, []),
        (
            {"engine": "openvino", "precision": "int8", "engine_version": "2025"},
            [("openvino", "2025", "2026")],
        ),
        (
            {"engine": "openvino", "precision": "int8", "engine_version": "1", "decoder": "2"},
            [("decoder", "2", "pillow"), ("openvino", "1", "2026")],
        ),
    ],
)
def test_versions_that_can_change_answers_are_compared(
    recorded: dict[str, str], named: list[tuple[str, ...]]
) -> None:
    manifest = MANIFEST.model_copy(update=recorded)
    messages = version_differences(manifest, decoder="pillow", engine_version="2026")
    assert len(messages) == len(named)
    for message, names in zip(messages, named, strict=True):
        assert all(name in message for name in names)
        assert "install" in message


def test_a_manifest_that_records_no_engine_version_reads_back(run: Path) -> None:
    path = run / "model" / "model.json"
    content = json.loads(path.read_text())
    del content["engine_version"]
    path.write_text(json.dumps(content))
    assert read_artefact(run)[0].engine_version == ""


NETWORK = Network(b"<net/>", b"\x01\x02")


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    manifest = MANIFEST.model_copy(update={"engine": "openvino", "precision": "int8"})
    write_artefact(tmp_path / "model", manifest, {"w": torch.ones(2)}, network=NETWORK)
    return tmp_path


def test_a_network_reads_back_and_is_listed(int8: Path) -> None:
    manifest, tensors = read_artefact(int8)
    assert list(tensors) == ["w"]
    for path in (int8, int8 / "model"):
        assert read_network(path, manifest) == NETWORK
    listed = {(f.name, f.role, f.engine, f.bytes) for f in manifest.files}
    assert listed == {
        ("model.safetensors", "weights", None, (int8 / "model/model.safetensors").stat().st_size),
        ("model.xml", "ir", "openvino", 6),
        ("model.bin", "ir", "openvino", 2),
    }


def test_a_model_in_float32_has_no_network(run: Path) -> None:
    assert read_network(run, read_artefact(run)[0]) is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "model.bin").write_bytes(b"\x01\x03"), "SHA-256"),
        (lambda f: (f / "model.xml").write_bytes(b"<net"), "it has 4"),
        (lambda f: (f / "model.xml").unlink(), "it is missing"),
    ],
)
def test_a_damaged_network_is_refused(
    int8: Path, damage: Callable[[Path], object], told: str
) -> None:
    damage(int8 / "model")
    manifest, _ = read_artefact(int8)
    with pytest.raises(ArtefactError, match=told):
        read_network(int8, manifest)


def test_a_network_that_is_not_listed_is_refused(int8: Path) -> None:
    content = json.loads((int8 / "model" / "model.json").read_text())
    content["files"].pop()
    (int8 / "model" / "model.json").write_text(json.dumps(content))
    manifest, _ = read_artefact(int8)
    with pytest.raises(ArtefactError, match=r"lists model\.xml: restore"):
        read_network(int8, manifest)


def test_a_network_of_a_model_in_float32_is_refused(int8: Path) -> None:
    manifest = read_artefact(int8)[0].model_copy(update={"precision": "f32"})
    with pytest.raises(
        ArtefactError, match=r"no network where.* f32; it lists model\.bin, model\.xml"
    ):
        read_network(int8, manifest)


def test_a_model_of_the_first_format_still_loads(run: Path) -> None:
    path = run / "model" / "model.json"
    content = json.loads(path.read_text())
    content["format"] = 1
    for file in content["files"]:
        del file["engine"]
    path.write_text(json.dumps(content))
    assert read_artefact(run)[0].format == 1


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
