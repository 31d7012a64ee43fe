"""The public functions of Veduta, one per command, which the command line calls too.

>>> import veduta
>>> run = veduta.search("scenes/", grid={"lr": [3e-4, 3e-3]})    # doctest: +SKIP
>>> run.trials                                                   # doctest: +SKIP
>>> veduta.load(run.directory.path).predict(["a.jpg"])           # doctest: +SKIP
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from veduta.diagnostics.inspection import InspectionResult, run_inspection
from veduta.diagnostics.listings import empty_cache, tabulate_cache, tabulate_models
from veduta.diagnostics.lr_range import RangeTest, find_learning_rates
from veduta.diagnostics.preview import run_preview
from veduta.evaluation.abstention import MAX_ERROR
from veduta.experiment.commands import run_demo, run_search, run_training
from veduta.experiment.recovery.rebuild import RebuildResult, copy_undamaged, rebuild_run
from veduta.inference.classifier import load_classifier
from veduta.inference.explainer import ExplanationOptions, Method
from veduta.reporting.report import write_report
from veduta.results.compare import Comparison, run_comparison
from veduta.results.evaluate import Evaluation, run_evaluation
from veduta.results.explain import Explanation, run_explanation
from veduta.results.predict import Predictions, run_prediction
from veduta.results.run import Model, Run
from veduta.runtime.environment import get_cache_folder
from veduta.tracking.console import Console

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


def inspect(
    data: str | Path, *, out: str | Path | None = None, console: Console | None = None
) -> InspectionResult:
    """Run the data checks on every file of a folder of images.

    They find files that cannot be decoded, identical and similar images (in training and test, with
    several labels), classes that are tiny or missing from a split, and images that are dark,
    blurred, blank or odd. The files are never changed; `rejected.csv`, `inspection.json` and
    `inspection.html` are written to a new directory.

    Args:
        data: a folder of images (class folders, or train/ test/ of class folders), or a CSV file.
        out: the new directory; default `runs/inspect-N`.
        console: shows progress; by default on standard output.

    Raises:
        InputError: the layout of the folder is not supported, or `out` exists.
    """
    return run_inspection(data, out=out, console=console or Console())


def search(
    data: str | Path | None = None,
    *,
    grid: Mapping[str, object] | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    preset: str | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> Run:
    """Train every cell of a grid, select the winner by validation, evaluate it once on test images.

    Args:
        data: a folder of images (class folders, or train/ test/ of class folders), or a CSV file.
        grid: several values per setting, by name: `{"lr": [3e-4, 3e-3], "batch_size": [32, 64]}`.
        out: the new run directory; default `runs/search-N`.
        config: a YAML file of settings and grid; the arguments given here take precedence.
        preset: name of a preset, such as `report`; arguments and `config` take precedence.
        resume: directory of a run that is resumed with its own data and settings. A run that was
            killed or interrupted ends as if it had not been. The values of `grid` are added to its
            grid, and the new cells are run. Anything that would change earlier results is refused.
        console: shows progress; by default on standard output.
        settings: settings that all trials share, by name, such as `epochs=20`.

    Raises:
        InputError: with one line per error in the arguments; nothing was written.
    """
    return run_search(
        data,
        settings,
        grid=grid or {},
        config=config,
        preset=preset,
        out=out,
        resume=resume,
        console=console or Console(),
    )


def train(
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    preset: str | None = None,
    resume: str | Path | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> Run:
    """Train one model: a search of one trial. Arguments and errors are those of `search`."""
    return run_training(
        data,
        settings,
        config=config,
        preset=preset,
        out=out,
        resume=resume,
        console=console or Console(),
    )


def preview(
    data: str | Path,
    *,
    grid: Mapping[str, object] | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    preset: str | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> tuple[Path, ...]:
    """Draw the images that a run with these settings would train on, as each epoch augments them.

    The arguments are those of `search`; the new directory is `runs/preview-N` by default.

    Returns:
        The paths of the PNG files: `preview.png`, or one per value of `augment` of a grid.

    Raises:
        InputError: as for `search`, or there is no augmentation.
    """
    return run_preview(
        data,
        settings,
        grid=grid or {},
        config=config,
        preset=preset,
        out=out,
        console=console or Console(),
    )


def lr_find(
    data: str | Path,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    preset: str | None = None,
    console: Console | None = None,
    **settings: Any,  # noqa: ANN401 - names and types are those of config.settings
) -> RangeTest:
    """Suggest learning rates by a range test on the training images.

    The arguments are those of `search`; the new directory is `runs/lr-find-N` by default.
    """
    return find_learning_rates(
        data, settings, config=config, preset=preset, out=out, console=console or Console()
    )


def demo(*, out: str | Path | None = None, console: Console | None = None) -> Run:
    """Search on scikit-learn's handwritten digits, which need no download.

    Args:
        out: the new run directory; default `demo/run-N`.
        console: shows progress; by default on standard output.
    """
    return run_demo(out=out, console=console or Console())


def models() -> pd.DataFrame:
    """List the models that can be trained, and what the report states about some of them.

    Besides these, any network of timm can be trained as `timm:NAME`. For models of the report that
    cannot be trained, the column `note` states why. Values that are not known are missing.
    """
    return tabulate_models()


def cache(*, clear: bool = False) -> pd.DataFrame:
    """List what the cache holds from earlier runs: pixels, features, quantized networks.

    Args:
        clear: remove all of it, except what a run is writing; the table lists what was there.
    """
    return empty_cache(get_cache_folder()) if clear else tabulate_cache(get_cache_folder())


def load(path: str | Path, *, engine: Literal["torch", "openvino"] | None = None) -> Model:
    """Load the trained model of a run.

    Args:
        path: a run directory, or its `model` folder.
        engine: another engine than the one with which it was trained.

    Raises:
        ArtifactError: there is no model, or it is damaged.
        EngineError: its engine is not installed.

    Warns:
        VersionWarning: it was trained with another version of a library that can change its
            predictions.
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
    """Predict the labels of images with the model of a run, and write `predictions.csv`.

    Args:
        path: a run directory.
        images: files, or folders of images.
        top_k: number of labels per image.
        max_error: abstain from images whose confidence is too low for an error of at most
            `max_error` among the others.
        out: the new directory; default `runs/predict-N`.
        console: shows progress; by default on standard output.

    Raises:
        InputError: an argument is wrong, or there are no images.
    """
    return run_prediction(
        Path(path), images, top_k=top_k, max_error=max_error, out=out, console=console or Console()
    )


