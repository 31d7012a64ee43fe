"""Functions that use finished runs, and lists of models and of the cache."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from veduta.data.cache import clear as empty
from veduta.data.folder import read_images
from veduta.diagnostics.cache_table import held_in
from veduta.evaluation.abstention import MAX_ERROR
from veduta.experiment.recovery import rebuild as rebuilding
from veduta.experiment.recovery.rebuild import Rebuilt
from veduta.experiment.report_media import picture_evaluation
from veduta.inference import explainer
from veduta.inference.classifier import load_classifier
from veduta.networks.catalogue.registry import listed
from veduta.results import explain as explanation
from veduta.results import predict as prediction
from veduta.results.compare import Comparison, compare_runs, write_comparison
from veduta.results.evaluate import Evaluation, write_evaluation
from veduta.results.model import Model, judged
from veduta.results.predict import Predictions
from veduta.runs.directory import RUNS, checked, create, place_for
from veduta.runtime.environment import cache_folder
from veduta.tracking.console import Console


def models() -> pd.DataFrame:
    """The models that can be trained, and what the report's table says of those that stand in it.

    Besides these any network of timm can be trained under `timm:NAME`. A row of the report's table
    that neither library has says so in `note`; what is not known of a model is missing.
    """
    return pd.DataFrame(listed()).convert_dtypes()  # whole numbers stay so beside what is missing


def cache(*, clear: bool = False) -> pd.DataFrame:
    """What the cache holds of earlier runs: pixels, features of each view, networks in int8.

    Args:
        clear: remove it all, what a run is writing just now excepted; the table is what was there.
    """
    table = held_in(cache_folder())
    if clear:
        empty(cache_folder())
    return table


def load(path: str | Path, *, engine: Literal["torch", "openvino"] | None = None) -> Model:
    """The trained model of a run directory.

    Args:
        path: a run directory, or its `model` folder.
        engine: another engine than that it was trained with.

    Raises:
        ArtefactError: no model there, or it is damaged.
        EngineError: its engine is not installed here.

    Warns:
        VersionWarning: it was trained with another version of a library that can change its
            answers.
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
    classifier = load_classifier(Path(path), warn=console.warn)
    found = prediction.predict(
        classifier, samples, top_k=top_k, max_error=max_error, console=console
    )
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
    classifier = checked(place, lambda: load_classifier(Path(path), warn=console.warn))
    found = judged(classifier, data, console, max_error=max_error)
    directory = create(place)
    picture_evaluation(directory, found, classifier)
    found = write_evaluation(directory, found)
    report(directory.path)
    return found


def report(path: str | Path, *, out: str | Path | None = None) -> Path:
    """Draw the page of a finished run, or of an evaluation, from its directory alone.

    Args:
        path: the directory.
        out: a new file; by default `report.html` in the directory, in place of one that is there.

    Returns:
        The page: the same bytes as when the run wrote it.

    Raises:
        InputError: nothing finished is there, a file is missing or damaged, or `out` exists.
    """
    from veduta.reporting.report import write_report

    return write_report(Path(path), out=Path(out) if out else None)


def rebuild(path: str | Path, *, repair: str | Path | None = None) -> Rebuilt:
    """Make every file of a run again that its journal gives: tables, curves, summary, report.

    Files that are as the journal says stay untouched; those that differ are replaced, and
    TensorBoard curves are written again. The journal is never changed.

    Args:
        path: the directory of a run, ended or not, that no process is writing.
        repair: a new directory, for a copy of a run whose journal is damaged; the run stays as it
            is. The journal of the copy ends before the first damaged line; the copy can be resumed.

    Returns:
        What was made, what was there already, what was replaced, and what needs the images.

    Raises:
        InputError: there is no run, it is being written, or `repair` cannot be a new directory.
        JournalError: the journal is damaged and no copy is asked for, or of a newer version.
    """
    from veduta.reporting.report import page_of

    if repair is not None:
        return rebuilding.copy_undamaged(Path(path), Path(repair), draw=page_of)
    return rebuilding.rebuild(Path(path), draw=page_of)


def compare(first: str | Path, second: str | Path, *, out: str | Path | None = None) -> Comparison:
    """Which of two runs is better on the same test images; the figures go into `out`, if given."""
    place = place_for(out, RUNS, "compare")
    found = checked(place, lambda: compare_runs(Path(first), Path(second)))
    return write_comparison(place, found) if out else found


def explain(  # noqa: PLR0913 - one a choice
    path: str | Path,
    images: Sequence[str | Path],
    *,
    method: str = "gradcam",
    target: str | None = None,
    layer: str | None = None,
    maps: bool = False,
    kernels: bool = False,
    out: str | Path | None = None,
    console: Console | None = None,
) -> explanation.Explanation:
    """Draw where the model of a run looks in images; heat maps and a table, in a new directory."""
    from veduta.reporting.pictures.heat_maps import draw_explained

    question = explainer.Question(method, target, layer, maps=maps, kernels=kernels)
    place, console = place_for(out, RUNS, "explain"), console or Console()
    return explanation.explain(path, images, question, place, draw=draw_explained, console=console)
