"""The settings of a run: every name a user may set, with its type, range, default and meaning.

This is the one place where a setting is defined. The command line makes its flags from it, a grid
is checked against it, and the resolved settings are saved with the run. It knows names and ranges,
not the registries: whether a model or an optimiser exists is asked where they are known.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

SEPARATOR = "x"  # hidden=2000x1000 and betas=0.9x0.999: a comma separates the values of a grid
JOIN = "+"  # augment=crop+flip


def _sequence(value: object) -> object:
    """'2000x1000' -> ['2000', '1000']; a single number -> [number]; 'none' -> []."""
    if isinstance(value, str):
        return [] if value.strip().lower() == "none" else value.strip().split(SEPARATOR)
    if value is None:
        return []
    return [value] if isinstance(value, (int, float)) else value


def _words(value: object) -> object:
    """'crop+flip' -> ['crop', 'flip']; 'none' -> []."""
    if isinstance(value, str):
        words = [word.strip() for word in value.split(JOIN)]
        return [] if value.strip().lower() == "none" else words
    return [] if value is None else value


def _as_set(words: tuple[str, ...]) -> tuple[str, ...]:
    """Each word once, in an order of ours: 'flip+crop' means what 'crop+flip' does."""
    return tuple(sorted(set(words)))


def _optional(value: object) -> object:
    """'none' -> None, for settings that can be switched off."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_sequence)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Decay, Decay], BeforeValidator(_sequence)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_as_set)]
Share = Annotated[float, Field(gt=0, le=0.5)]


def setting(default: Any, meaning: str, rule: str, **limits: Any) -> Any:  # noqa: ANN401
    """A field with its meaning (for help texts) and its rule (for error messages)."""
    return Field(default=default, description=meaning, json_schema_extra={"rule": rule}, **limits)


