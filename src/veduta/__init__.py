"""Veduta: a folder of labeled images in, an honest, explained image classifier out.

The public functions are those of `veduta.api`. They are loaded when they are first used, so that
`import veduta` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veduta.api import (
        cache,
        compare,
        demo,
        evaluate,
        explain,
        inspect,
        load,
        lr_find,
        models,
        predict,
        preview,
        rebuild,
        report,
        search,
        train,
    )

__all__ = [
    "cache",
    "compare",
    "demo",
    "evaluate",
    "explain",
    "inspect",
    "load",
    "lr_find",
    "models",
    "predict",
    "preview",
    "rebuild",
    "report",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        return import_module("importlib.metadata").version("veduta")
    if name in __all__:
        import_module("veduta.runtime.process").prepare_process()
        return getattr(import_module("veduta.api"), name)
    raise AttributeError(f"module 'veduta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
