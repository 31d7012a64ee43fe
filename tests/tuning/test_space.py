"""The space: every cell once, names and order that depend on hyper-parameters alone."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from veduta.config.settings import OF_A_TRIAL, Settings
from veduta.tuning.trials.space import cells, trial_of, trials, unused, varied

GRID = {"lr": (3e-4, 3e-3), "batch_size": (32, 64), "weight_decay": (0.0, 1e-4)}


def test_every_cell_of_the_product_once() -> None:
    found = trials(cells(Settings(), GRID))
    seen = {(t.settings.lr, t.settings.batch_size, t.settings.weight_decay) for t in found}
    assert seen == set(itertools.product(*GRID.values()))
    assert len(found) == len({trial.id for trial in found}) == 8
    assert varied(found) == ["batch_size", "lr", "weight_decay"]


@given(st.randoms(use_true_random=False))
def test_the_order_of_a_grid_means_nothing(generator: random.Random) -> None:
    names = generator.sample(list(GRID), len(GRID))
    grid = {name: tuple(generator.sample(GRID[name], len(GRID[name]))) for name in names}
    assert trials(cells(Settings(), grid)) == trials(cells(Settings(), GRID))


def test_a_trial_keeps_its_name_in_a_larger_grid_and_alone() -> None:
    small = {trial.id for trial in trials(cells(Settings(), GRID))}
    large = {t.id for t in trials(cells(Settings(), {**GRID, "lr": (3e-4, 3e-3, 3e-2)}))}
    assert small < large
    assert trial_of(Settings(lr=3e-4, batch_size=32)).id in small


def test_a_name_does_not_change_with_what_a_run_shares() -> None:
    assert trial_of(Settings()).id == trial_of(Settings(seed=3, test=0.3, engine="torch")).id
    assert trial_of(Settings()).id != trial_of(Settings(dropout=0.1)).id


def test_cells_that_differ_in_what_they_do_not_use_are_one_trial() -> None:
    grid = {"optimizer": ("adam", "sgd"), "momentum": (0.0, 0.9)}
    assert len(trials(cells(Settings(), grid))) == 3
    frozen = {"augment", "backbone_lr_scale", "freeze_epochs", "head"}
    convolutions = {"channels", "pooling", "untied_bias"}
    hidden = {"activation", "batch_norm", "dropout_layers", "norm_first"}
    assert unused(Settings()) == frozen | convolutions | hidden | {"momentum", "nesterov"}
    wide = Settings(hidden=(4,), optimizer="sgd")
    assert unused(wide) == frozen | convolutions | {"betas", "norm_first"}


def test_a_network_that_is_trained_whole_uses_what_it_is_made_of() -> None:
    adam = {"head", "momentum", "nesterov"}
    whole = {"model": "report_cnn", "freeze": "none", "batch_norm": True}
    assert unused(Settings(**whole)) == adam | {"views", "dropout_layers"}
    assert unused(Settings(**{**whole, "batch_norm": False})) == adam | {
        *("views", "dropout_layers", "norm_first")
    }
    assert unused(Settings(freeze="none", hidden=(4,), batch_norm=True)) == adam | {
        *("views", "channels", "pooling", "untied_bias")
    }
    assert unused(Settings(freeze=3, views=2)) >= {"channels", "activation", "batch_norm"}
    assert not unused(Settings(freeze=3, views=2)) & {"augment", "views", "freeze_epochs"}


def test_mixed_values_have_an_order() -> None:
    grid = {"hidden": ((256,), (), (20, 10)), "patience": (None, 3)}
    found = trials(cells(Settings(), grid))
    assert [(t.settings.hidden, t.settings.patience) for t in found] == [
        ((), None), ((), 3), ((20, 10), None), ((20, 10), 3), ((256,), None), ((256,), 3),
    ]  # fmt: skip
    assert set(found[0].parameters) == set(OF_A_TRIAL)


def test_maps_are_mixed_without_views_too() -> None:
    mixing, changing = (
        unused(Settings(freeze=3, augment=names)) for names in (("cutmix",), ("crop",))
    )
    assert ("augment" in mixing, "augment" in changing) == (False, True)


def test_pixels_augmented_afresh_need_no_views() -> None:
    whole, frozen = (unused(Settings(freeze=freeze)) for freeze in ("none", "all"))
    assert ("views" in whole, "augment" in whole) == (True, False)
    assert ("views" in frozen, "augment" in frozen) == (False, True)