def evaluate(
    path: str | Path,
    data: str | Path,
    *,
    max_error: float = MAX_ERROR,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Evaluate the model of a run on labeled images, and write metrics, tables and a report.

    Args:
        path: a run directory.
        data: labeled images that the model has not seen; a test split is preferred.
        max_error: maximum error for which abstention is evaluated.
        out: the new directory; default `runs/evaluate-N`.
        console: shows progress; by default on standard output.

    Raises:
        InputError: an argument is wrong, the model does not know a label, or no image can be
            decoded.
    """
    return run_evaluation(
        Path(path), data, max_error=max_error, out=out, console=console or Console()
    )


def report(path: str | Path, *, out: str | Path | None = None) -> Path:
    """Write the report of a finished run or evaluation again, from its directory alone.

    Args:
        path: the directory.
        out: a new file; by default `report.html` in the directory is replaced.

    Returns:
        The path of the report. Its content has the same bytes as the report that the run wrote.

    Raises:
        InputError: there is no finished run, a file is missing or damaged, or `out` exists.
    """
    return write_report(Path(path), out=Path(out) if out else None)


def rebuild(path: str | Path, *, repair: str | Path | None = None) -> RebuildResult:
    """Write the derived files of a run again from its journal: tables, curves, summary, report.

    Files that agree with the journal are not changed; files that differ are replaced. TensorBoard
    curves are written again. The journal is never changed.

    Args:
        path: directory of a run, finished or not, that no process is writing.
        repair: a new directory for a copy of a run whose journal is damaged; the run itself is not
            changed. The journal of the copy ends before the first damaged line; the copy can be
            resumed.

    Returns:
        The files that were written, replaced or unchanged, and those that need the images.

    Raises:
        InputError: there is no run, it is being written, or `repair` cannot be a new directory.
        JournalError: the journal is damaged and `repair` is not given, or has a newer format.
    """
    if repair is None:
        return rebuild_run(Path(path))
    return copy_undamaged(Path(path), Path(repair))


def compare(first: str | Path, second: str | Path, *, out: str | Path | None = None) -> Comparison:
    """Compare two runs on the same test images and test whether they differ significantly.

    Args:
        first: a run directory.
        second: a run directory with the same test images.
        out: a new directory for `summary.json` and `changed.csv`; by default nothing is written.

    Raises:
        InputError: a run is not finished or has no test score, or the test images differ.
    """
    return run_comparison(Path(first), Path(second), out=out)


def explain(  # noqa: PLR0913 - one parameter per choice
    path: str | Path,
    images: Sequence[str | Path],
    *,
    method: Method = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    maps: bool = False,
    kernels: bool = False,
    out: str | Path | None = None,
    console: Console | None = None,
) -> Explanation:
    """Draw heat maps of the image regions that a prediction depends on.

    Args:
        path: a run directory.
        images: files, or folders of images.
        method: `gradcam` or `occlusion`.
        target: class whose score is explained; by default the predicted class of each image.
        layer: layer whose feature maps are used: the number of a stage, or the name of a module; by
            default the last one.
        maps: draw the feature maps of that layer, too.
        kernels: draw the kernels of the first convolution, too.
        out: the new directory; default `runs/explain-N`.
        console: shows progress; by default on standard output.

    Raises:
        InputError: an argument is wrong or does not fit the model, or there are no images.
    """
    options = ExplanationOptions(method, target, layer, maps=maps, kernels=kernels)
    return run_explanation(Path(path), images, options, out=out, console=console or Console())
