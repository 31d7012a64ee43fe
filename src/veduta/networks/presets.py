"""Values of settings that the user did not give: those of a head preset, or of the model.

Built-in networks have the settings of their training from scratch as defaults, and the heads of the
report have their widths. Presets are resolved to values of settings, so that a run records what it
used, and the user may override each value.
"""

from collections.abc import Collection, Mapping
from typing import Any

from veduta.config.settings import Settings
from veduta.errors import InputError, describe_unknown_name
from veduta.networks.backbones import build_preprocessing
from veduta.networks.catalogue.registry import find_model, resolve_model

HEAD_PRESETS: dict[str, Mapping[str, Any]] = {
    "report_a": {"hidden": (256,), "activation": "relu", "dropout": 0.3},
    "report_b": {"hidden": (2000,), "activation": "relu", "batch_norm": True, "dropout": 0.4},
    "report_c": {
        "hidden": (2000, 2000, 1000),
        "activation": "relu",
        "batch_norm": True,
        "dropout": 0.5,
    },
}
"""The heads of the report's application (section 5), from the notebooks of its author."""

NO_HEAD_PRESET = "none"


def collect_preset_values(settings: Settings) -> dict[str, Any]:
    """Return the values that the presets in `settings` set; a head preset overrides the model.

    >>> collect_preset_values(Settings(head="report_a"))["hidden"]
    (256,)

    Raises:
        InputError: the head preset or the model does not exist.
    """
    faults, values = list[str](), dict[str, Any]()
    try:
        values |= find_model(settings.model).defaults
    except InputError as error:
        faults += error.faults
    if settings.head == NO_HEAD_PRESET:
        pass
    elif settings.head not in HEAD_PRESETS:
        names = (NO_HEAD_PRESET, *HEAD_PRESETS)
        faults.append(describe_unknown_name("head", settings.head, names))
    else:
        values |= {"batch_norm": False, "dropout_layers": None, **HEAD_PRESETS[settings.head]}
    if faults:
        raise InputError(*faults)
    return values


def resolve_presets(settings: Settings, given: Collection[str]) -> Settings:
    """Return the settings of a trial with preset values, and with the image size as a number.

    >>> resolve_presets(Settings(model="report_cnn", dropout=0.2), {"model", "dropout"}).hidden
    (4000, 4000, 1000)

    Args:
        settings: values of the user, and defaults.
        given: names of the settings that the user gave; presets do not change them.

    Raises:
        InputError: the head preset or the model does not exist, or the images are too small.
    """
    values = collect_preset_values(settings)
    update = {name: value for name, value in values.items() if name not in given}
    resolved = settings.model_copy(update=update)
    size = build_preprocessing(resolve_model(resolved), resolved.image_size).image_size
    return resolved.model_copy(update={"image_size": size})