class Settings(BaseModel):
    """Everything that decides the result of a run, besides the images.

    >>> Settings(lr=0.01, hidden="2000x1000").hidden
    (2000, 1000)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # what is trained
    model: str = setting(
        "efficientnet_lite0", "backbone, see `veduta models`", "a name that `veduta models` lists"
    )
    weights: str = setting(
        "pretrained",
        "where they come from: pretrained, none (random), or a file",
        "pretrained, none, or the path of a .safetensors, .pt or .pth file",
    )
    image_size: Annotated[
        Annotated[int, Field(ge=8, le=2048)] | None, BeforeValidator(_optional)
    ] = setting(
        None,
        "pixels a side; default: the size the model was trained at",
        "a whole number from 8 to 2048",
    )
    resize: Literal["squash", "crop"] = setting(
        "squash", "squash the whole image to a square, or crop its centre", "squash or crop"
    )
    freeze: Literal["all"] | Annotated[int, Field(ge=1)] = setting(
        "all",
        "how many leading stages of the backbone keep their weights; all: only the head trains",
        "all, or a number of leading stages above 0",
    )
    hidden: Widths = setting(
        (),
        "widths of the head's hidden layers, as in 256 or 2000x1000",
        "none, or widths such as 256 or 2000x1000",
    )
    activation: str = setting(
        "relu", "of the hidden layers", "the name of an activation, such as relu or tanh"
    )
    batch_norm: bool = setting(False, "batch normalisation of hidden layers", "true or false")
    dropout: float = setting(
        0.0,
        "probability of dropping: after each hidden layer, or on the features of a linear head",
        "a number from 0 up to, not including, 1",
        ge=0,
        lt=1,
    )

    # how it is trained
    epochs: int = setting(20, "passes over the training images", "a whole number above 0", ge=1)
    batch_size: int = setting(32, "images a step", "a whole number above 1", ge=2)
    lr: float = setting(1e-3, "learning rate", "a number above 0, such as 1e-3", gt=0)
    optimizer: str = setting(
        "adam",
        "one of adam, adamw, sgd, rmsprop, adagrad",
        "the name of an optimiser, such as adam",
    )
    momentum: Decay = setting(0.9, "for sgd", "a number from 0 up to, not including, 1")
    nesterov: bool = setting(False, "momentum in Nesterov's form, for sgd", "true or false")
    betas: Betas = setting(
        (0.9, 0.999), "decay rates of adam and adamw", "two numbers below 1, such as 0.9x0.999"
    )
    weight_decay: float = setting(0.0, "L2 penalty", "a number from 0 up, such as 1e-4", ge=0)
    l1: float = setting(0.0, "L1 penalty", "a number from 0 up, such as 1e-5", ge=0)
    label_smoothing: float = setting(
        0.0,
        "share of the target spread evenly over all classes",
        "a number from 0 up to, not including, 1",
        ge=0,
        lt=1,
    )
    schedule: str = setting(
        "constant",
        "of the learning rate: constant, step, cosine or one_cycle",
        "the name of a schedule, such as cosine",
    )
    warmup: float = setting(
        0.0,
        "epochs over which the learning rate rises to its value",
        "a number of epochs from 0 up",
        ge=0,
    )
    views: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_optional)] = setting(
        None,
        "augmented views of each training image, one an epoch in turn; none: the plain image",
        "none, or a whole number above 0",
    )
    augment: Words = setting(
        ("colour", "crop", "flip"),
        "what makes a view, of crop, flip, rotation, perspective, colour",
        "names joined by +, such as crop+flip",
    )
    patience: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_optional)] = setting(
        None,
        "stop after this many epochs without a better validation loss",
        "none, or a whole number above 0",
    )

    # what it is trained and judged on
    validation: Share = setting(
        0.2, "share of the training images that chooses", "a number above 0, at most 0.5"
    )
    test: Share = setting(
        0.2, "share sealed as test where there is no test folder", "a number above 0, at most 0.5"
    )
    refit: bool = setting(
        False, "train the winner again on training and validation images", "true or false"
    )
    folds: Annotated[Annotated[int, Field(ge=2)] | None, BeforeValidator(_optional)] = setting(
        None,
        "cross-validate: every training image chooses once, in one of so many folds",
        "none, or a whole number above 1",
    )
    tta: Literal["none", "flip"] = setting(
        "none", "test-time augmentation: flip adds each image's mirror", "none or flip"
    )
    seed: int = setting(0, "of every random choice", "a whole number from 0 up", ge=0)
    engine: Literal["auto", "fastest", "torch", "openvino"] = setting(
        "auto",
        "what computes features: auto, fastest (measured here), torch or openvino",
        "auto, fastest, torch or openvino",
    )
    precision: Literal["f32", "int8"] = setting(
        "f32", "of the engine's arithmetic: f32 or int8", "f32 or int8"
    )
    memory: Annotated[str | None, BeforeValidator(_optional)] = setting(
        None,
        "how much trials may take side by side, such as 500MB or 4GB; default half of what is free",
        "none, or a size such as 500MB or 4GB",
        pattern=r"^[0-9]+(\.[0-9]+)?[MG]B$",
    )


OF_A_RUN = frozenset(
    {
        *("validation", "test", "refit", "seed", "engine"),
        *("folds", "tta", "precision", "memory"),
    }
)
"""Settings that hold for a whole run; every other setting may be a dimension of a grid."""

NO_SETTINGS = ("config", "grid", "json", "out", "resume")
"""Flags that are not settings; a name that is close to one of them was meant for it."""

OF_A_TRIAL = tuple(name for name in Settings.model_fields if name not in OF_A_RUN)


def as_text(value: object) -> str:
    """A value as it stands in CSV files and on the command line.

    >>> as_text((2000, 1000)), as_text(()), as_text(None), as_text(0.001), as_text(True)
    ('2000x1000', 'none', 'none', '0.001', 'true')
    """
    if isinstance(value, (tuple, list)):
        join = JOIN if all(isinstance(part, str) for part in value) else SEPARATOR
        return join.join(as_text(part) for part in value) or "none"
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON and YAML hold them: tuples become lists."""
    return {name: as_plain(value) for name, value in settings.items()}


def as_plain(value: Any) -> Any:  # noqa: ANN401
    """One value as JSON and YAML hold it."""
    return list(value) if isinstance(value, tuple) else value
