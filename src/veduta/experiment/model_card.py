"""The model card, `model/README.md`: what whoever gets the model alone must know of it.

Its front matter is that of the Hugging Face Hub, so that the folder can be put there as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from veduta.evaluation.assessment import LabeledPredictions
from veduta.evaluation.mistakes import describe_confused_pairs, find_confused_pairs
from veduta.experiment.judgement import Judgement
from veduta.metrics.classification import compute_confusion_matrix
from veduta.runs.artifact import Manifest
from veduta.tracking.html import isolated

MARKS = {ord(mark): f"&#{ord(mark)};" for mark in r"\`*_{}[]<>()#+-.!|&~$@:^="}
"""Markdown takes all of these for its own; as references they are what they are."""


def card(manifest: Manifest, judgement: Judgement, summary: Mapping[str, Any]) -> str:
    """The card of a model.

    Args:
        manifest: of the model.
        judgement: of the winner, which the model is.
        summary: as summary.json has it, test included.
    """
    return (
        "\n\n".join(
            [
                f"---\n{_front(manifest, summary)}---",
                f"# Image classifier: {len(manifest.classes)} classes",
                _lead(manifest, summary),
                "## Classes\n\n" + "\n".join(f"- {text(name)}" for name in manifest.classes),
                "## How it was judged\n\n" + _judged(summary),
                *_figures(summary),
                "## Limits\n\n" + _limits(judgement, summary),
                f"## How to use it\n\n{_use(manifest)}",
            ]
        )
        + "\n"
    )


def text(name: object) -> str:
    """A name in Markdown: nothing in it is markup, and its direction is its own.

    >>> text("a*b")[1:-1]
    'a&#42;b'
    """
    return isolated(name).translate(MARKS)


def _front(manifest: Manifest, summary: Mapping[str, Any]) -> str:
    """YAML that the Hub reads."""
    figures = summary["figures"] or {}
    values = {"accuracy": summary["test"]["accuracy"]}
    values |= {name: figures[name]["value"] for name in ("macro_f1", "kappa") if name in figures}
    results = [
        {"type": name.removeprefix("macro_"), "name": name, "value": round(value, 4)}
        for name, value in values.items()
        if value is not None
    ]
    content: dict[str, Any] = {
        "license": "unknown",
        "library_name": "veduta",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "veduta", manifest.model.replace(":", "-")],
        "metrics": [result["type"] for result in results],
    }
    if results:
        found = {
            "task": {"type": "image-classification", "name": "Image classification"},
            "dataset": {"type": "imagefolder", "name": "sealed test images", "split": "test"},
            "metrics": results,
        }
        content["model-index"] = [{"name": manifest.trial, "results": [found]}]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _lead(manifest: Manifest, summary: Mapping[str, Any]) -> str:
    size, test = manifest.preprocessing.image_size, summary["test"]
    told = f"A {text(manifest.model)} that takes images of {size} x {size} pixels"
    if not test["images"]:
        return f"{told}. No test image could be read, so nothing is known of how good it is."
    return f"{told}. **{_share(test)} of {test['images']:,} sealed test images are right.**"


def _judged(summary: Mapping[str, Any]) -> str:
    """How it was chosen, and what that is worth."""
    images, validation, winner = summary["images"], summary["validation"], summary["winner"]
    parts = ", ".join(f"{count:,} for {part}" for part, count in images.items() if count)
    folds = f", pooled over {summary['folds']} folds" if summary["folds"] else ""
    left_out = summary["rejected"] + (summary["dropped"] or 0)
    said = [f"- Images: {parts}; {left_out:,} files were left out."]
    said.append(
        f"- Chosen among {summary['trials']} trial(s), at epoch {winner['best_epoch']}, by "
        f"validation: {_share(validation)} of {validation['images']:,} images{folds}."
    )
    if summary["corrected"] and summary["trials"] > 1:
        said.append(f"- Corrected for the choice: {_share(summary['corrected'])}.")
    if summary["ties"]:
        said.append(f"- {len(summary['ties'])} other trial(s) cannot be told from it.")
    if winner["refit"]:
        said.append("- It was then trained again on all images but the test's.")
    if summary["test"]["images"]:
        said.append("- The test images were sealed until the choice was made.")
    return "\n".join(said)


def _figures(summary: Mapping[str, Any]) -> Sequence[str]:
    """All figures with their intervals, as a table."""
    if not summary["figures"]:
        return ()
    rows = ["| figure | value | 95% interval |", "| --- | --- | --- |"]
    for name, figure in summary["figures"].items():
        value = figure.get("value", figure.get("accuracy"))
        if value is not None:
            ends = "none: every draw of images gives the same"
            if figure["low"] is not None:
                ends = f"{figure['low']:.3f} to {figure['high']:.3f}"
            rows.append(f"| {name.replace('_', ' ')} | {value:.3f} | {ends} |")
    return ["\n".join(rows)]


def _limits(judgement: Judgement, summary: Mapping[str, Any]) -> str:
    judged = judgement.test or judgement.validation
    pairs, ending = describe_confused_pairs(
        find_confused_pairs(compute_confusion_matrix(judged.y_true, judged.y_pred, judged.classes))
    )
    named = "; ".join(f"{text(first)} and {text(second)}" for first, second in pairs)
    said = [
        f"- {named} {ending}".replace("-  ", "- "),
        "- It knows these classes alone, and gives one of them to any image whatever.",
        "- Images from another source than those it was judged on may be harder for it.",
        f"- {_abstaining(judged, summary)}",
        "- The licence depends on the images, and on the weights that training began with.",
    ]
    return "\n".join(said)


def _abstaining(judged: LabeledPredictions, summary: Mapping[str, Any]) -> str:
    """What its confidence is worth."""
    found = summary["abstain"]
    scaled = f"Its confidence is calibrated at temperature {judged.temperature:.3g}"
    if found["threshold"] is None:
        return f"{scaled}; {found['reason']}."
    return (
        f"{scaled}; from a confidence of {found['threshold']:g} up, its error is at most "
        f"{found['max_error']:.0%}, as far as validation can tell."
    )


def _use(manifest: Manifest) -> str:
    how = manifest.preprocessing
    return (
        "```python\n"
        "import veduta\n\n"
        'model = veduta.load("path/to/this/folder")\n'
        'model.predict(["image.jpg"], top_k=3)\n'
        "```\n\n"
        f"Trained and saved by Veduta {manifest.veduta}; pixels are resized to "
        f"{how.image_size} x {how.image_size} ({how.filter}, {how.fit}), and the engine is "
        f"{manifest.engine} in {manifest.precision}."
    )


def _share(figures: Mapping[str, Any]) -> str:
    return "{accuracy:.1%} (95% interval {low:.1%} to {high:.1%})".format(**figures)
