"""The settings of a run: every name a user may set, with its type, range, default and meaning."""

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
Optional = BeforeValidator(_optional)
OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, Optional]
OptionalFactor = Annotated[Annotated[int, Field(ge=2)] | None, Optional]


def setting(default: Any, meaning: str, rule: str, **limits: Any) -> Any:  # noqa: ANN401
    """A field with its meaning (for help texts) and its rule (for error messages)."""
    return Field(default=default, description=meaning, json_schema_extra={"rule": rule}, **limits)


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


class Settings(BaseModel):
    """Everything that decides the result of a run, besides the images.

    >>> Settings(lr=0.01, hidden="2000x1000").hidden
    (2000, 1000)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # what is trained
    model: str = setting(
        "efficientnet_lite0",
        "network, see `veduta models`; timm:NAME for any other of timm",
        "a name that `veduta models` lists, or timm:NAME",
    )
    weights: str = setting(
        "pretrained",
        "where they come from: pretrained, none (random), or a file",
        "pretrained, none, or the path of a .safetensors, .pt or .pth file",
    )
    image_size: Annotated[Annotated[int, Field(ge=8, le=2048)] | None, Optional] = setting(
        None,
        "pixels a side; default: the size the model was trained at",
        "a whole number from 8 to 2048",
    )
    resize: Literal["squash", "crop"] = setting(
        "squash", "squash the whole image to a square, or crop its centre", "squash or crop"
    )
    freeze: Literal["all", "none"] | Annotated[int, Field(ge=1)] = setting(
        "all",
        "how many leading stages of the backbone keep their weights; all: only the head trains; "
        "none: everything does",
        "all, none, or a number of leading stages above 0",
    )
    channels: Widths = setting(
        (),
        "maps of the convolutions of cnn and report_cnn, as in 64x32x16; default: the model's own",
        "none, or numbers of maps such as 64x32x16",
    )
    pooling: Literal["max", "average", "l2"] = setting(
        "average", "of the convolutions of report_cnn: max, average or l2", "max, average or l2"
    )
    untied_bias: bool = setting(
        False, "a bias of its own for every place of a map, in report_cnn", "true or false"
    )
    norm_first: bool = setting(
        True, "batch normalisation before the activation; false: after it", "true or false"
    )
    head: str = setting(
        "none",
        "the report's heads: report_a, report_b, report_c; they set what is not set beside them",
        "none, or the name of a head such as report_b",
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
    dropout: Decay = setting(
        0.0,
        "probability of dropping: after each hidden layer, or on the features of a linear head",
        "a number from 0 up to, not including, 1",
    )
    dropout_layers: Annotated[Annotated[int, Field(ge=0)] | None, Optional] = setting(
        None,
        "how many leading hidden layers drop; none: all of them",
        "none, or a whole number from 0 up",
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
    label_smoothing: Decay = setting(
        0.0,
        "share of the target spread evenly over all classes",
        "a number from 0 up to, not including, 1",
    )
    schedule: str = setting(
        "constant",
        "of the learning rate: constant, step, cosine or one_cycle",
        "the name of a schedule, such as cosine",
    )
    warmup: float = setting(
        0.0, "epochs in which the learning rate rises to its value", "epochs, from 0 up", ge=0
    )
    freeze_epochs: int = setting(
        0,
        "of the epochs, how many train the head alone before the stages behind it are opened",
        "a whole number from 0 up",
        ge=0,
    )
    backbone_lr_scale: float = setting(
        1.0,
        "learning rate of the first stage that trains, as a share of the head's; stages between "
        "have rates between",
        "a number above 0, at most 1",
        gt=0,
        le=1,
    )
    penalise: Literal["weights", "all"] = setting(
        "weights",
        "what weight_decay and l1 act on: weights, or all (biases and batch norm too)",
        "weights or all",
    )
    clip: Annotated[Annotated[float, Field(gt=0)] | None, Optional] = setting(
        None, "longest gradient: a longer one is shortened to it", "none, or a number above 0"
    )
    ema: Decay = setting(
        0.0,
        "decay of the moving average of the weights, which is what is measured and kept; 0: none",
        "a number from 0 up to, not including, 1",
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none",
        "balanced: each class weighs the same in the loss, however many images it has",
        "none or balanced",
    )
    views: OptionalCount = setting(
        None,
        "augmented views of each training image that frozen stages see, one an epoch in turn; "
        "none: the plain image",
        "none, or a whole number above 0",
    )
    augment: Words = setting(
        ("colour", "crop", "flip"),
        "what changes a training image: crop, flip, vertical_flip, rotation, perspective, colour, "
        "blur, erasing; where more than the head trains also mixup, cutmix",
        "names joined by +, such as crop+flip",
    )
    patience: OptionalCount = setting(
        None,
        "stop after this many epochs without a better validation loss",
        "none, or a whole number above 0",
    )
    stop_gap: Annotated[Annotated[float, Field(ge=0)] | None, Optional] = setting(
        None,
        "stop once training accuracy is further above validation accuracy than this",
        "none, or a number from 0 up, such as 0.1",
    )
    stop_at: Annotated[Annotated[float, Field(gt=0, le=1)] | None, Optional] = setting(
        None,
        "stop once validation accuracy has reached this",
        "none, or a number above 0, at most 1, such as 0.9",
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
    folds: OptionalFactor = setting(
        None,
        "cross-validate: every training image chooses once, in one of so many folds",
        "none, or a whole number above 1",
    )
    tta: Literal["none", "flip"] = setting(
        "none", "test-time augmentation: flip adds each image's mirror", "none or flip"
    )
    keep_leaks: bool = setting(False, "keep training images that the test has too", "true or false")
    strict: bool = setting(False, "exit code 3 for findings in the data", "true or false")
    seed: int = setting(0, "of every random choice", "a whole number from 0 up", ge=0)
    engine: Literal["auto", "fastest", "torch", "openvino"] = setting(
        "auto",
        "what computes features: auto, fastest (measured here), torch or openvino",
        "auto, fastest, torch or openvino",
    )
    precision: Literal["f32", "int8"] = setting(
        "f32", "of the engine's arithmetic: f32 or int8", "f32 or int8"
    )
    amp: Literal["none", "auto", "bf16"] = setting(
        "none",
        "mixed precision where networks train: none, bf16, or auto (bf16 where a test of a few "
        "steps says that it is quicker here)",
        "none, auto or bf16",
    )
    halving: OptionalFactor = setting(
        None,
        "successive halving: of so many trials the best one is trained so many times longer",
        "none, or a whole number above 1",
    )
    checkpoint_seconds: float = setting(
        30.0,
        "what a kill may cost: seconds between checkpoints of a network in training",
        "a number of seconds from 0 up",
        ge=0,
    )
    hang_seconds: float = setting(
        1800.0, "without a step for so long a training has failed", "seconds above 0", gt=0
    )
    max_failures: int = setting(
        5, "trainings in a row that fail, if not by diverging: stop", "a whole number above 0", ge=1
    )
    memory: Annotated[str | None, Optional] = setting(
        None,
        "how much trials may take side by side, such as 500MB or 4GB; default half of what is free",
        "none, or a size such as 500MB or 4GB",
        pattern=r"^[0-9]+(\.[0-9]+)?[MG]B$",
    )

    # what follows from the settings above; asked for by name instead of comparing values

    @property
    def frozen_stages(self) -> int | None:
        """Number of leading backbone stages that keep their weights; None where all of them do.

        >>> [Settings(freeze=freeze).frozen_stages for freeze in ("all", "none", 3)]
        [None, 0, 3]
        """
        if self.freeze == "all":
            return None
        return 0 if self.freeze == "none" else self.freeze

    @property
    def trains_backbone(self) -> bool:
        """Whether stages of the backbone train with the head."""
        return self.frozen_stages is not None

    @property
    def trains_whole_backbone(self) -> bool:
        """Whether every stage of the backbone trains, so that no feature can be cached."""
        return self.frozen_stages == 0

    @property
    def cached_views(self) -> int:
        """Number of augmented views of which frozen stages compute features; 0 without them."""
        return 0 if self.trains_whole_backbone else self.views or 0

    @property
    def uses_folds(self) -> bool:
        """Whether the winner is selected by cross-validation."""
        return self.folds is not None

    @property
    def fold_count(self) -> int:
        """Number of folds; 1 without cross-validation."""
        return self.folds or 1

    @property
    def uses_halving(self) -> bool:
        """Whether trials compete by successive halving."""
        return self.halving is not None

    @property
    def refits_winner(self) -> bool:
        """Whether the winner is trained again on training and validation images together."""
        return self.refit or self.uses_folds

    @property
    def averages_weights(self) -> bool:
        """Whether a moving average of the weights is evaluated and kept."""
        return self.ema > 0

    @property
    def quantizes(self) -> bool:
        """Whether the backbone runs in int8."""
        return self.precision == "int8"


OF_A_RUN = frozenset(
    {
        *("validation", "test", "refit", "seed", "engine", "keep_leaks", "strict"),
        *("folds", "tta", "precision", "memory", "amp", "halving", "checkpoint_seconds"),
        *("hang_seconds", "max_failures"),
    }
)
"""Settings that hold for a whole run; every other setting may be a dimension of a grid."""

NO_SETTINGS = ("config", "grid", "json", "out", "preview", "recipe", "resume")
"""Flags that are not settings; a name that is close to one of them was meant for it."""

OF_A_TRIAL = tuple(name for name in Settings.model_fields if name not in OF_A_RUN)
