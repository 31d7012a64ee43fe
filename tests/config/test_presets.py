"""Presets: given settings take precedence over those of a file, and these over the preset."""

from pathlib import Path

import pytest

from veduta.config.presets import list_presets, merge_settings, read_preset
from veduta.errors import InputError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text("epochs: 9\nbatch_size: 8\nimage_size: 99\ngrid:\n  dropout: [0.1, 0.2]\n")
    return path


def test_settings_and_grid_of_a_preset_have_different_names() -> None:
    for name in list_presets():
        content = read_preset(name)
        assert not content.keys() & content["grid"].keys()


def test_command_line_precedes_file_and_file_precedes_preset(config: Path) -> None:
    preset = read_preset("report")
    values, grid = merge_settings(
        {"epochs": "3"}, {"weight_decay": "0,1e-4"}, config=config, preset="report"
    )
    assert values["epochs"] == "3"  # file and preset have other values
    assert (values["image_size"], values["batch_size"]) == (99, 8)
    assert values["head"] == preset["head"]
    assert grid == {
        "weight_decay": "0,1e-4", "dropout": [0.1, 0.2], "lr": preset["grid"]["lr"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "grid"), [({"lr": "1e-3"}, {}), ({}, {"epochs": "1,2"}), ({}, {"lr": "1,2"})]
)
def test_a_name_is_either_a_setting_or_a_dimension(
    settings: dict[str, str], grid: dict[str, str]
) -> None:
    preset = read_preset("report")
    values, merged = merge_settings(settings, grid, config=None, preset="report")
    assert not values.keys() & merged.keys()
    assert settings.items() <= values.items()
    assert grid.items() <= merged.items()
    assert {*values, *merged} == {*preset, *preset["grid"]} - {"grid"}


def test_without_file_and_preset_the_given_settings_remain() -> None:
    given, grid = {"lr": "1"}, {"epochs": "1,2"}
    assert merge_settings(given, grid, config=None, preset=None) == (given, grid)
    assert merge_settings({}, {}, config=None, preset=None) == ({}, {})


def test_arguments_are_not_changed(config: Path) -> None:
    given, grid = {"lr": "1"}, {"epochs": "1,2"}
    merge_settings(given, grid, config=config, preset="report")
    assert (given, grid) == ({"lr": "1"}, {"epochs": "1,2"})
    assert read_preset("report") == read_preset("report")


@pytest.mark.parametrize(
    ("name", "cure"),
    [("raport", "did you mean 'report'?"), ("", "known are report"), ("../x", "known are report")],
)
def test_an_unknown_preset_is_named_with_a_cure(name: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        merge_settings({}, {}, config=None, preset=name)
    assert repr(name) in str(caught.value)
    assert cure in str(caught.value)


def test_a_name_that_a_file_gives_twice_is_kept_twice(tmp_path: Path) -> None:
    """The planning of the run reports it; neither is dropped silently."""
    path = tmp_path / "both.yaml"
    path.write_text("lr: 1\ngrid:\n  lr: [1, 2]\n")
    values, grid = merge_settings({}, {}, config=path, preset=None)
    assert values["lr"] == 1
    assert grid["lr"] == [1, 2]
