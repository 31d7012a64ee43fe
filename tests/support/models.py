"""Models of finished runs for tests."""

from pathlib import Path

import numpy as np

from veduta.data.decode import decode
from veduta.inference.classifier import load_classifier
from veduta.runs.directory import RunDirectory
from veduta.runs.scores import load_test_scores


def compute_test_log_probabilities(run: Path, data: Path) -> np.ndarray:
    """Return log probabilities (N, classes) of the test images of a run, by its model alone."""
    classifier = load_classifier(run)
    paths = load_test_scores(RunDirectory(run).test_scores).paths
    pixels = np.stack([classifier.resize(decode((data / path).read_bytes())) for path in paths])
    return np.log(classifier.compute_probabilities(pixels))
