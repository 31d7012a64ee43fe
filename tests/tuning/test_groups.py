"""Groups and tiles depend on the trials alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.tuning.trials.space import (
    FUSED_VALUES,
    MAX_TILE_WEIGHTS,
    SCALAR_SETTINGS,
    SPLIT_WEIGHTS,
    build_trial,
    build_trials,
    expand_grid,
    group_trials,
    plan_tiles,
    uses_fused_executor,
)

GRID = {
    "batch_size": (16, 32),
    "optimizer": ("adam", "sgd"),
    "momentum": (0.0, 0.9),
    "lr": (1e-3, 1e-2),
    "dropout": (0.0, 0.3),
    "patience": (None, 3),
}


def test_trials_of_a_group_differ_in_scalar_settings_alone() -> None:
    trials = build_trials(expand_grid(Settings(), GRID))
    groups = group_trials(trials)
    assert sorted(len(group) for group in groups) == [8, 8, 16, 16]
    assert [trial for trial in trials if trial in groups[0]] == list(groups[0])
    shared_names = [name for name in TRIAL_SETTINGS if name not in SCALAR_SETTINGS]
    shared = [{tuple(t.hyperparameters[n] for n in shared_names) for t in g} for g in groups]
    assert [len(values) for values in shared] == [1] * 4
    assert len(set.union(*shared)) == 4


def test_settings_without_effect_do_not_divide_a_group() -> None:
    grid = {"optimizer": ("adam",), "nesterov": (False, True), "activation": ("relu", "tanh")}
    assert len(group_trials(build_trials(expand_grid(Settings(), grid)))) == 1


@given(st.integers(1, 2 * MAX_TILE_WEIGHTS), st.randoms(use_true_random=False))
def test_tiles_contain_each_trial_once_within_the_limits(
    parameters: int, generator: random.Random
) -> None:
    group = group_trials(build_trials(expand_grid(Settings(optimizer="sgd"), GRID)))[0]
    tiles = plan_tiles(group, parameters)
    assert sorted(t.id for tile in tiles for t in tile) == sorted(trial.id for trial in group)
    widths = [len(tile) for tile in tiles]
    assert max(widths) - min(widths) <= 1
    assert max(widths) == 1 or max(widths) * parameters <= MAX_TILE_WEIGHTS
    assert len(tiles) >= min(2, len(group)) or len(group) * parameters <= SPLIT_WEIGHTS
    for tile in tiles:  # equal dropout rates are adjacent: one product each
        rates = [trial.settings.dropout for trial in tile]
        assert rates == sorted(rates)
    shuffled = build_trials([trial.settings for trial in generator.sample(group, len(group))])
    assert plan_tiles(group_trials(shuffled)[0], parameters) == tiles


UNSUPPORTED = {
    "freeze": 3, "dropout_layers": 1, "norm_first": False, "penalize": "all", "clip": 1.0,
    "ema": 0.9, "class_weights": "balanced",
}  # fmt: skip
"""A value of each setting of `FUSED_VALUES` that the fused executor does not support."""


def test_the_fused_executor_trains_all_trials_of_a_group_or_none() -> None:
    assert set(FUSED_VALUES) == set(UNSUPPORTED)
    assert not set(FUSED_VALUES) & SCALAR_SETTINGS
    assert uses_fused_executor(Settings())
    assert not uses_fused_executor(Settings(halving=2))


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_serial_trials_are_tiles_of_their_own_and_change_no_other_tile(name: str) -> None:
    common = Settings(hidden=(4,), batch_norm=True)
    grid = {"lr": (1e-3, 1e-2), "l1": (0.0, 1e-4)}
    fused = build_trials(expand_grid(common, grid))
    values = (Settings.model_fields[name].default, UNSUPPORTED[name])
    mixed = build_trials(expand_grid(common, {**grid, name: values}))
    tiles = [tile for group in group_trials(mixed) for tile in plan_tiles(group, 50)]
    serial_tiles = [tile for tile in tiles if not uses_fused_executor(tile[0].settings)]
    assert [len(tile) for tile in serial_tiles] == [1] * 4
    fused_tiles = [tile for tile in tiles if tile not in serial_tiles]
    assert fused_tiles == plan_tiles(group_trials(fused)[0], 50)


@pytest.mark.parametrize("name", ["dropout_layers", "norm_first"])
def test_a_setting_without_effect_does_not_decide_the_executor(name: str) -> None:
    trial = build_trial(Settings(**{name: UNSUPPORTED[name]}))
    assert trial.id == build_trial(Settings()).id
    assert uses_fused_executor(trial.settings)
