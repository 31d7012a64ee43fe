"""Veduta: a folder of labelled images in, an honest, explained image classifier out.

The front door is `veduta.api`; its names are reached from here and loaded when first used, so that
`import veduta` costs next to nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["evaluate", "load", "models", "predict", "search", "train"]  # noqa: F822


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in __all__:
        return getattr(import_module("veduta.api"), name)
    raise AttributeError(f"module 'veduta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
