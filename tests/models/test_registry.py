"""What the registry says without its libraries is what its libraries say: one row, all checks."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from veduta.errors import InputError
from veduta.models.backbones import headless, preprocessing_of
from veduta.models.registry import MODELS, Model, build_network, find_model, hub_address

EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@EVERY_MODEL
def test_the_number_of_parameters_is_that_of_the_built_network(model: Model) -> None:
    with torch.device("meta"):
        network = build_network(model)
    assert sum(p.numel() for p in network.parameters()) == model.parameters


@EVERY_MODEL
def test_the_preprocessing_is_that_of_the_models_own_configuration(model: Model) -> None:
    ours = preprocessing_of(model)
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
        assert model.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]


@EVERY_MODEL
@pytest.mark.parametrize("size", ["native", "smallest", "between"])
def test_features_are_as_wide_as_it_says_at_any_image_size(model: Model, size: str) -> None:
    pixels = {"native": model.image_size, "smallest": model.smallest, "between": 150}[size]
    with torch.device("meta"):
        images = torch.empty(1, 3, pixels, pixels)
    assert headless(model).eval()(images).shape == (1, model.features)


@EVERY_MODEL
def test_too_small_an_image_is_refused_with_the_size_that_would_do(model: Model) -> None:
    with pytest.raises(InputError, match=f"at least {model.smallest} for {model.name}.*got 4"):
        preprocessing_of(model, 4)


@EVERY_MODEL
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
    with pytest.raises(InputError, match=r"no model is called 'vgg61'; did you mean 'vgg16'\?"):
        find_model("vgg61")


def test_the_registry_is_read_without_loading_torch() -> None:
    heavy = "torch timm torchvision openvino pandas"
    code = f"import sys, veduta.models.registry; print(set({heavy.split()}) & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "set()"
