"""Provenance of a run: configuration, images, engine and versions that its results depend on.

`Provenance` is written to the journal when a run starts, and is the section `run` of `config.yaml`;
`summary.json` contains its data and engine, too.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT: Literal[1] = 1
"""Version of all files that a run writes: journal, summaries, manifest of the model."""

SettingValue = bool | int | float | str | list[int | float | str] | None
"""A setting as a JSON value: tuples are lists; None stands for no value or no effect."""

Precision = Literal["f32", "int8"]


class Record(BaseModel):
    """Base class of everything that a run records: immutable, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def to_json_content(self, *, exclude_none: bool = False) -> dict[str, object]:
        """Return the record as JSON values; NaN and infinity become text.

        Names that are not UTF-8 stay as they are (surrogates), also as keys, which pydantic's own
        JSON mode replaces.
        """
        content = self.model_dump(exclude_none=exclude_none)
        return {name: _make_finite(value) for name, value in content.items()}


def _make_finite(value: object) -> object:
    """Return JSON content in which NaN and infinity are text, as pydantic writes them."""
    if isinstance(value, dict):
        return {name: _make_finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_make_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def describe_parse_error(error: Exception) -> str:
    """Return the first error of a validation with its location, or the message of another error.

    It is one line of at most 200 characters.
    """
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        location = ".".join(map(str, first["loc"]))
        text = f"{location}: {first['msg']}" if location else first["msg"]
    return " ".join(text.split())[:200]


class SplitSizes(Record):
    """Number of images of each split."""

    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        """Return the number of images of all splits."""
        return self.train + self.validation + self.test


class DataSummary(Record):
    """Result of the data checks, and the sizes of the splits.

    Attributes:
        classes: names in code point order; the position of a name is its class index.
        split_sizes: images of each split.
        rejected_files: number of files that cannot be decoded.
        dropped_images: number of training or validation images dropped because a later split has
            an identical image.
        images_in_two_splits: number of images in two splits, dropped or kept (`keep_leaks`).
        images_in_two_classes: number of identical images with different labels.
        problems: number of findings by kind.
        errors: number of findings with severity error.
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
    """The engine that computes features, and the speeds that `engine=fastest` measured."""

    name: Literal["torch", "openvino"]
    precision: Precision
    images_per_second: dict[str, float] | None = None


class Configuration(Record):
    """Resolved settings and the grid, with which `--config` repeats the run.

    A setting that is in the grid, or that presets decide per trial, is not in `settings`.
    """

    settings: dict[str, SettingValue]
    grid: dict[str, list[SettingValue]] = Field(default_factory=dict)


class Provenance(Record):
    """Everything besides its configuration that the results of a run depend on.

    Attributes:
        command: the command that was called.
        root: folder of the images, or the CSV file.
        layout: how splits and labels were recognized, in words.
        data: result of the data checks, and the splits.
        data_fingerprint: SHA-256 over content and label of every image.
        engine: the engine that computes features.
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
