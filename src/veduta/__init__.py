"""Veduta: a folder of labelled images in, an honest, explained image classifier out.

The front door is `veduta.api`; its names are reached from here and loaded when first used, so that
`import veduta` costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
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
    "report",
    "search",
    "train",
]


class _FrontDoor(ModuleType):
    """This package: `veduta.search` is the function, whichever units have been imported.

    Python binds a subpackage to its parent as soon as it is imported, and some units are named
    after the verb that they carry out. `from veduta.search import space` reaches the unit still.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        return import_module("importlib.metadata").version("veduta")
    if name in __all__:
        import_module("veduta.runtime.process").prepare()
        return getattr(import_module("veduta.api"), name)
    raise AttributeError(f"module 'veduta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
