"""What the registry says without its libraries is what its libraries say: one row, all checks."""

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
from veduta.networks.backbones import headless, preprocessing_of
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import (
    BIASED,
    MODELS,
    NOT_HERE,
    REPORTED,
    SAME,
    STATISTICS,
    UNSCALED,
    build_network,
    find_model,
    model_of,
)
from veduta.networks.weights import hub_address

EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
OTHERS = {name: model for name, model in MODELS.items() if not model.own}
FOREIGN = pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS)


@EVERY_MODEL
def test_the_number_of_parameters_is_that_of_the_built_network(model: Model) -> None:
    with torch.device("meta"):
        network = build_network(model)
    assert sum(p.numel() for p in network.parameters()) == model.parameters


@FOREIGN
def test_the_preprocessing_is_that_of_the_models_own_configuration(model: Model) -> None:
    ours = preprocessing_of(model)
    if (tag := model.architecture.rpartition(".")[2]) == "tv_in1k":  # torchvision's weights
        name = model.architecture.removesuffix(f".{tag}")
        figures = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["_metrics"]
        assert (model.top1, model.top5) == tuple(figures["ImageNet-1K"].values())
    if model.library == "timm":
        config = timm.get_pretrained_cfg(model.architecture)
        assert ours.image_size == config.input_size[-1]
        assert (ours.mean, ours.std, ours.filter) == (config.mean, config.std, config.interpolation)
        assert config.license == model.licence.lower()
    else:
        weights = torchvision.models.get_model_weights(model.architecture).DEFAULT
        theirs = weights.transforms()
        assert [ours.image_size] == theirs.crop_size
        assert [*ours.mean] == theirs.mean
        assert [*ours.std] == theirs.std
        assert ours.filter == theirs.interpolation.value
        figures = weights.meta["_metrics"]["ImageNet-1K"]
        assert (model.top1, model.top5) == (figures["acc@1"], figures["acc@5"])


@FOREIGN
@pytest.mark.parametrize("size", ["native", "smallest", "between"])
def test_features_are_as_wide_as_it_says_at_any_image_size(model: Model, size: str) -> None:
    pixels = {"native": model.image_size, "smallest": model.smallest, "between": 150}[size]
    with torch.device("meta"):
        images = torch.empty(1, 3, pixels, pixels)
    assert headless(model).eval()(images).shape == (1, model.features)


@FOREIGN
def test_too_small_an_image_is_refused_with_the_size_that_would_do(model: Model) -> None:
    with pytest.raises(InputError, match=f"at least {model.smallest} for {model.name}.*got 4"):
        preprocessing_of(model, 4)


@FOREIGN
def test_packaged_files_are_where_it_says(model: Model) -> None:
    if model.packaged is None:
        assert hub_address(model).startswith("https://")
    else:
        files = distribution(model.packaged.distribution)
        assert Path(str(files.locate_file(model.packaged.file))).is_file()


@EVERY_MODEL
def test_a_model_is_found_under_its_name(model: Model) -> None:
    assert MODELS[model.name] is model


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no model is called 'vgg61'; did you mean 'vgg1[69]'\?"):
        find_model("vgg61")


def test_every_row_of_the_reports_table_stands_here_or_says_why_not() -> None:
    assert REPORTED.keys() - MODELS.keys() == NOT_HERE.keys() == {"nasnet_mobile"}
    with pytest.raises(InputError, match=r"neither timm nor torchvision has it.*nasnet_large"):
        find_model("nasnet_mobile")


@pytest.mark.parametrize("name", sorted(REPORTED.keys() - NOT_HERE.keys()))
def test_the_reports_parameters_are_ours_and_what_it_says_beside(name: str) -> None:
    with torch.device("meta"):
        network = build_network(MODELS[name])
    statistics = sum(t.numel() for n, t in network.named_buffers() if "running" in n)
    scales = statistics // 2
    unbiased = sum(
        layer.out_channels
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is None
    )
    more = {
        SAME: 0,
        STATISTICS: statistics,
        UNSCALED: statistics - scales,
        BIASED: statistics + unbiased,
    }
    row = REPORTED[name]
    assert MODELS[name].parameters + more[row.beside] == row.parameters
    assert (more[row.beside] == 0) == (row.beside == SAME)


def test_settings_describe_a_network_of_ours() -> None:
    """64 x 64: 64 -> 60 -> 20 -> 16 -> 5, so 4 x 5 x 5 features; biases 7 x 60^2 + 4 x 16^2."""
    model = model_of(Settings(model="report_cnn", channels="7x4", image_size=64, untied_bias=True))
    assert model.features == 4 * 5 * 5
    assert model.parameters == 7 * (75 + 60**2) + 4 * (7 * 25 + 16**2)
    assert model.stages == (("block1",), ("block2",), ("flatten",))
    assert model_of(Settings(model="report_cnn", batch_norm=True)) == MODELS["report_cnn"]
    with pytest.raises(InputError, match=r"at least 25 for report_cnn.*got 24"):
        model_of(Settings(model="report_cnn", channels="7x4", image_size=24))


def test_what_a_network_does_not_use_does_not_make_it_another() -> None:
    assert model_of(Settings(model="cnn", pooling="max", activation="tanh")) == MODELS["cnn"]
    assert model_of(Settings(model="vgg16", channels="8", untied_bias=True)) is MODELS["vgg16"]
    assert model_of(Settings(model="mlp", image_size=10)).features == 300


@pytest.mark.parametrize("name", ["resnet18", "deit_tiny_distilled_patch16_224"])
def test_any_network_of_timm_by_its_name(name: str) -> None:
    model = find_model(f"timm:{name}")
    assert model.stages == ()
    with torch.device("meta"):
        images = torch.empty(1, 3, model.image_size, model.image_size)
        whole = timm.create_model(name, num_classes=0).eval()
    assert headless(model).eval()(images).shape == whole(images).shape == (1, model.features)
    config = timm.get_pretrained_cfg(name)
    assert (model.mean, model.std) == (config.mean, config.std)


def test_a_network_of_one_size_says_so() -> None:
    model = find_model("timm:deit_tiny_patch16_224")
    with pytest.raises(InputError, match=r"image_size must be 224 for timm:deit_tiny.*got 64"):
        preprocessing_of(model, 64)


def test_an_unknown_network_of_timm_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no model of timm is called 'resnt18'; did you mean"):
        find_model("timm:resnt18")


def test_the_registry_is_read_without_loading_torch() -> None:
    heavy = "torch timm torchvision openvino pandas"
    module = "veduta.networks.catalogue.registry"
    code = f"import sys, {module}; print(set({heavy.split()}) & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "set()"
