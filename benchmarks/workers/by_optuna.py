"""Optuna over plain PyTorch, as a skilled user writes it: features by hand, then one loop a trial.

The features are kept in memory between trials, extracted channels last in batches of 32, or they
are Veduta's.
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

from benchmarks.workers.job import PARTS, Answer, Clock, Job, Part, serve

VERSIONS = {"optuna": optuna.__version__, "torch": torch.__version__}
Tensors = dict[str, tuple[torch.Tensor, torch.Tensor]]


def whole(job: Job) -> Answer:
    """From images."""
    torch.set_num_threads(job.threads)
    clock = Clock()
    parts = {part: extract(job, part) for part in PARTS}
    seconds = clock()
    answer = heads(job, parts)
    answer.seconds = {"features": seconds, **answer.seconds}
    return answer


def given(job: Job) -> Answer:
    """On Veduta's features."""
    return heads(job, job.ours())


def extract(job: Job, part: str) -> Part:
    """Features of the images of a part, and their labels."""
    backbone = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    backbone.load_state_dict(load_file(job.weights))
    backbone = backbone.eval().to(memory_format=torch.channels_last)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(job.images[part]), 32):
            batch = [read(path, job.image_size) for path, _ in job.images[part][start : start + 32]]
            x = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1
            rows.append(backbone(x).numpy())
    return np.concatenate(rows), np.array([label for _, label in job.images[part]])


def read(path: str, size: int) -> np.ndarray:
    """Pixels of a file, uint8 (S, S, 3)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def heads(job: Job, arrays: dict[str, Part]) -> Answer:
    """Every trial of the grid, one after the other; the best on validation meets the test."""
    torch.set_num_threads(1)  # quicker: the steps of a linear head are too small to share
    parts = {part: (torch.from_numpy(x), torch.from_numpy(y)) for part, (x, y) in arrays.items()}
    best: tuple[float, nn.Module] = -1.0, nn.Identity()

    def objective(trial: optuna.Trial) -> float:
        nonlocal best
        lr = trial.suggest_float("lr", 1e-6, 1)
        found = train(job, parts, lr, trial.suggest_float("weight_decay", 0, 1))
        best = max(best, found, key=lambda pair: pair[0])
        return found[0]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    clock = Clock()
    sampler = optuna.samplers.GridSampler(dict(job.grid), seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=len(job.trials()))
    seconds = clock()
    return Answer(
        validation=study.best_value,
        test=accuracy(best[1], parts["test"]),
        chosen=str(study.best_params),
        note=f"{len(study.trials)} trials in full",
        versions=VERSIONS,
        seconds={"search": seconds},
    )


def train(job: Job, parts: Tensors, lr: float, decay: float) -> tuple[float, nn.Module]:
    """One trial: accuracy on validation and head of its best epoch."""
    torch.manual_seed(0)
    x, y = parts["train"]
    head = nn.Linear(x.shape[1], job.classes)
    optimizer = torch.optim.Adam(head.parameters(), lr, weight_decay=decay)
    best: tuple[float, nn.Module] = -1.0, head
    for _ in range(job.epochs):
        for rows in torch.split(torch.randperm(len(x)), job.batch_size):
            optimizer.zero_grad()
            cross_entropy(head(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        right = accuracy(head, parts["validation"])
        if right > best[0]:
            best = right, copy.deepcopy(head)
    return best


def accuracy(head: nn.Module, part: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Share of right answers."""
    x, y = part
    with torch.inference_mode():
        return float((head(x).argmax(1) == y).double().mean())


if __name__ == "__main__":
    serve({"images": whole, "ours": given})
