"""Pickled weights: no code in them runs, and resources are limited by the size of the file."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from veduta.errors import WeightsError
from veduta.networks import unpickle
from veduta.networks.unpickle import check_pickle_header, convert_to_safetensors, extract_state_dict
from veduta.runtime.disk import compute_digest

STATE = {"b.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Payload:
    """An object whose unpickling runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def convert(source: Path, cache: Path) -> Path:
    check_pickle_header(source)
    return convert_to_safetensors(source, compute_digest(source), cache)


def save(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_tensors_and_their_order_are_converted(tmp_path: Path) -> None:
    converted = convert(save(STATE, tmp_path / "w.pt"), tmp_path / "cache")
    with safe_open(converted, framework="pt") as file:
        assert json.loads(file.metadata()["names"]) == list(STATE)
        for name, tensor in STATE.items():
            assert torch.equal(file.get_tensor(name), tensor)
    source = compute_digest(tmp_path / "w.pt")
    assert sorted(path.name for path in converted.parent.iterdir()) == [
        f"{source}.safetensors",
        f"{source}.sha256",
    ]


def test_a_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = convert(save(STATE, tmp_path / "w.pt"), tmp_path / "cache")
    monkeypatch.setattr("subprocess.run", None)
    assert convert(tmp_path / "w.pt", tmp_path / "cache") == converted


def test_a_damaged_conversion_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = convert(save(STATE, tmp_path / "w.pt"), tmp_path / "cache")
    content = converted.read_bytes()
    monkeypatch.setattr(unpickle, "_convert_in_child", lambda _, to: to.write_bytes(content))
    for damaged in (content[:-1], content[:-1] + b"\x55", b""):
        converted.write_bytes(damaged)
        assert convert(tmp_path / "w.pt", tmp_path / "cache").read_bytes() == content
    converted.with_suffix(".sha256").unlink()
    converted.write_bytes(b"without a checksum")
    assert convert(tmp_path / "w.pt", tmp_path / "cache").read_bytes() == content


@pytest.mark.parametrize("wrapped", ["bare", "in torch's archive", "as a value"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, wrapped: str) -> None:
    canary, source = tmp_path / "canary", tmp_path / "w.pth"
    payload = Payload(canary)
    if wrapped == "bare":
        source.write_bytes(pickle.dumps(payload))
    else:
        save(payload if "archive" in wrapped else {**STATE, "x": payload}, source)
    with pytest.raises(WeightsError) as caught:
        convert(source, tmp_path / "cache")
    assert "names and tensors, nothing else; w.pth" in str(caught.value)
    assert "torch.save(network.state_dict(), FILE)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not canary.exists()
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_unpickling_the_payload_runs_it(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "canary")))  # noqa: S301
    assert (tmp_path / "canary").exists()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no bound on memory here")
def test_a_small_file_cannot_allocate_all_memory(tmp_path: Path) -> None:
    huge = {"x": torch.zeros(1).expand(10**11)}  # 400 GB, of one stored number
    with pytest.raises(WeightsError, match=r"nothing else; w\.pt"):
        convert(save(huge, tmp_path / "w.pt"), tmp_path / "cache")


def test_a_small_file_cannot_fill_the_disk(tmp_path: Path) -> None:
    save({"x": torch.zeros(10_000_000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry))
    assert (tmp_path / "w.pt").stat().st_size < 100_000
    with pytest.raises(WeightsError, match=r"nothing else; w\.pt"):
        convert(tmp_path / "w.pt", tmp_path / "cache")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"PK\x03\x04 but no archive", b"\x80\x02 but no pickle"],
    ids=["empty", "page", "archive", "pickle"],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"^a file of weights must hold names and tensors.*w\.pt.*: write it"
    ):
        convert(tmp_path / "w.pt", tmp_path / "cache")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    whole = save(STATE, tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"nothing else; w\.pt"):
        convert(tmp_path / "w.pt", tmp_path / "cache")


def test_a_file_called_torch_in_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    convert(save(STATE, tmp_path / "w.pt"), tmp_path / "cache")
    assert not (tmp_path / "canary").exists()


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(WeightsError, match=r"cache must be writable.*set VEDUTA_CACHE"):
        convert(save(STATE, tmp_path / "w.pt"), tmp_path / "cache")


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model"])
def test_wrappers_of_training_scripts_are_removed(wrapper: str) -> None:
    assert extract_state_dict({"epoch": 9, wrapper: STATE}) == STATE


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "it holds a list"),
        ({}, "it holds a dict"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({3: torch.zeros(1)}, "3 is a Tensor"),
        ({"model": STATE, "state_dict": {}}, "it holds a dict"),
    ],
)
def test_other_content_is_not_a_state_dict(content: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        extract_state_dict(content)
