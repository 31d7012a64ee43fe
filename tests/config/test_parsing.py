"""Settings: all faults are found with rule and value; all spellings of a value are equal."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from veduta.config.parsing import (
    format_value,
    parse_assignments,
    parse_grid,
    parse_settings,
    read_file,
)
from veduta.config.settings import RUN_SETTINGS, Settings
from veduta.errors import InputError


def test_text_and_typed_values_are_equal() -> None:
    typed, _ = parse_settings(
        {"lr": 1e-3, "hidden": [2000, 1000], "batch_norm": True, "betas": (0.8, 0.9)}
    )
    text, faults = parse_settings(
        {"lr": "1e-3", "hidden": "2000x1000", "batch_norm": "true", "betas": "0.8x0.9"}
    )
    assert typed == text
    assert not faults


def test_augmentations_are_a_set() -> None:
    spellings = (
        "flip+crop",
        "crop+flip",
        "crop + flip",
        "crop+flip+crop",
        ["flip", "crop"],
        ("crop", "flip"),
    )
    parsed = {parse_settings({"augment": spelling})[0].augment for spelling in spellings}
    assert parsed == {("crop", "flip")}
    assert Settings(augment=Settings().augment) == Settings()  # the default is sorted, too
    assert Settings(augment="none").augment == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", "0"),
        ("lr", "nan"),
        ("lr", "inf"),
        ("lr", "fast"),
        ("epochs", "0"),
        ("epochs", "2.5"),
        ("batch_size", "1"),
        ("dropout", "1"),
        ("dropout", "-0.1"),
        ("momentum", "1"),
        ("betas", "0.9"),
        ("betas", "0.9x1"),
        ("hidden", "0"),
        ("hidden", "wide"),
        ("image_size", "7"),
        ("resize", "stretch"),
        ("engine", "gpu"),
        ("patience", "0"),
        ("validation", "0"),
        ("validation", "0.6"),
        ("weight_decay", "-1"),
        ("seed", "-1"),
        ("refit", "perhaps"),
    ],
)
def test_wrong_values_are_named_with_setting_and_rule(name: str, value: str) -> None:
    settings, faults = parse_settings({name: value})
    assert len(faults) == 1
    assert faults[0].startswith(f"{name} must be ")
    assert faults[0].endswith(f"got {value!r}")
    assert getattr(settings, name) == Settings.model_fields[name].default


def test_all_faults_are_found_at_once() -> None:
    _, faults = parse_settings({"lr": "x", "epochs": "y", "wieght_decay": 1, "seed": 2})
    assert len(faults) == 3
    assert "did you mean 'weight_decay'?" in faults[0]


def test_grid_checks_every_value_and_drops_duplicates() -> None:
    grid, faults = parse_grid({"lr": "1e-3, 0.001,3e-3", "hidden": "none,256,20x10"})
    assert grid == {"lr": (0.001, 0.003), "hidden": ((), (256,), (20, 10))}
    assert not faults
    _, faults = parse_grid({"lr": "1e-3,x,-1", "lrr": "1", "seed": "1,2", "epochs": ""})
    expected = [("lr", "'x'"), ("lr", "'-1'"), ("'lrr'", "'lr'"), ("seed", ""), ("epochs", "")]
    assert len(faults) == len(expected)
    for fault, (name, value) in zip(faults, expected, strict=True):
        assert fault.startswith("grid: ")
        assert name in fault
        assert value in fault


def test_every_sequence_of_values_is_a_dimension_of_a_grid() -> None:
    assert parse_grid({"lr": np.array([1e-3, 1e-2]), "epochs": np.array([3])}) == (
        {"lr": (1e-3, 1e-2), "epochs": (3,)},
        [],
    )
    assert parse_grid({"epochs": {3}})[0] == {"epochs": (3,)}


def test_booleans_are_not_numbers_and_none_is_no_width() -> None:
    _, faults = parse_settings({"epochs": True, "seed": False, "lr": [1]})
    assert [fault.partition(" must")[0] for fault in faults] == ["epochs", "seed", "lr"]
    assert faults[2].endswith("got [1]")
    assert parse_settings({"hidden": None})[0].hidden == ()


def test_other_options_are_suggested_for_unknown_settings() -> None:
    assert "did you mean 'out'?" in parse_settings({"outt": 1})[1][0]
    assert "veduta search" in parse_settings({"grid": "lr=1"})[1][0]


def test_an_assignment_without_value_is_a_fault() -> None:
    assert parse_grid(parse_assignments(["lr"]))[1]


@given(st.builds(Settings, lr=st.floats(1e-9, 1e9), hidden=st.lists(st.integers(1, 9999))))
def test_formatted_values_parse_to_equal_settings(settings: Settings) -> None:
    text = {name: format_value(value) for name, value in settings.model_dump().items()}
    assert parse_settings(text) == (settings, [])


@given(
    st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.floats(), st.lists(st.text())))
)
def test_arbitrary_values_give_faults_and_no_exception(values: dict[str, object]) -> None:
    _, faults = parse_settings(values)
    assert len(faults) >= len(set(values) - set(Settings.model_fields))
    assert len(parse_grid(values)[1]) >= len(set(values) - set(Settings.model_fields))


def test_every_setting_has_a_meaning_and_a_rule() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["rule"], name
    assert set(Settings.model_fields) >= RUN_SETTINGS


@pytest.mark.parametrize("content", ["- 1", "3", "a: [", "grid: 3", "1: 2"])
def test_a_file_without_a_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"settings\.yaml"):
        read_file(path)
    with pytest.raises(InputError, match=r"absent\.yaml"):
        read_file(tmp_path / "absent.yaml")


def test_a_file_contains_settings_and_a_grid(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"lr": 0.01, "grid": {"epochs": [1, 2]}, "run": {"data": "x"}}))
    assert read_file(path) == {"lr": 0.01, "grid": {"epochs": [1, 2]}}
    path.write_text("")
    assert read_file(path) == {}
