"""The front door: everything Veduta does, one function each. The command line calls nothing else.

>>> import veduta
>>> study = veduta.search("scenes/", grid={"lr": [3e-4, 3e-3]})  # doctest: +SKIP
>>> study.trials                                                 # doctest: +SKIP
>>> veduta.load(study.directory.path).predict(["a.jpg"])         # doctest: +SKIP
"""

from veduta.api.results import (
    cache,
    compare,
    evaluate,
    explain,
    load,
    models,
    predict,
    rebuild,
    report,
)
from veduta.api.runs import demo, inspect, lr_find, preview, search, train
from veduta.results.model import Model

__all__ = [
    "Model",
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
