"""Presets set what a user has not said, in order: the user, the head, the model."""

import pytest

from veduta.config.settings import OF_A_TRIAL, Settings
from veduta.errors import InputError
from veduta.networks.catalogue.registry import MODELS
from veduta.networks.heads import head_of
from veduta.networks.presets import HEADS, resolved
from veduta.tuning.trials.space import trial_of


@pytest.mark.parametrize("name", MODELS)
def test_values_of_presets_are_values_of_settings(name: str) -> None:
    for values in (MODELS[name].defaults, *HEADS.values()):
        settings = Settings(**values)
        assert {n: getattr(settings, n) for n in values} == dict(values)
        assert values.keys() <= set(OF_A_TRIAL)


@pytest.mark.parametrize(
    ("head", "model", "widths", "rate"),
    [
        ("report_a", "vgg16_fc", (4096, 256, 6), 0.3),
        ("report_b", "vgg16", (25_088, 2000, 6), 0.4),
        ("report_c", "vgg16", (25_088, 2000, 2000, 1000, 6), 0.5),
    ],
)
def test_the_reports_heads(head: str, model: str, widths: tuple[int, ...], rate: float) -> None:
    settings = resolved(Settings(head=head, model=model), {"head", "model"})
    found = head_of(settings, MODELS[model].features, 6)
    assert (found.widths, found.dropout, found.activation) == (widths, rate, "relu")
    assert found.batch_norm == (head != "report_a")


def test_what_is_given_stays_the_head_comes_before_the_model() -> None:
    given = Settings(model="report_cnn", head="report_b", dropout=0.1, lr=0.5)
    found = resolved(given, {"model", "head", "dropout", "lr"})
    assert (found.dropout, found.lr, found.hidden, found.dropout_layers) == (
        0.1,
        0.5,
        (2000,),
        None,
    )
    assert (found.freeze, found.weights, found.epochs, found.image_size) == (
        "none",
        "none",
        100,
        150,
    )
    assert found.head == "report_b"
    assert resolved(given, {"image_size", "model"}).image_size == 150  # given as none


def test_a_model_of_others_keeps_the_defaults() -> None:
    assert resolved(Settings(), ()) == Settings(image_size=224)


def test_a_trial_is_what_its_preset_says_under_whatever_name() -> None:
    by_name = resolved(Settings(head="report_a"), {"head"})
    spelled = resolved(Settings(hidden=(256,), dropout=0.3), {"hidden", "dropout"})
    assert trial_of(by_name).id == trial_of(spelled).id


def test_faults_come_together() -> None:
    with pytest.raises(InputError) as caught:
        resolved(Settings(head="report_d", model="vgg17"), ())
    assert len(caught.value.faults) == 2
    assert "did you mean 'report_c'?" in str(caught.value) or "report_a" in str(caught.value)
    with pytest.raises(InputError, match="at least 79 for report_cnn"):
        resolved(Settings(model="report_cnn", image_size=78), {"image_size"})
