"""What settings are where a user has not said: by the preset of the head, then by the model.

A model of ours is trained whole, by the recipe that it was chosen with; the report's heads come
with their widths. Both stand here and in the table as values of settings, so that a run records
what it did, and any of them may be given otherwise.
"""

from collections.abc import Collection, Mapping
from typing import Any

from veduta.config.parsing import unknown
from veduta.config.settings import Settings
from veduta.errors import InputError
from veduta.networks.backbones import preprocessing_of
from veduta.networks.catalogue.registry import find_model, model_of

HEADS: dict[str, Mapping[str, Any]] = {
    "report_a": {"hidden": (256,), "activation": "relu", "dropout": 0.3},
    "report_b": {"hidden": (2000,), "activation": "relu", "batch_norm": True, "dropout": 0.4},
    "report_c": {
        "hidden": (2000, 2000, 1000),
        "activation": "relu",
        "batch_norm": True,
        "dropout": 0.5,
    },
}
"""The heads of the report's application (section 5), from its author's notebooks."""

NO_HEAD = "none"


def chosen(settings: Settings) -> dict[str, Any]:
    """What the presets that `settings` name would set: those of the head before the model's own.

    >>> chosen(Settings(head="report_a"))["hidden"]
    (256,)

    Raises:
        InputError: there is no such head, or no such model.
    """
    faults, found = list[str](), dict[str, Any]()
    try:
        found |= find_model(settings.model).defaults
    except InputError as error:
        faults += error.faults
    if settings.head == NO_HEAD:
        pass
    elif settings.head not in HEADS:
        faults.append(unknown("head", settings.head, (NO_HEAD, *HEADS)))
    else:
        found |= {"batch_norm": False, "dropout_layers": None, **HEADS[settings.head]}
    if faults:
        raise InputError(*faults)
    return found


def resolved(settings: Settings, given: Collection[str]) -> Settings:
    """The settings of one trial: what is not `given` is as presets say, the image size a number.

    >>> resolved(Settings(model="report_cnn", dropout=0.2), {"model", "dropout"}).hidden
    (4000, 4000, 1000)

    Args:
        settings: as the user gave them, defaults elsewhere.
        given: names that the user gave, in the grid or outside it.

    Raises:
        InputError: there is no such head or model, or the images are too small for it.
    """
    update = {name: value for name, value in chosen(settings).items() if name not in given}
    full = settings.model_copy(update=update)
    size = preprocessing_of(model_of(full), full.image_size).image_size
    return full.model_copy(update={"image_size": size})
