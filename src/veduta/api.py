"""The front door: everything Veduta does, one function each. The command line calls nothing else.

>>> import veduta
>>> study = veduta.search("scenes/", grid={"lr": [3e-4, 3e-3]})  # doctest: +SKIP
>>> study.trials                                                 # doctest: +SKIP
>>> veduta.load(study.directory.path).predict(["a.jpg"])         # doctest: +SKIP
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from veduta.config.parsing import read_file
from veduta.data.digits import write_digits
from veduta.data.folder import read_folder, read_images
from veduta.data.upkeep import clear as empty
from veduta.errors import InputError
from veduta.evaluation.abstention import MAX_ERROR
from veduta.experiment import evaluating, prediction
from veduta.experiment.comparing import Comparison, compare_runs, write_comparison
from veduta.experiment.evaluating import Evaluation
from veduta.experiment.holdings import holdings, registered
from veduta.experiment.plan import make_plan
from veduta.experiment.prediction import Predictions
from veduta.experiment.result import Run
from veduta.experiment.resume import plan_of
from veduta.experiment.run import run
from veduta.inference.classifier import Classifier, load_classifier
from veduta.runs.directory import checked, place_for
from veduta.runtime.environment import cache_folder
from veduta.tracking.console import Console

__all__ = [
    "Model",
    "cache",
    "compare",
    "demo",
    "evaluate",
    "load",
    "models",
    "predict",
    "search",
    "train",
]

RUNS, DEMO = Path("runs"), Path("demo")
DEMO_GRID = {"lr": [1e-3, 3e-3, 1e-2], "batch_size": [32, 64], "weight_decay": [0.0, 1e-4]}
DEMO_SETTINGS: dict[str, Any] = {"image_size": 64, "epochs": 15}


class Model:
    """A trained classifier, ready to predict. `load` makes one.

    Attributes:
        classes: names of the classes; column i of the probabilities is `classes[i]`.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.classes = classifier.classes

    def predict(
        self,
        paths: Sequence[str | Path] | str | Path,
        *,
        top_k: int = 1,
        max_error: float | None = None,
    ) -> pd.DataFrame:
        """The `top_k` most probable labels of images: path, label, probability, label_2, ...

        Args:
            paths: files or folders. What cannot be read has no row; `attrs["rejected"]` lists it.
            top_k: how many labels an image.
            max_error: leave the images to a person that an error as low as this asks for; the
                columns `confidence` and `abstained` say which.
        """
        given = read_images([paths] if isinstance(paths, (str, Path)) else paths)
        wanted: dict[str, Any] = {"top_k": top_k, "max_error": max_error}
        found = prediction.predict(self._classifier, given, **wanted, console=Console(quiet=True))
        table = found.table.copy()
        table.attrs["rejected"] = [(r.name, r.problem, r.detail) for r in found.rejected]
        return table

    def evaluate(self, data: str | Path) -> Evaluation:
        """How the classifier does on labelled images that it has not seen."""
        return _evaluate(self._classifier, data, Console(quiet=True))

    def __repr__(self) -> str:
        return f"Model({str(self._classifier.source)!r}, classes {', '.join(self.classes)})"


