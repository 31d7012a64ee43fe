"""The front door: everything Veduta does, one function each. The command line calls nothing else.

>>> import veduta
>>> study = veduta.search("scenes/", grid={"lr": [3e-4, 3e-3]})  # doctest: +SKIP
>>> study.trials                                                 # doctest: +SKIP
>>> veduta.load(study.directory.path).predict(["a.jpg"])         # doctest: +SKIP
"""

from veduta.api.holding import cache, models
from veduta.api.inspecting import inspect
from veduta.api.training import demo, lr_find, preview, search, train
from veduta.api.using import compare, evaluate, explain, load, predict, report
from veduta.experiment.model import Model

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
    "report",
    "search",
    "train",
]
