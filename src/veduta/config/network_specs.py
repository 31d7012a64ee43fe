"""Descriptions of the head and the preprocessing of a model, as its manifest stores them.

Networks are built from these descriptions, and the manifest of a saved model contains them, so that
a saved model is rebuilt from the same words that it was trained from.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

MAX_HIDDEN_LAYERS = 100

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, config=STRICT)
class Preprocessing:
    """How an image becomes the input of a network: resized, then (x / 255 - mean) / std.

    Attributes:
        image_size: side length in pixels of the square that the image is resized to.
        filter: resampling filter of Pillow.
        mean: mean of the channels red, green and blue, for pixels in [0, 1].
        std: standard deviation of these channels.
        fit: "squash" resizes the whole image, "crop" its largest centered square.
    """

    image_size: Annotated[int, Field(ge=1, le=2048)]
    filter: ResizeFilter
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    fit: Literal["squash", "crop"] = "squash"


@dataclass(frozen=True, slots=True, config=STRICT)
class Head:
    """A stack of dense layers that maps features to logits.

    Each hidden layer is linear, batch normalization, activation, dropout; without `norm_first` the
    activation precedes batch normalization. The last layer is linear. Without hidden layers,
    dropout acts on the features.

    >>> Head(features=25088, classes=6, hidden=(2000,), batch_norm=True, dropout=0.4).parameters
    50194006

    Attributes:
        features: number of features.
        classes: number of classes.
        hidden: widths of the hidden layers.
        activation: name of the activation of the hidden layers.
        batch_norm: whether hidden layers have batch normalization.
        dropout: probability of dropping a unit.
        norm_first: whether batch normalization precedes the activation.
        dropout_layers: number of leading hidden layers with dropout; None for all of them.
    """

    features: PositiveInt
    classes: Annotated[int, Field(ge=2)]
    hidden: Annotated[tuple[PositiveInt, ...], Field(max_length=MAX_HIDDEN_LAYERS)] = ()
    activation: str = "relu"
    batch_norm: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    norm_first: bool = True
    dropout_layers: Annotated[int, Field(ge=0)] | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of all layers, from the features to the classes."""
        return (self.features, *self.hidden, self.classes)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters, without the running statistics of batch normalization."""
        dense = sum((a + 1) * b for a, b in zip(self.widths, self.widths[1:], strict=False))
        return dense + (2 * sum(self.hidden) if self.batch_norm else 0)

    def has_dropout(self, layer: int) -> bool:
        """Return whether hidden layer `layer`, or the features without hidden layers, drop units.

        Args:
            layer: index of the hidden layer, from 0; ignored without hidden layers.
        """
        return self.dropout_layers is None or not self.hidden or layer < self.dropout_layers
