"""scikit-learn on Veduta's features: a grid of linear heads, and ridge regression."""

import numpy as np
import sklearn
from sklearn.linear_model import RidgeClassifierCV, SGDClassifier
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from benchmarks.workers.job import Answer, Clock, Job, run_method

VERSIONS = {"scikit-learn": sklearn.__version__}
STEPS = [
    1e-5,
    3e-5,
    1e-4,
    2e-4,
    3e-4,
    5e-4,
    1e-3,
    3e-3,
]  # one image per step: smaller than those of Adam
ALPHAS = np.logspace(-2, 5, 64)


def fit_sgd(job: Job) -> Answer:
    """Train as many trials and epochs as the grid has, in one process per core."""
    parts, clock = job.load_features(), Clock()
    (x, y), (held, held_labels) = parts["train"], parts["validation"]
    fold = np.repeat([-1, 0], [len(x), len(held)])
    grid = {"alpha": job.grid["weight_decay"], "eta0": STEPS[: len(job.grid["lr"])]}
    head = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=0.001, max_iter=job.epochs, tol=None,
        random_state=0,
    )  # fmt: skip
    search = GridSearchCV(head, grid, cv=PredefinedSplit(fold), n_jobs=job.threads, refit=False)
    search.fit(np.concatenate([x, held]), np.concatenate([y, held_labels]))
    seconds = clock()
    best = head.set_params(**search.best_params_).fit(x, y)
    return Answer(
        validation=float(search.best_score_),
        test=float(best.score(*parts["test"])),
        chosen=str(search.best_params_),
        note=f"{len(search.cv_results_['params'])} trials, all; other learning rates",
        versions=VERSIONS,
        seconds={"search": seconds, "refit for the test": clock()},
    )


def fit_ridge(job: Job) -> Answer:
    """Fit 64 penalties from one decomposition; leave-one-out on the training images selects."""
    parts, clock = job.load_features(), Clock()
    best = RidgeClassifierCV(alphas=ALPHAS).fit(*parts["train"])
    seconds = clock()
    return Answer(
        validation=float(best.score(*parts["validation"])),
        test=float(best.score(*parts["test"])),
        chosen=f"alpha {best.alpha_:.3g}",
        note="64 penalties of least squares, no epochs; selected by leave-one-out",
        versions=VERSIONS,
        seconds={"search": seconds},
    )


if __name__ == "__main__":
    run_method({"sgd": fit_sgd, "ridge": fit_ridge})