def search(
    data: str | Path | None = None,
    *,
    grid: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> Run:
    """Train every cell of a grid, choose by validation, open the test once for the winner.

    Args:
        data: a folder of images (class folders, or train/ test/ of class folders), or a CSV file.
        grid: several values a setting, by name: `{"lr": [3e-4, 3e-3], "batch_size": [32, 64]}`.
        out: where the run directory shall stand; default `runs/search-N`.
        config: a YAML file of settings, `grid` among them; what is given here comes first.
        resume: the directory of a run that goes on, with its own data and settings: killed or
            interrupted, it ends as if it had not been; what `grid` gives is added to its grid, and
            the new cells are run. What would change earlier results is refused.
        console: what shows progress; default prints to standard output.
        settings: what all trials share, by name, such as `epochs=20`.

    Raises:
        InputError: something given is wrong; every fault is listed, nothing was written.
    """
    filed = read_file(Path(config)) if config else {}
    grid = grid or {}
    filed_grid = {n: v for n, v in filed.pop("grid", {}).items() if n not in settings}
    shared = {n: v for n, v in filed.items() if n not in grid}
    values, merged = {**shared, **settings}, {**filed_grid, **grid}
    place = place_for(out, RUNS, "search")
    plan = plan_of("search", data, values, grid=merged, place=place, resume=resume)
    return Run(run(plan, cache=cache_folder(), console=console or Console()).path)


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> Run:
    """Train one model: a search of one trial. Arguments as for `search`."""
    filed = read_file(Path(config)) if config else {}
    if "grid" in filed:
        raise InputError(f"train takes one value a setting; {config} has a grid: call search")
    place = place_for(out, RUNS, "train")
    plan = plan_of("train", data, {**filed, **settings}, grid={}, place=place, resume=resume)
    return Run(run(plan, cache=cache_folder(), console=console or Console()).path)


def load(path: str | Path, *, engine: Literal["torch", "openvino"] | None = None) -> Model:
    """The trained model of a run directory.

    Args:
        path: a run directory, or its `model` folder.
        engine: another engine than that it was trained with.

    Raises:
        ArtefactError: no model there, or it is damaged.
        EngineError: its engine is not installed here.
    """
    return Model(load_classifier(Path(path), engine=engine))


def predict(
    path: str | Path,
    images: Sequence[str | Path],
    *,
    top_k: int = 1,
    max_error: float | None = None,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Predictions:
    """Label images with the model of a run; predictions.csv goes into a new directory."""
    console = console or Console()
    place = place_for(out, RUNS, "predict")
    samples = checked(place, lambda: read_images(images))
    model = load_classifier(Path(path))
    wanted: dict[str, Any] = {"top_k": top_k, "max_error": max_error}
    found = prediction.predict(model, samples, **wanted, console=console)
    return prediction.write_predictions(place, found)


def evaluate(
    path: str | Path,
    data: str | Path,
    *,
    max_error: float = MAX_ERROR,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Judge the model of a run on labelled images; the figures go into a new directory."""
    console = console or Console()
    place = place_for(out, RUNS, "evaluate")
    classifier = checked(place, lambda: load_classifier(Path(path)))
    found = _evaluate(classifier, data, console, max_error)
    return evaluating.write_evaluation(place, found)


def compare(first: str | Path, second: str | Path, *, out: str | Path | None = None) -> Comparison:
    """Which of two runs is better on the same test images; the figures go into `out`, if given."""
    place = place_for(out, RUNS, "compare")
    found = checked(place, lambda: compare_runs(Path(first), Path(second)))
    return write_comparison(place, found) if out else found


def models() -> pd.DataFrame:
    """The models that can be trained: parameters, size, licence, where their weights come from."""
    return registered()


def cache(*, clear: bool = False) -> pd.DataFrame:
    """What the cache holds of earlier runs: pixels, features of each view, networks in int8.

    Args:
        clear: remove it all, what a run is writing just now excepted; the table is what was there.
    """
    table = holdings(cache_folder())
    if clear:
        empty(cache_folder())
    return table


def demo(*, out: str | Path | None = None, console: Console | None = None) -> Run:
    """Search on scikit-learn's handwritten digits, written out as class folders first."""
    console = console or Console()
    digits = DEMO / "digits"
    console.say(f"{write_digits(digits):,} handwritten digits stand in {digits}, a folder a class")
    place = place_for(out, DEMO, "run")
    plan = make_plan(digits, DEMO_SETTINGS, grid=DEMO_GRID, place=place, command="search")
    return Run(run(plan, cache=cache_folder(), console=console).path)


def _evaluate(
    classifier: Classifier, data: str | Path, console: Console, max_error: float = MAX_ERROR
) -> Evaluation:
    folder, to = read_folder(data, classes=classifier.classes), cache_folder()
    return evaluating.evaluate(classifier, folder, cache=to, console=console, max_error=max_error)
