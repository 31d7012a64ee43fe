"""What the results of a run depend on: configuration, images, engine, versions.

`Provenance` is journaled when a run starts and is the part `run` of `config.yaml`; `summary.json`
repeats what it says of data and engine.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SettingValue = bool | int | float | str | list[int | float | str] | None
"""A setting as JSON holds it: tuples are lists; None is no value, or a setting without effect."""

Precision = Literal["f32", "int8"]


class Record(BaseModel):
    """Base class of everything that a run records: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class SplitSizes(Record):
    """Number of images of each split."""

    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        """Number of images of all splits."""
        return self.train + self.validation + self.test


class DataSummary(Record):
    """What the data checks found, and how the images were split.

    Attributes:
        classes: names in code point order; the position of a name is its class index.
        split_sizes: images of each split.
        rejected_files: number of files that cannot be decoded.
        dropped_images: number of training or validation images dropped because a later split has
            an identical image.
        images_in_two_splits: number of leaks, dropped or kept (`keep_leaks`).
        images_in_two_classes: number of identical images with different labels.
        problems: number of findings of each kind.
        errors: number of findings of severity error.
    """

    classes: tuple[str, ...]
    split_sizes: SplitSizes
    rejected_files: int
    dropped_images: int
    images_in_two_splits: int
    images_in_two_classes: int
    problems: dict[str, int]
    errors: int


class EngineChoice(Record):
    """The engine that computes features; `images_per_second` is what `engine=fastest` measured."""

    name: Literal["torch", "openvino"]
    precision: Precision
    images_per_second: dict[str, float] | None = None


class Configuration(Record):
    """Resolved settings and the grid: what `--config` takes to run the same again.

    A setting that is in the grid, or that presets decide per trial, is not in `settings`.
    """

    settings: dict[str, SettingValue]
    grid: dict[str, list[SettingValue]] = Field(default_factory=dict)


class Provenance(Record):
    """What the results of a run depend on besides its configuration.

    Attributes:
        command: search or train.
        root: folder of the images, or the CSV file, as the layout was read.
        layout: how splits and labels were found, in words.
        data: what the data checks found, and the splits.
        data_fingerprint: SHA-256 over content and label of every image.
        engine: what computes features.
        versions: machine type, Python, Veduta and libraries.
        backbones: SHA-256 of the initial weights, by model, weights and options.
    """

    command: Literal["search", "train", "lr-find"]
    root: str
    layout: str
    data: DataSummary
    data_fingerprint: str
    engine: EngineChoice
    versions: dict[str, str]
    backbones: dict[str, str] = Field(default_factory=dict)
