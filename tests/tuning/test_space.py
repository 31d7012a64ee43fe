"""The search space: every cell once; ids and order depend on hyperparameters alone."""

import hashlib
import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.tuning.trials.space import (
    DEFAULTS,
    build_trial,
    build_trials,
    expand_grid,
    find_unused_settings,
    find_varied_settings,
)

GRID = {"lr": (3e-4, 3e-3), "batch_size": (32, 64), "weight_decay": (0.0, 1e-4)}


def test_every_cell_of_the_product_is_a_trial() -> None:
    trials = build_trials(expand_grid(Settings(), GRID))
    values = {(t.settings.lr, t.settings.batch_size, t.settings.weight_decay) for t in trials}
    assert values == set(itertools.product(*GRID.values()))
    assert len(trials) == len({trial.id for trial in trials}) == 8
    assert find_varied_settings(trials) == ["batch_size", "lr", "weight_decay"]


@given(st.randoms(use_true_random=False))
def test_trials_do_not_depend_on_the_order_of_the_grid(generator: random.Random) -> None:
    names = generator.sample(list(GRID), len(GRID))
    shuffled = {name: tuple(generator.sample(GRID[name], len(GRID[name]))) for name in names}
    expected = build_trials(expand_grid(Settings(), GRID))
    assert build_trials(expand_grid(Settings(), shuffled)) == expected


def test_a_trial_has_the_same_id_in_a_larger_grid_and_alone() -> None:
    larger_grid = {**GRID, "lr": (3e-4, 3e-3, 3e-2)}
    small = {trial.id for trial in build_trials(expand_grid(Settings(), GRID))}
    large = {trial.id for trial in build_trials(expand_grid(Settings(), larger_grid))}
    assert small < large
    assert build_trial(Settings(lr=3e-4, batch_size=32)).id in small


def test_an_id_does_not_depend_on_settings_of_the_run() -> None:
    assert build_trial(Settings()).id == build_trial(Settings(seed=3, test=0.3, halving=2)).id
    assert build_trial(Settings()).id != build_trial(Settings(dropout=0.1)).id


def test_an_id_is_the_hash_of_the_hyperparameters_that_differ_from_their_defaults() -> None:
    """So a new setting changes no existing id."""

    def hash_text(text: str) -> str:
        return "t" + hashlib.sha256(text.encode()).hexdigest()[:9]

    assert build_trial(Settings()).id == hash_text("{}")
    changed = Settings(optimizer="sgd", lr=0.5, hidden=(8, 4), momentum=0.3)
    expected = '{"hidden": [8, 4], "lr": 0.5, "momentum": 0.3, "optimizer": "sgd"}'
    assert build_trial(changed).id == hash_text(expected)
    # the momentum has no effect on adam
    assert build_trial(Settings(lr=0.5, momentum=0.3)).id == hash_text('{"lr": 0.5}')


def test_defaults_that_ids_depend_on() -> None:
    """A change here changes the ids of all trials that use the default."""
    assert DEFAULTS == {
        "model": "efficientnet_lite0", "weights": "pretrained", "image_size": None, "resize":
        "squash", "freeze": "all", "channels": [], "pooling": "average", "untied_bias": False,
        "norm_first": True, "head": "none", "hidden": [], "activation": "relu", "batch_norm":
        False, "dropout": 0.0, "dropout_layers": None, "epochs": 20, "batch_size": 32, "lr":
        0.001, "optimizer": "adam", "momentum": 0.9, "nesterov": False, "betas": [0.9, 0.999],
        "weight_decay": 0.0, "l1": 0.0, "label_smoothing": 0.0, "schedule": "constant",
        "warmup": 0.0, "freeze_epochs": 0, "backbone_lr_scale": 1.0, "penalize": "weights",
        "clip": None, "ema": 0.0, "class_weights": "none", "views": None, "augment": ["color",
        "crop", "flip"], "patience": None, "stop_gap": None, "stop_at": None,
    }  # fmt: skip


def test_cells_that_differ_in_settings_without_effect_are_one_trial() -> None:
    grid = {"optimizer": ("adam", "sgd"), "momentum": (0.0, 0.9)}
    assert len(build_trials(expand_grid(Settings(), grid))) == 3
    frozen = {"augment", "backbone_lr_scale", "freeze_epochs", "head"}
    convolutions = {"channels", "pooling", "untied_bias"}
    hidden = {"activation", "batch_norm", "dropout_layers", "norm_first"}
    expected = frozen | convolutions | hidden | {"momentum", "nesterov"}
    assert find_unused_settings(Settings()) == expected
    wide = Settings(hidden=(4,), optimizer="sgd")
    assert find_unused_settings(wide) == frozen | convolutions | {"betas", "norm_first"}


def test_a_network_without_a_frozen_backbone_uses_the_settings_of_its_layers() -> None:
    adam = {"head", "momentum", "nesterov"}
    network = {"model": "report_cnn", "freeze": "none"}
    assert find_unused_settings(Settings(**network, batch_norm=True)) == adam | {
        *("views", "dropout_layers")
    }
    assert find_unused_settings(Settings(**network, batch_norm=False)) == adam | {
        *("views", "dropout_layers", "norm_first")
    }
    trained = Settings(freeze="none", hidden=(4,), batch_norm=True)
    assert find_unused_settings(trained) == adam | {
        *("views", "channels", "pooling", "untied_bias")
    }
    partly_frozen = find_unused_settings(Settings(freeze=3, views=2))
    assert partly_frozen >= {"channels", "activation", "batch_norm"}
    assert not partly_frozen & {"augment", "views", "freeze_epochs"}


def test_values_of_different_types_have_an_order() -> None:
    grid = {"hidden": ((256,), (), (20, 10)), "patience": (None, 3)}
    trials = build_trials(expand_grid(Settings(), grid))
    assert [(t.settings.hidden, t.settings.patience) for t in trials] == [
        ((), None), ((), 3), ((20, 10), None), ((20, 10), 3), ((256,), None), ((256,), 3),
    ]  # fmt: skip
    assert set(trials[0].hyperparameters) == set(TRIAL_SETTINGS)


def test_maps_are_mixed_also_without_views() -> None:
    mixing, changing = (
        find_unused_settings(Settings(freeze=3, augment=names))
        for names in (("cutmix",), ("crop",))
    )
    assert "augment" not in mixing
    assert "augment" in changing


def test_views_have_no_effect_where_pixels_are_augmented_in_every_epoch() -> None:
    trained, frozen = (find_unused_settings(Settings(freeze=freeze)) for freeze in ("none", "all"))
    assert ("views" in trained, "augment" in trained) == (True, False)
    assert ("views" in frozen, "augment" in frozen) == (False, True)
