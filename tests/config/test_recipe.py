"""Recipes: what is given comes before a file, and that before the recipe, name by name."""

from pathlib import Path

import pytest

from veduta.config.presets import read_recipe, recipes, together
from veduta.errors import InputError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text("epochs: 9\nbatch_size: 8\nimage_size: 99\ngrid:\n  dropout: [0.1, 0.2]\n")
    return path


def test_every_recipe_is_settings_and_a_grid_apart() -> None:
    for name in recipes():
        content = read_recipe(name)
        assert not content.keys() & content["grid"].keys()


def test_the_order_is_command_line_file_recipe(config: Path) -> None:
    recipe = read_recipe("report")
    values, grid = together(
        {"epochs": "3"}, {"weight_decay": "0,1e-4"}, config=config, recipe="report"
    )
    assert values["epochs"] == "3"  # file and recipe have others
    assert (values["image_size"], values["batch_size"]) == (99, 8)
    assert values["head"] == recipe["head"]
    assert grid == {
        "weight_decay": "0,1e-4", "dropout": [0.1, 0.2], "lr": recipe["grid"]["lr"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "grid"), [({"lr": "1e-3"}, {}), ({}, {"epochs": "1,2"}), ({}, {"lr": "1,2"})]
)
def test_a_name_stands_on_one_side_alone(settings: dict[str, str], grid: dict[str, str]) -> None:
    recipe = read_recipe("report")
    values, merged = together(settings, grid, config=None, recipe="report")
    assert not values.keys() & merged.keys()
    assert settings.items() <= values.items()
    assert grid.items() <= merged.items()
    assert {*values, *merged} == {*recipe, *recipe["grid"]} - {"grid"}


def test_nothing_given_is_nothing() -> None:
    given, grid = {"lr": "1"}, {"epochs": "1,2"}
    assert together(given, grid, config=None, recipe=None) == (given, grid)
    assert together({}, {}, config=None, recipe=None) == ({}, {})


def test_what_is_given_is_not_changed(config: Path) -> None:
    given, grid = {"lr": "1"}, {"epochs": "1,2"}
    together(given, grid, config=config, recipe="report")
    assert (given, grid) == ({"lr": "1"}, {"epochs": "1,2"})
    assert read_recipe("report") == read_recipe("report")


@pytest.mark.parametrize(
    ("name", "cure"),
    [("raport", "did you mean 'report'?"), ("", "known are report"), ("../x", "known are report")],
)
def test_an_unknown_recipe_is_named_with_a_cure(name: str, cure: str) -> None:
    with pytest.raises(InputError) as caught:
        together({}, {}, config=None, recipe=name)
    assert str(caught.value) == f"no recipe is called {name!r}; {cure}"


def test_a_file_that_sets_a_name_on_both_sides_is_no_matter_of_order(tmp_path: Path) -> None:
    """Whoever makes the plan says so; nothing is taken silently."""
    path = tmp_path / "both.yaml"
    path.write_text("lr: 1\ngrid:\n  lr: [1, 2]\n")
    values, grid = together({}, {}, config=path, recipe=None)
    assert values["lr"] == 1
    assert grid["lr"] == [1, 2]
