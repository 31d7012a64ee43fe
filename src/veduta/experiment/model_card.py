"""The model card, `model/README.md`: what a user who has only the model needs to know.

Its front matter is that of the Hugging Face Hub, so that the folder can be uploaded as it is.
"""

import yaml

from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.mistakes import describe_confused_pairs, find_confused_pairs
from veduta.evaluation.winner_assessment import WinnerAssessment
from veduta.metrics.classification import compute_confusion_matrix
from veduta.runs.artifact import Manifest
from veduta.runs.summary import CorrectedAccuracy, Estimate, Metrics, Summary
from veduta.tracking.text import isolate_direction

MARKUP = {ord(mark): f"&#{ord(mark)};" for mark in r"\`*_{}[]<>()#+-.!|&~$@:^="}
"""Characters with a meaning in Markdown, and the references that show them as text."""


def format_card(manifest: Manifest, assessment: WinnerAssessment, summary: Summary) -> str:
    """Return the model card in Markdown.

    Args:
        manifest: manifest of the model.
        assessment: assessment of the winner, which the model is.
        summary: summary of the run.
    """
    classes = "\n".join(f"- {escape_markdown(name)}" for name in manifest.classes)
    return (
        "\n\n".join(
            [
                f"---\n{_format_front_matter(manifest, summary)}---",
                f"# Image classifier: {len(manifest.classes)} classes",
                _format_introduction(manifest, summary),
                f"## Classes\n\n{classes}",
                f"## Selection and evaluation\n\n{_format_selection(summary)}",
                *([format_metrics(summary.metrics)] if summary.metrics else []),
                f"## Limits\n\n{_format_limits(assessment, summary)}",
                f"## Usage\n\n{_format_usage(manifest)}",
            ]
        )
        + "\n"
    )


def escape_markdown(name: object) -> str:
    """Return a name as Markdown text, without markup, isolated in its writing direction.

    >>> escape_markdown("a*b")[1:-1]
    'a&#42;b'
    """
    return isolate_direction(name).translate(MARKUP)


def format_metrics(metrics: Metrics) -> str:
    """Return metrics that have a value, with their intervals, as a Markdown table."""
    rows = ["| metric | value | 95 % interval |", "| --- | --- | --- |"]
    for name, estimate in metrics.items():
        if estimate.value is None:
            continue
        interval = "none: every bootstrap sample gives the same value"
        if estimate.low is not None and estimate.high is not None:
            interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
        rows.append(f"| {name.replace('_', ' ')} | {estimate.value:.3f} | {interval} |")
    return "\n".join(rows)


def _format_front_matter(manifest: Manifest, summary: Summary) -> str:
    """Return the YAML that the Hub reads."""
    values = {"accuracy": summary.test.accuracy.value}
    for name in ("macro_f1", "kappa"):
        if summary.metrics and name in summary.metrics:
            values[name] = summary.metrics[name].value
    results = [
        {"type": name.removeprefix("macro_"), "name": name, "value": round(value, 4)}
        for name, value in values.items()
        if value is not None
    ]
    content: dict[str, object] = {
        "license": "unknown",
        "library_name": "veduta",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "veduta", manifest.model.replace(":", "-")],
        "metrics": [result["type"] for result in results],
    }
    if results:
        evaluation = {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"type": "imagefolder", "name": "held-out test images", "split": "test"},
            "metrics": results,
        }
        content["model-index"] = [{"name": manifest.trial, "results": [evaluation]}]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _format_introduction(manifest: Manifest, summary: Summary) -> str:
    """Return what the model is, and its test accuracy."""
    size, accuracy = manifest.preprocessing.image_size, summary.test.accuracy
    model = f"A {escape_markdown(manifest.model)} for images of {size} x {size} pixels"
    if accuracy.value is None:
        return f"{model}. No test image could be read, so its accuracy is unknown."
    return (
        f"{model}. **Accuracy on {accuracy.images:,} held-out test images: "
        f"{_format_percent(accuracy)}.**"
    )


def _format_selection(summary: Summary) -> str:
    """Return how the model was selected, and its accuracy on validation."""
    data, winner, accuracy = summary.data, summary.winner, summary.validation_accuracy
    sizes = data.split_sizes.model_dump()
    splits = ", ".join(f"{size:,} for {split}" for split, size in sizes.items() if size)
    left_out = data.rejected_files + data.dropped_images
    folds = f", pooled over {summary.folds} folds" if summary.folds else ""
    lines = [f"- Images: {splits}; {left_out:,} files were left out."]
    lines.append(
        f"- Selected among {summary.trial_count} trial(s), at epoch {winner.best_epoch}, by "
        f"validation accuracy: {_format_percent(accuracy)} of {accuracy.images:,} images{folds}."
    )
    if summary.corrected_accuracy and summary.trial_count > 1:
        corrected = _format_percent(summary.corrected_accuracy)
        lines.append(f"- Corrected for the selection: {corrected}.")
    if summary.tied_trials:
        count = len(summary.tied_trials)
        lines.append(f"- {count} other trial(s) do not differ significantly from it.")
    if winner.refit:
        lines.append("- It was then trained again on all training and validation images.")
    if summary.test.accuracy.images:
        lines.append("- The test images were held out until the selection was made.")
    return "\n".join(lines)


def _format_limits(assessment: WinnerAssessment, summary: Summary) -> str:
    """Return what the model confuses, and what its predictions cannot be used for."""
    predictions = assessment.test or assessment.validation
    confusion = compute_confusion_matrix(
        predictions.y_true, predictions.y_pred, predictions.classes
    )
    pairs, statement = describe_confused_pairs(find_confused_pairs(confusion))
    names = "; ".join(
        f"{escape_markdown(first)} and {escape_markdown(second)}" for first, second in pairs
    )
    lines = [
        f"- {names} {statement}".replace("-  ", "- "),
        "- It assigns one of these classes to every image, also to one of none of them.",
        "- It may be less accurate on images from other sources than those it was evaluated on.",
        f"- {_format_abstention(predictions, summary)}",
        "- Its license depends on the images, and on the weights from which training started.",
    ]
    return "\n".join(lines)


def _format_abstention(predictions: LabeledPredictions, summary: Summary) -> str:
    """Return the temperature, and the confidence from which the error is small."""
    abstention = summary.abstention
    calibration = f"Its confidence is calibrated at temperature {predictions.temperature:.3g}"
    if abstention.threshold is None:
        return f"{calibration}; {abstention.reason}."
    return (
        f"{calibration}; at a confidence of {abstention.threshold:g} or more, its error is at most "
        f"{abstention.max_error:.0%}, as estimated on validation images."
    )


def _format_usage(manifest: Manifest) -> str:
    """Return how the model is loaded, and which versions and preprocessing it needs."""
    preprocessing = manifest.preprocessing
    size = preprocessing.image_size
    return (
        "```python\n"
        "import veduta\n\n"
        'model = veduta.load("path/to/this/folder")\n'
        'model.predict(["image.jpg"], top_k=3)\n'
        "```\n\n"
        f"Trained and saved by Veduta {manifest.veduta}; pixels are resized to "
        f"{size} x {size} ({preprocessing.filter}, {preprocessing.fit}), and the engine is "
        f"{manifest.engine} in {manifest.precision}."
    )


def _format_percent(estimate: Estimate | CorrectedAccuracy) -> str:
    """Return an accuracy with its interval."""
    return f"{estimate.value:.1%} (95 % interval {estimate.low:.1%} to {estimate.high:.1%})"
