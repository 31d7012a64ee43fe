"""The registry agrees with the libraries; every model passes the same checks."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from veduta.config.settings import Settings
from veduta.errors import InputError
from veduta.networks.backbones import build_headless_network, build_preprocessing
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import (
    BIASED,
    MODELS,
    REPORT_TABLE,
    SAME,
    STATISTICS,
    UNAVAILABLE,
    UNSCALED,
    build_network,
    find_model,
    resolve_model,
)
from veduta.networks.weights import find_hub_url

EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
PRETRAINED = {name: model for name, model in MODELS.items() if not model.is_builtin}
EVERY_PRETRAINED_MODEL = pytest.mark.parametrize("model", PRETRAINED.values(), ids=PRETRAINED)


@EVERY_MODEL
def test_the_number_of_parameters_is_that_of_the_built_network(model: Model) -> None:
    with torch.device("meta"):
        network = build_network(model)
    assert sum(p.numel() for p in network.parameters()) == model.parameters


@EVERY_PRETRAINED_MODEL
def test_preprocessing_and_accuracy_are_those_of_the_library(model: Model) -> None:
    preprocessing = build_preprocessing(model)
    if (tag := model.architecture.rpartition(".")[2]) == "tv_in1k":  # torchvision's weights
        name = model.architecture.removesuffix(f".{tag}")
        metrics = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["_metrics"]
        assert (model.top1, model.top5) == tuple(metrics["ImageNet-1K"].values())
    if model.library == "timm":
        config = timm.get_pretrained_cfg(model.architecture)
        assert config is not None
        assert preprocessing.image_size == config.input_size[-1]
        assert (preprocessing.mean, preprocessing.std, preprocessing.filter) == (
            config.mean,
            config.std,
            config.interpolation,
        )
        assert config.license == model.license.lower()
    else:
        weights = torchvision.models.get_model_weights(model.architecture).DEFAULT
        transforms = weights.transforms()
        assert [preprocessing.image_size] == transforms.crop_size
        assert [*preprocessing.mean] == transforms.mean
        assert [*preprocessing.std] == transforms.std
        assert preprocessing.filter == transforms.interpolation.value
        metrics = weights.meta["_metrics"]["ImageNet-1K"]
        assert (model.top1, model.top5) == (metrics["acc@1"], metrics["acc@5"])


@EVERY_PRETRAINED_MODEL
@pytest.mark.parametrize("size", ["native", "smallest", "between"])
def test_the_number_of_features_is_correct_at_any_image_size(model: Model, size: str) -> None:
    image_size = {"native": model.image_size, "smallest": model.min_image_size, "between": 150}[
        size
    ]
    with torch.device("meta"):
        images = torch.empty(1, 3, image_size, image_size)
    assert build_headless_network(model).eval()(images).shape == (1, model.features)


@EVERY_PRETRAINED_MODEL
def test_a_too_small_image_size_is_refused_with_the_minimum(model: Model) -> None:
    with pytest.raises(
        InputError, match=f"at least {model.min_image_size} for {model.name}.*got 4"
    ):
        build_preprocessing(model, 4)


@EVERY_PRETRAINED_MODEL
def test_packaged_files_exist(model: Model) -> None:
    if model.packaged is None:
        assert find_hub_url(model).startswith("https://")
    else:
        files = distribution(model.packaged.distribution)
        assert Path(str(files.locate_file(model.packaged.file))).is_file()


@EVERY_MODEL
def test_a_model_is_registered_under_its_name(model: Model) -> None:
    assert MODELS[model.name] is model


def test_an_unknown_name_is_refused_with_similar_names() -> None:
    with pytest.raises(InputError, match=r"no model is called 'vgg61'; did you mean 'vgg1[69]'\?"):
        find_model("vgg61")


def test_every_model_of_the_report_is_registered_or_explained() -> None:
    assert REPORT_TABLE.keys() - MODELS.keys() == UNAVAILABLE.keys() == {"nasnet_mobile"}
    with pytest.raises(InputError, match=r"neither timm nor torchvision has it.*nasnet_large"):
        find_model("nasnet_mobile")


@pytest.mark.parametrize("name", sorted(REPORT_TABLE.keys() - UNAVAILABLE.keys()))
def test_parameter_counts_of_the_report_differ_as_explained(name: str) -> None:
    with torch.device("meta"):
        network = build_network(MODELS[name])
    statistics = sum(t.numel() for n, t in network.named_buffers() if "running" in n)
    scales = statistics // 2
    unbiased = sum(
        layer.out_channels
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is None
    )
    differences = {
        SAME: 0,
        STATISTICS: statistics,
        UNSCALED: statistics - scales,
        BIASED: statistics + unbiased,
    }
    row = REPORT_TABLE[name]
    assert MODELS[name].parameters + differences[row.difference] == row.parameters
    assert (differences[row.difference] == 0) == (row.difference == SAME)


def test_settings_configure_a_built_in_network() -> None:
    """64 x 64: 64 -> 60 -> 20 -> 16 -> 5, so 4 x 5 x 5 features; biases 7 x 60^2 + 4 x 16^2."""
    model = resolve_model(
        Settings(model="report_cnn", channels="7x4", image_size=64, untied_bias=True)
    )
    assert model.features == 4 * 5 * 5
    assert model.parameters == 7 * (75 + 60**2) + 4 * (7 * 25 + 16**2)
    assert model.stages == (("block1",), ("block2",), ("flatten",))
    assert resolve_model(Settings(model="report_cnn", batch_norm=True)) == MODELS["report_cnn"]
    with pytest.raises(InputError, match=r"at least 25 for report_cnn.*got 24"):
        resolve_model(Settings(model="report_cnn", channels="7x4", image_size=24))


def test_options_that_a_network_does_not_use_are_ignored() -> None:
    assert resolve_model(Settings(model="cnn", pooling="max", activation="tanh")) == MODELS["cnn"]
    assert resolve_model(Settings(model="vgg16", channels="8", untied_bias=True)) is MODELS["vgg16"]
    assert resolve_model(Settings(model="mlp", image_size=10)).features == 300


@pytest.mark.parametrize("name", ["resnet18", "deit_tiny_distilled_patch16_224"])
def test_networks_of_timm_are_found_by_name(name: str) -> None:
    model = find_model(f"timm:{name}")
    assert model.stages == ()
    with torch.device("meta"):
        images = torch.empty(1, 3, model.image_size, model.image_size)
        whole = timm.create_model(name, num_classes=0).eval()
    assert (
        build_headless_network(model).eval()(images).shape
        == whole(images).shape
        == (1, model.features)
    )
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    assert (model.mean, model.std) == (config.mean, config.std)


def test_another_image_size_is_refused_for_a_network_of_fixed_size() -> None:
    model = find_model("timm:deit_tiny_patch16_224")
    with pytest.raises(InputError, match=r"image_size must be 224 for timm:deit_tiny.*got 64"):
        build_preprocessing(model, 64)


def test_an_unknown_network_of_timm_is_refused_with_similar_names() -> None:
    with pytest.raises(InputError, match=r"no model of timm is called 'resnt18'; did you mean"):
        find_model("timm:resnt18")


def test_importing_the_registry_does_not_import_torch() -> None:
    heavy = "torch timm torchvision openvino pandas"
    module = "veduta.networks.catalogue.registry"
    code = f"import sys, {module}; print(set({heavy.split()}) & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "set()"
