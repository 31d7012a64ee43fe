"""Groups and tiles: who runs with whom is a matter of the trials alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veduta.config.settings import OF_A_TRIAL, Settings
from veduta.tuning.trials.groups import FUSED, HALVED, NUMBERS, VARYING, fusable, groups, tiles
from veduta.tuning.trials.space import cells, trial_of, trials

GRID = {
    "batch_size": (16, 32),
    "optimizer": ("adam", "sgd"),
    "momentum": (0.0, 0.9),
    "lr": (1e-3, 1e-2),
    "dropout": (0.0, 0.3),
    "patience": (None, 3),
}


def test_a_group_shares_all_but_scalars() -> None:
    found = trials(cells(Settings(), GRID))
    made = groups(found)
    assert sorted(len(group) for group in made) == [8, 8, 16, 16]
    assert [t for t in found if t in made[0]] == list(made[0])
    for group in made:
        for name in set(OF_A_TRIAL) - VARYING:
            assert len({trial.parameters[name] for trial in group}) == 1
    shared = {tuple(g[0].parameters[n] for n in OF_A_TRIAL if n not in VARYING) for g in made}
    assert len(shared) == 4


def test_what_a_trial_does_not_use_parts_no_group() -> None:
    grid = {"optimizer": ("adam",), "nesterov": (False, True), "activation": ("relu", "tanh")}
    assert len(groups(trials(cells(Settings(), grid)))) == 1


@given(st.integers(1, 2 * NUMBERS), st.randoms(use_true_random=False))
def test_tiles_hold_each_trial_once_and_fit(parameters: int, generator: random.Random) -> None:
    group = groups(trials(cells(Settings(optimizer="sgd"), GRID)))[0]
    cut = tiles(group, parameters)
    assert sorted(t.id for tile in cut for t in tile) == sorted(trial.id for trial in group)
    widths = [len(tile) for tile in cut]
    assert max(widths) - min(widths) <= 1
    assert max(widths) == 1 or max(widths) * parameters <= NUMBERS
    assert len(cut) >= min(2, len(group)) or len(group) * parameters <= HALVED
    for tile in cut:  # equal rates side by side: one product each
        rates = [trial.settings.dropout for trial in tile]
        assert rates == sorted(rates)
    mixed = generator.sample(group, len(group))
    again = tiles(groups(trials([trial.settings for trial in mixed]))[0], parameters)
    assert again == cut


ALONE = {
    "freeze": 3, "dropout_layers": 1, "norm_first": False, "penalise": "all", "clip": 1.0,
    "ema": 0.9, "class_weights": "balanced",
}  # fmt: skip


def test_what_the_fused_executor_does_not_have_is_no_scalar_and_off_by_default() -> None:
    assert set(FUSED) == set(ALONE)
    assert not set(FUSED) & VARYING  # so all of a group can run there, or none
    assert fusable(Settings())


@pytest.mark.parametrize("name", ALONE)
def test_who_needs_the_serial_executor_runs_alone_and_changes_nothing_for_others(name: str) -> None:
    common = Settings(hidden=(4,), batch_norm=True)
    plain = trials(cells(common, {"lr": (1e-3, 1e-2), "l1": (0.0, 1e-4)}))
    values = (Settings.model_fields[name].default, ALONE[name])
    mixed = trials(cells(common, {"lr": (1e-3, 1e-2), "l1": (0.0, 1e-4), name: values}))
    found = [tile for group in groups(mixed) for tile in tiles(group, 50)]
    alone = [tile for tile in found if not fusable(tile[0].settings)]
    assert [len(tile) for tile in alone] == [1] * 4
    # the same tiles, of which each gives the same bits, whatever runs beside it
    assert [t for t in found if t not in alone] == tiles(groups(plain)[0], 50)


@pytest.mark.parametrize("name", ["dropout_layers", "norm_first"])
def test_what_a_trial_does_not_use_does_not_decide_where_it_runs(name: str) -> None:
    with_it = trial_of(Settings(**{name: ALONE[name]}))
    assert with_it.id == trial_of(Settings()).id
    assert fusable(with_it.settings)
