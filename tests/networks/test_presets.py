"""Presets set values that the user did not give; a head preset overrides those of the model."""

import pytest

from veduta.config.settings import TRIAL_SETTINGS, Settings
from veduta.errors import InputError
from veduta.networks.catalogue.registry import MODELS
from veduta.networks.heads import describe_head
from veduta.networks.presets import HEAD_PRESETS, resolve_presets
from veduta.tuning.trials.space import build_trial


@pytest.mark.parametrize("name", MODELS)
def test_values_of_presets_are_valid_settings(name: str) -> None:
    for values in (MODELS[name].defaults, *HEAD_PRESETS.values()):
        settings = Settings(**values)
        assert {n: getattr(settings, n) for n in values} == dict(values)
        assert values.keys() <= set(TRIAL_SETTINGS)


@pytest.mark.parametrize(
    ("head", "model", "widths", "dropout"),
    [
        ("report_a", "vgg16_fc", (4096, 256, 6), 0.3),
        ("report_b", "vgg16", (25_088, 2000, 6), 0.4),
        ("report_c", "vgg16", (25_088, 2000, 2000, 1000, 6), 0.5),
    ],
)
def test_heads_of_the_report(
    head: str, model: str, widths: tuple[int, ...], dropout: float
) -> None:
    settings = resolve_presets(Settings(head=head, model=model), {"head", "model"})
    description = describe_head(settings, MODELS[model].features, 6)
    assert (description.widths, description.dropout) == (widths, dropout)
    assert description.activation == "relu"
    assert description.batch_norm == (head != "report_a")


def test_the_user_overrides_the_head_preset_which_overrides_the_model() -> None:
    given = Settings(model="report_cnn", head="report_b", dropout=0.1, lr=0.5)
    resolved = resolve_presets(given, {"model", "head", "dropout", "lr"})
    assert (resolved.dropout, resolved.lr, resolved.hidden, resolved.dropout_layers) == (
        0.1,
        0.5,
        (2000,),
        None,
    )
    assert (resolved.freeze, resolved.weights, resolved.epochs, resolved.image_size) == (
        "none",
        "none",
        100,
        150,
    )
    assert resolved.head == "report_b"
    assert resolve_presets(given, {"image_size", "model"}).image_size == 150  # given as none


def test_a_pretrained_model_has_the_default_settings() -> None:
    assert resolve_presets(Settings(), ()) == Settings(image_size=224)


def test_a_preset_and_its_values_give_the_same_trial() -> None:
    from_preset = resolve_presets(Settings(head="report_a"), {"head"})
    from_values = resolve_presets(Settings(hidden=(256,), dropout=0.3), {"hidden", "dropout"})
    assert build_trial(from_preset).id == build_trial(from_values).id


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(InputError) as caught:
        resolve_presets(Settings(head="report_d", model="vgg17"), ())
    assert len(caught.value.faults) == 2
    assert "did you mean 'report_c'?" in str(caught.value) or "report_a" in str(caught.value)
    with pytest.raises(InputError, match="at least 79 for report_cnn"):
        resolve_presets(Settings(model="report_cnn", image_size=78), {"image_size"})
