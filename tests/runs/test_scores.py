"""Scores: arrays read back bit for bit; files that are damaged or of another trial are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.journals import make_trial_finished
from veduta.errors import InputError
from veduta.runs.scores import (
    TestScores,
    ValidationScores,
    find_test_scores,
    find_validation_scores,
    load_test_scores,
    load_validation_scores,
    save_test_scores,
    save_validation_scores,
)

RANDOM = np.random.default_rng(0)
VALIDATION = ValidationScores(
    logits=RANDOM.normal(size=(11, 3)).astype(np.float32),
    correct=RANDOM.random((4, 11)) < 0.5,
    best_epoch=3,
)
FINISHED = make_trial_finished(
    epochs_trained=4,
    best_epoch=3,
    val_images=11,
    val_correct=int(VALIDATION.correct[2].sum()),
)
TEST = TestScores(
    trial="t1",
    evaluations=2,
    paths=("red/1.png", "caf\udce9.png", "blue/2.png"),
    y_true=np.array([0, 1, 1]),
    logits=np.array([[2, 1], [3, 0], [0, 1]], np.float32),
    conflicting=np.array([False, True, False]),
)


@given(images=st.integers(1, 40), epochs=st.integers(1, 5))
def test_validation_scores_read_back(
    tmp_path_factory: pytest.TempPathFactory, images: int, epochs: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "t1.npz"
    random = np.random.default_rng(images)
    scores = ValidationScores(
        logits=random.normal(size=(images, 3)).astype(np.float32),
        correct=random.random((epochs, images)) < 0.5,
        best_epoch=epochs,
    )
    save_validation_scores(path, scores)
    read = load_validation_scores(path)
    assert read.best_epoch == epochs
    assert read.logits.dtype == np.float32
    assert (read.logits == scores.logits).all()
    assert (read.correct == scores.correct).all()
    assert (read.correct_at_best == scores.correct[-1]).all()


def test_validation_scores_are_stored_under_the_terms_of_the_glossary(tmp_path: Path) -> None:
    save_validation_scores(tmp_path / "t1.npz", VALIDATION)
    with np.load(tmp_path / "t1.npz") as arrays:
        assert set(arrays) == {"logits", "best_epoch", "correct", "images"}
        assert arrays["correct"].shape == (4, 2)  # one bit per image


def test_only_scores_that_agree_with_the_journal_are_found(tmp_path: Path) -> None:
    path = tmp_path / "t1.npz"
    assert find_validation_scores(path, FINISHED) is None
    save_validation_scores(path, VALIDATION)
    found = find_validation_scores(path, FINISHED)
    assert found is not None
    assert (found.logits == VALIDATION.logits).all()
    for changes in (
        {"epochs_trained": 5},
        {"best_epoch": 2},
        {"val_images": 12},
        {"val_correct": FINISHED.val_correct + 1},
    ):
        assert find_validation_scores(path, FINISHED.model_copy(update=changes)) is None
    save_validation_scores(path, replace(VALIDATION, logits=VALIDATION.logits[1:]))
    assert find_validation_scores(path, FINISHED) is None


def test_test_scores_read_back(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    assert find_test_scores(path) is None
    save_test_scores(path, TEST)
    read = load_test_scores(path)
    assert (read.trial, read.evaluations, read.paths) == ("t1", 2, TEST.paths)
    assert (read.y_true == TEST.y_true).all()
    assert (read.logits == TEST.logits).all()
    assert (read.conflicting == TEST.conflicting).all()
    assert read.correct.tolist() == [True, False, True]
    with np.load(path) as arrays:
        assert set(arrays) == {"paths", "y_true", "logits", "conflicting", "trial", "evaluations"}


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "text": lambda _: b"garbage",
    "zeros": lambda data: bytes(len(data)),
    "a changed number": lambda data: data[:60] + bytes([data[60] ^ 255]) + data[61:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    trial, test = tmp_path / "t1.npz", tmp_path / "test.npz"
    save_validation_scores(trial, VALIDATION)
    save_test_scores(test, TEST)
    for path in (trial, test):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"t1\.npz"):
        load_validation_scores(trial)
    with pytest.raises(InputError, match=r"test\.npz"):
        load_test_scores(test)
    assert find_validation_scores(trial, FINISHED) is None
    assert find_test_scores(test) is None


def test_the_arrays_of_the_other_file_are_refused(tmp_path: Path) -> None:
    save_test_scores(tmp_path / "t1.npz", TEST)
    with pytest.raises(InputError):
        load_validation_scores(tmp_path / "t1.npz")
