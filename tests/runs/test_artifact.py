"""Model files: a written model reads back; damaged, foreign and newer ones are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.manifests import MANIFEST
from veduta.errors import ArtifactError
from veduta.runs.artifact import (
    ErrorBound,
    IntermediateRepresentation,
    find_model,
    find_version_differences,
    read_artifact,
    read_intermediate_representation,
    write_artifact,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    tensors = {"head.weight": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(3)}
    write_artifact(tmp_path / "model", MANIFEST, tensors)
    return tmp_path


def test_a_model_reads_back_from_the_run_and_from_its_folder(run: Path) -> None:
    for path in (run, run / "model"):
        manifest, tensors = read_artifact(path)
        assert manifest.model_copy(update={"files": ()}) == MANIFEST
        assert torch.equal(tensors["head.weight"], torch.arange(6.0).reshape(2, 3).T)


def test_class_names_that_are_not_utf_8_read_back(tmp_path: Path) -> None:
    manifest = MANIFEST.model_copy(update={"classes": ("caf\udce9", "nan")})
    write_artifact(tmp_path, manifest, {"w": torch.ones(2)})
    assert read_artifact(tmp_path)[0].classes == manifest.classes


def test_nothing_but_the_model_is_left(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ({}, []),
        ({"decoder": "old-1"}, [("decoder", "old-1", "pillow")]),
        ({"engine_version": "2025"}, []),  # in float32 another version only rounds differently
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
    recorded: dict[str, str], expected: list[tuple[str, ...]]
) -> None:
    manifest = MANIFEST.model_copy(update=recorded)
    messages = find_version_differences(manifest, decoder="pillow", engine_version="2026")
    assert len(messages) == len(expected)
    for message, names in zip(messages, expected, strict=True):
        assert all(name in message for name in names)
        assert "install" in message


NETWORK = IntermediateRepresentation(b"<net/>", b"\x01\x02")


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    manifest = MANIFEST.model_copy(update={"engine": "openvino", "precision": "int8"})
    write_artifact(tmp_path / "model", manifest, {"w": torch.ones(2)}, network=NETWORK)
    return tmp_path


def test_a_quantized_network_reads_back_and_is_listed(int8: Path) -> None:
    manifest, tensors = read_artifact(int8)
    assert list(tensors) == ["w"]
    for path in (int8, int8 / "model"):
        assert read_intermediate_representation(path, manifest) == NETWORK
    listed = {(f.name, f.role, f.engine, f.bytes) for f in manifest.files}
    assert listed == {
        ("model.safetensors", "weights", None, (int8 / "model/model.safetensors").stat().st_size),
        ("model.xml", "ir", "openvino", 6),
        ("model.bin", "ir", "openvino", 2),
    }


def test_a_float32_model_has_no_quantized_network(run: Path) -> None:
    assert read_intermediate_representation(run, read_artifact(run)[0]) is None


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: (f / "model.bin").write_bytes(b"\x01\x03"), "SHA-256"),
        (lambda f: (f / "model.xml").write_bytes(b"<net"), "it has 4"),
        (lambda f: (f / "model.xml").unlink(), "it is missing"),
    ],
)
def test_a_damaged_network_is_refused(
    int8: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(int8 / "model")
    manifest, _ = read_artifact(int8)
    with pytest.raises(ArtifactError, match=named):
        read_intermediate_representation(int8, manifest)


def test_a_network_that_is_not_listed_is_refused(int8: Path) -> None:
    content = json.loads((int8 / "model" / "model.json").read_text())
    content["files"].pop()
    (int8 / "model" / "model.json").write_text(json.dumps(content))
    manifest, _ = read_artifact(int8)
    with pytest.raises(ArtifactError, match=r"lists model\.xml: restore"):
        read_intermediate_representation(int8, manifest)


def test_a_quantized_network_in_a_float32_model_is_refused(int8: Path) -> None:
    manifest = read_artifact(int8)[0].model_copy(update={"precision": "f32"})
    with pytest.raises(
        ArtifactError, match=r"no network where.* f32; it lists model\.bin, model\.xml"
    ):
        read_intermediate_representation(int8, manifest)


def edit(key: str, value: object) -> Callable[[Path], None]:
    """Return a function that changes one value of the manifest in a folder."""

    def change(folder: Path) -> None:
        content = json.loads((folder / "model.json").read_text())
        content[key] = value
        (folder / "model.json").write_text(json.dumps(content))

    return change


def flip_bit(folder: Path) -> None:
    """Flip a bit of the last weight."""
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit flipped": (flip_bit, "SHA-256"),
    "cut": (lambda f: (f / "model.safetensors").write_bytes(b"123"), "it has 3"),
    "missing": (lambda f: (f / "model.safetensors").unlink(), "it is missing"),
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


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_refused(run: Path, damage: str) -> None:
    change, named = DAMAGES[damage]
    change(run / "model")
    with pytest.raises(ArtifactError, match=named):
        read_artifact(run)


def test_a_missing_model_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="veduta search"):
        read_artifact(tmp_path / "absent")


def test_only_an_intact_model_is_found(int8: Path) -> None:
    assert find_model(int8) == read_artifact(int8)[0]
    (int8 / "model" / "model.bin").write_bytes(b"\x01\x03")
    assert find_model(int8) is None


def test_the_values_of_the_manifest_are_checked(run: Path) -> None:
    for section, key, value in (
        ("head", "hidden", [0]),
        ("head", "surprise", 1),
        ("head", "dropout", 1.0),
        ("preprocessing", "image_size", 4096),
        ("preprocessing", "std", [0.5, 0.5, 0.0]),
    ):
        content = json.loads((run / "model" / "model.json").read_text())
        content[section][key] = value
        edit(section, content[section])(run / "model")
        with pytest.raises(ArtifactError, match=rf"{section}\.{key}"):
            read_artifact(run)
        edit(section, MANIFEST.model_dump(mode="json")[section])(run / "model")
    read_artifact(run)


def test_error_bounds_read_back(tmp_path: Path) -> None:
    bounds = (ErrorBound(0.0, 100, 100, 3, 0.08), ErrorBound(0.5, 100, 90, 1, 0.05))
    manifest = MANIFEST.model_copy(update={"error_bounds": bounds, "temperature": 1.5})
    write_artifact(tmp_path, manifest, {"w": torch.ones(2)})
    read = read_artifact(tmp_path)[0]
    assert (read.error_bounds, read.temperature) == (bounds, 1.5)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        ErrorBound(0.0, 100, -1, 3, 0.08)
