"""How networks of our own are built: by name of `own.OWN`, from their options."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from veduta.models import report_cnn, residual
from veduta.models.model import Options


@dataclass(frozen=True)
class Design:
    """How one network is made.

    Attributes:
        build: the network up to its features, a sequence whose parts are its stages.
        smallest: pixels a side that it needs at least.
    """

    build: Callable[[Options], nn.Sequential]
    smallest: Callable[[Options], int]


def mlp(_options: Options) -> nn.Sequential:
    """The fully connected network of section 1: pixels are features, its layers are the head's."""
    network = nn.Sequential()
    network.add_module("flatten", nn.Flatten())
    return network


DESIGNS: dict[str, Design] = {
    "mlp": Design(mlp, lambda _: 1),
    "report_cnn": Design(report_cnn.report_cnn, report_cnn.smallest),
    "residual": Design(residual.cnn, residual.smallest),
}
