"""Settings of a run: the name, type, range, default and meaning of each setting."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

NUMBER_SEPARATOR = "x"  # hidden=2000x1000; not a comma, which separates the values of a grid
NAME_SEPARATOR = "+"  # augment=crop+flip


def _split_numbers(value: object) -> object:
    """Split '2000x1000' into ['2000', '1000']; a single number becomes a list, 'none' is []."""
    if isinstance(value, str):
        return [] if value.strip().lower() == "none" else value.strip().split(NUMBER_SEPARATOR)
    if value is None:
        return []
    return [value] if isinstance(value, (int, float)) else value


def _split_names(value: object) -> object:
    """Split 'crop+flip' into ['crop', 'flip']; 'none' is []."""
    if isinstance(value, str):
        names = [name.strip() for name in value.split(NAME_SEPARATOR)]
        return [] if value.strip().lower() == "none" else names
    return [] if value is None else value


def _sort_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Keep each name once, in alphabetical order: 'flip+crop' means the same as 'crop+flip'."""
    return tuple(sorted(set(names)))


def _parse_none(value: object) -> object:
    """Turn 'none' into None, for settings that can be switched off."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_split_numbers)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Fraction, Fraction], BeforeValidator(_split_numbers)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split_names), AfterValidator(_sort_names)]
SplitFraction = Annotated[float, Field(gt=0, le=0.5)]
Optional = BeforeValidator(_parse_none)
OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, Optional]
OptionalFactor = Annotated[Annotated[int, Field(ge=2)] | None, Optional]


def define_setting(default: Any, meaning: str, rule: str, **limits: Any) -> Any:  # noqa: ANN401
    """Return a field with its meaning (for help texts) and its rule (for error messages)."""
    return Field(default=default, description=meaning, json_schema_extra={"rule": rule}, **limits)


class Settings(BaseModel):
    """Everything that determines the result of a run, except the images.

    >>> Settings(lr=0.01, hidden="2000x1000").hidden
    (2000, 1000)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # network
    model: str = define_setting(
        "efficientnet_lite0",
        "name of the network, see `veduta models`; timm:NAME for any other model of timm",
        "a name that `veduta models` lists, or timm:NAME",
    )
    weights: str = define_setting(
        "pretrained",
        "initial weights of the network: pretrained, none (random), or a file",
        "pretrained, none, or the path of a .safetensors, .pt or .pth file",
    )
    image_size: Annotated[Annotated[int, Field(ge=8, le=2048)] | None, Optional] = define_setting(
        None,
        "width and height of the network's input in pixels; default: the size used in pretraining",
        "a whole number from 8 to 2048",
    )
    resize: Literal["squash", "crop"] = define_setting(
        "squash",
        "method of making images square: squash distorts the whole image, crop keeps its center",
        "squash or crop",
    )
    freeze: Literal["all", "none"] | Annotated[int, Field(ge=1)] = define_setting(
        "all",
        "number of leading stages of the backbone that stay frozen; all: only the head is trained; "
        "none: all stages are trained",
        "all, none, or a number of leading stages above 0",
    )
    channels: Widths = define_setting(
        (),
        "output channels of the convolutions of cnn and report_cnn, such as 64x32x16; none: the "
        "model's own",
        "none, or numbers of channels such as 64x32x16",
    )
    pooling: Literal["max", "average", "l2"] = define_setting(
        "average",
        "kind of pooling after the convolutions of report_cnn: max, average or l2",
        "max, average or l2",
    )
    untied_bias: bool = define_setting(
        False,
        "use a separate bias for each position of a feature map in report_cnn",
        "true or false",
    )
    norm_first: bool = define_setting(
        True, "apply batch normalization before the activation; false: after it", "true or false"
    )

    # head
    head: str = define_setting(
        "none",
        "named head of the report (report_a, report_b, report_c), which sets the hidden layers and "
        "their regularization unless they are given; none: no named head",
        "none, or the name of a head such as report_b",
    )
    hidden: Widths = define_setting(
        (),
        "widths of the head's hidden layers, such as 256 or 2000x1000; none: a linear head",
        "none, or widths such as 256 or 2000x1000",
    )
    activation: str = define_setting(
        "relu", "activation of the hidden layers", "the name of an activation, such as relu or tanh"
    )
    batch_norm: bool = define_setting(
        False, "apply batch normalization to the hidden layers", "true or false"
    )
    dropout: Fraction = define_setting(
        0.0,
        "dropout probability after each hidden layer, or on the features of a linear head",
        "a number of at least 0 and below 1",
    )
    dropout_layers: Annotated[Annotated[int, Field(ge=0)] | None, Optional] = define_setting(
        None,
        "number of leading hidden layers with dropout; none: all of them",
        "none, or a whole number of at least 0",
    )

    # training
    epochs: int = define_setting(
        20, "number of passes over the training images", "a whole number above 0", ge=1
    )
    batch_size: int = define_setting(
        32, "number of images per training step", "a whole number above 1", ge=2
    )
    lr: float = define_setting(1e-3, "learning rate", "a number above 0, such as 1e-3", gt=0)
    optimizer: str = define_setting(
        "adam",
        "name of the optimizer: adam, adamw, sgd, rmsprop or adagrad",
        "the name of an optimizer, such as adam",
    )
    momentum: Fraction = define_setting(
        0.9, "momentum of sgd", "a number of at least 0 and below 1"
    )
    nesterov: bool = define_setting(False, "use Nesterov momentum in sgd", "true or false")
    betas: Betas = define_setting(
        (0.9, 0.999),
        "decay rates of the moment estimates of adam and adamw",
        "two numbers below 1, such as 0.9x0.999",
    )
    weight_decay: float = define_setting(
        0.0,
        "weight decay: L2 penalty, decoupled from the gradient in adamw",
        "a number of at least 0, such as 1e-4",
        ge=0,
    )
    l1: float = define_setting(
        0.0, "factor of the L1 penalty", "a number of at least 0, such as 1e-5", ge=0
    )
    label_smoothing: Fraction = define_setting(
        0.0,
        "fraction of the target probability that is spread evenly over all classes",
        "a number of at least 0 and below 1",
    )
    schedule: str = define_setting(
        "constant",
        "schedule of the learning rate: constant, step, cosine or one_cycle",
        "the name of a schedule, such as cosine",
    )
    warmup: float = define_setting(
        0.0,
        "number of warmup epochs, in which the learning rate rises linearly to its full value",
        "a number of epochs, at least 0",
        ge=0,
    )
    freeze_epochs: int = define_setting(
        0,
        "number of initial epochs in which only the head is trained, with the backbone frozen",
        "a whole number of at least 0",
        ge=0,
    )
    backbone_lr_scale: float = define_setting(
        1.0,
        "learning rate of the first trainable stage as a fraction of the head's; later stages have "
        "learning rates in between",
        "a number above 0, at most 1",
        gt=0,
        le=1,
    )
    penalize: Literal["weights", "all"] = define_setting(
        "weights",
        "parameters to which weight_decay and l1 apply: weights, or all (also biases and batch "
        "normalization)",
        "weights or all",
    )
    clip: Annotated[Annotated[float, Field(gt=0)] | None, Optional] = define_setting(
        None,
        "maximum gradient norm; larger gradients are clipped to it",
        "none, or a number above 0",
    )
    ema: Fraction = define_setting(
        0.0,
        "decay of the exponential moving average of the weights, which is then evaluated and "
        "saved; 0 disables it",
        "a number of at least 0 and below 1",
    )
    class_weights: Literal["none", "balanced"] = define_setting(
        "none",
        "class weights in the loss; balanced: inversely proportional to the number of images",
        "none or balanced",
    )
    views: OptionalCount = define_setting(
        None,
        "number of augmented views per training image whose features are cached for frozen stages; "
        "epochs cycle through them; none: only the unchanged image",
        "none, or a whole number above 0",
    )
    augment: Names = define_setting(
        ("color", "crop", "flip"),
        "augmentations of training images: crop, flip, vertical_flip, rotation, perspective, "
        "color, blur, erasing; if stages of the backbone are trained also mixup, cutmix",
        "names joined by +, such as crop+flip",
    )
    patience: OptionalCount = define_setting(
        None,
        "number of epochs without improvement of the validation loss after which training stops",
        "none, or a whole number above 0",
    )
    stop_gap: Annotated[Annotated[float, Field(ge=0)] | None, Optional] = define_setting(
        None,
        "gap between training and validation accuracy above which training stops",
        "none, or a number of at least 0, such as 0.1",
    )
    stop_at: Annotated[Annotated[float, Field(gt=0, le=1)] | None, Optional] = define_setting(
        None,
        "validation accuracy at which training stops",
        "none, or a number above 0, at most 1, such as 0.9",
    )

    # data and evaluation
    validation: SplitFraction = define_setting(
        0.2, "fraction of the training images used for validation", "a number above 0, at most 0.5"
    )
    test: SplitFraction = define_setting(
        0.2,
        "fraction of the images held out as the test set if the data have no test split",
        "a number above 0, at most 0.5",
    )
    refit: bool = define_setting(
        False, "refit the winner on training and validation images together", "true or false"
    )
    folds: OptionalFactor = define_setting(
        None,
        "number of cross-validation folds; none: a single validation split",
        "none, or a whole number above 1",
    )
    tta: Literal["none", "flip"] = define_setting(
        "none",
        "test-time augmentation; flip: average over each image and its horizontal flip",
        "none or flip",
    )
    keep_leaks: bool = define_setting(
        False, "keep training images that are also test images", "true or false"
    )
    strict: bool = define_setting(
        False, "exit with code 3 if the data checks find errors", "true or false"
    )
    seed: int = define_setting(0, "random seed of the run", "a whole number of at least 0", ge=0)

    # execution
    engine: Literal["auto", "fastest", "torch", "openvino"] = define_setting(
        "auto",
        "inference engine for frozen stages: auto, fastest (measured on this machine), torch or "
        "openvino",
        "auto, fastest, torch or openvino",
    )
    precision: Literal["f32", "int8"] = define_setting(
        "f32", "precision of the frozen stages: f32 or int8", "f32 or int8"
    )
    amp: Literal["none", "auto", "bf16"] = define_setting(
        "none",
        "mixed precision of fine-tuning and training from scratch: none, bf16, or auto (bf16 if it "
        "is faster in a few test steps on this machine)",
        "none, auto or bf16",
    )
    halving: OptionalFactor = define_setting(
        None,
        "reduction factor of successive halving; none disables halving",
        "none, or a whole number above 1",
    )
    checkpoint_seconds: float = define_setting(
        30.0,
        "seconds between checkpoints during fine-tuning and training from scratch",
        "a number of seconds, at least 0",
        ge=0,
    )
    hang_seconds: float = define_setting(
        1800.0, "seconds without a training step after which a trial fails", "seconds above 0", gt=0
    )
    max_failures: int = define_setting(
        5,
        "number of consecutive failed trials that stops the run; divergence does not count",
        "a whole number above 0",
        ge=1,
    )
    memory: Annotated[str | None, Optional] = define_setting(
        None,
        "memory limit for trials that train at the same time, such as 500MB or 4GB; default: half "
        "of the free memory",
        "none, or a size such as 500MB or 4GB",
        pattern=r"^[0-9]+(\.[0-9]+)?[MG]B$",
    )

    # derived properties

    @property
    def frozen_stages(self) -> int | None:
        """Number of frozen leading stages of the backbone; None if all stages are frozen.

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
        """Number of augmented views whose features are cached; 0 if there are none."""
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
        """Whether successive halving is enabled."""
        return self.halving is not None

    @property
    def refits_winner(self) -> bool:
        """Whether the winner is refit on training and validation images together."""
        return self.refit or self.uses_folds

    @property
    def averages_weights(self) -> bool:
        """Whether a moving average of the weights is evaluated and saved."""
        return self.ema > 0

    @property
    def quantizes(self) -> bool:
        """Whether the backbone runs in int8."""
        return self.precision == "int8"


RUN_SETTINGS = frozenset(
    {
        *("validation", "test", "refit", "seed", "engine", "keep_leaks", "strict"),
        *("folds", "tta", "precision", "memory", "amp", "halving", "checkpoint_seconds"),
        *("hang_seconds", "max_failures"),
    }
)
"""Settings of a whole run; every other setting may be a dimension of a grid."""

TRIAL_SETTINGS = tuple(name for name in Settings.model_fields if name not in RUN_SETTINGS)
"""Settings that may differ from trial to trial, in canonical order."""

OTHER_OPTIONS = ("config", "grid", "json", "out", "preset", "preview", "resume")
"""Command-line options that are not settings; suggested for unknown names."""
