"""Optuna with plain PyTorch, as a skilled user writes it: features first, then one loop per trial.

The features are kept in memory between trials. They are computed channels last in batches of 32, or
are those of Veduta.
"""

import copy

import numpy as np
import optuna
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.workers.job import SPLITS, Answer, Clock, Job, Part, run_method

VERSIONS = {"optuna": optuna.__version__, "torch": torch.__version__}
Tensors = dict[str, tuple[torch.Tensor, torch.Tensor]]


def search_from_images(job: Job) -> Answer:
    """Compute features from images, then search."""
    torch.set_num_threads(job.threads)
    clock = Clock()
    arrays = {split: extract(job, split) for split in SPLITS}
    seconds = clock()
    answer = search_heads(job, arrays)
    answer.seconds = {"features": seconds, **answer.seconds}
    return answer


def search_on_features(job: Job) -> Answer:
    """Search on features of Veduta."""
    return search_heads(job, job.load_features())


def extract(job: Job, split: str) -> Part:
    """Return the features of the images of a split, and their labels."""
    backbone = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    backbone.load_state_dict(load_file(job.weights))
    backbone = backbone.eval().to(memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(job.images[split]), 32):
            batch = [
                read_pixels(path, job.image_size)
                for path, _ in job.images[split][start : start + 32]
            ]
            x = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1
            rows.append(backbone(x).numpy())
    return np.concatenate(rows), np.array([label for _, label in job.images[split]])


def read_pixels(path: str, size: int) -> np.ndarray:
    """Return the pixels of a file, uint8 (S, S, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def search_heads(job: Job, arrays: dict[str, Part]) -> Answer:
    """Train every trial of the grid, one after the other; test the best on validation."""
    torch.set_num_threads(1)  # faster: the steps of a linear head are too small to share
    tensors = {name: (torch.from_numpy(x), torch.from_numpy(y)) for name, (x, y) in arrays.items()}
    best: tuple[float, nn.Module] = -1.0, nn.Identity()

    def objective(trial: optuna.Trial) -> float:
        nonlocal best
        lr = trial.suggest_float("lr", 1e-6, 1)
        result = train(job, tensors, lr, trial.suggest_float("weight_decay", 0, 1))
        best = max(best, result, key=lambda pair: pair[0])
        return result[0]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    clock = Clock()
    sampler = optuna.samplers.GridSampler(dict(job.grid), seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=len(job.list_trials()))
    seconds = clock()
    return Answer(
        validation=study.best_value,
        test=compute_accuracy(best[1], tensors["test"]),
        chosen=str(study.best_params),
        note=f"all {len(study.trials)} trials",
        versions=VERSIONS,
        seconds={"search": seconds},
    )


def train(job: Job, tensors: Tensors, lr: float, decay: float) -> tuple[float, nn.Module]:
    """Train one trial; return validation accuracy and head of its best epoch."""
    torch.manual_seed(0)
    x, y = tensors["train"]
    head = nn.Linear(x.shape[1], job.classes)
    optimizer = torch.optim.Adam(head.parameters(), lr, weight_decay=decay)
    best: tuple[float, nn.Module] = -1.0, head
    for _ in range(job.epochs):
        for rows in torch.split(torch.randperm(len(x)), job.batch_size):
            optimizer.zero_grad()
            cross_entropy(head(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        correct = compute_accuracy(head, tensors["validation"])
        if correct > best[0]:
            best = correct, copy.deepcopy(head)
    return best


def compute_accuracy(head: nn.Module, tensors: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Return the fraction of correct predictions."""
    x, y = tensors
    with torch.inference_mode():
        return float((head(x).argmax(1) == y).double().mean())


if __name__ == "__main__":
    run_method({"images": search_from_images, "ours": search_on_features})
