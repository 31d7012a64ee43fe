"""Compare the readable NumPy code with PyTorch: one epoch of a CNN on digits, on one thread.

    python -m benchmarks.foundations [--rounds N]

Layers, batches, optimizer and samples are the same, and the measurements alternate in one run:
foundations in float64, PyTorch in float64 and in the usual float32. The ratio should be below 10.
"""

# ruff: noqa: E402 - the number of threads is fixed before NumPy and torch are loaded

import argparse
import os
import statistics
import time
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from veduta.foundations.layers import (
    ActivationLayer,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Pooling,
)
from veduta.foundations.training import Samples, TrainingSettings, train

MAX_RATIO = 10
BATCH, LR, MU = 32, 0.02, 0.9


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    digits = load_digits()
    x, labels = digits.data.reshape(-1, 1, 8, 8) / 16, digits.target
    methods: dict[str, Callable[[], None]] = {
        "foundations, float64": lambda: train_foundations(x, labels),
        "PyTorch, float64": lambda: train_torch(x, labels, torch.float64),
        "PyTorch, float32": lambda: train_torch(x, labels, torch.float32),
    }
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()  # warm up
    for _ in range(rounds):
        for name, method in methods.items():
            start = time.process_time()
            method()
            seconds[name].append(time.process_time() - start)
    print(f"one epoch of {len(x)} digits, CPU seconds, median of {rounds} rounds, one thread")
    median = {name: statistics.median(times) for name, times in seconds.items()}
    own = median["foundations, float64"]
    for name, second in median.items():
        print(f"{name:<22} {second:6.2f} s   ratio {own / second:5.1f}")
    slowest = max(own / second for second in median.values())
    print(f"target: below {MAX_RATIO}; {'reached' if slowest < MAX_RATIO else 'NOT REACHED'}")


def train_foundations(x: np.ndarray, labels: np.ndarray) -> None:
    """Train one epoch with foundations."""
    rng = np.random.default_rng(0)
    net: list[Layer] = [
        Convolution(1, 16, k=3, padding=1, rng=rng),
        BatchNorm(16),
        ActivationLayer(),
        Convolution(16, 32, k=3, padding=1, rng=rng),
        BatchNorm(32),
        ActivationLayer(),
        Pooling("max", 2),
        Flatten(),
        Dropout(0.5, rng=rng),
        Dense(512, 10, rng=rng),
    ]
    few = Samples(x[:2], labels[:2])
    settings = TrainingSettings(epochs=1, batch_size=BATCH, lr=LR, mu=MU)
    train(net, Samples(x, labels), validation=few, settings=settings, rng=rng)


def train_torch(x: np.ndarray, labels: np.ndarray, dtype: torch.dtype) -> None:
    """Train one epoch of the same network with PyTorch."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(512, 10),
    ).to(dtype)
    images, targets = torch.tensor(x, dtype=dtype), torch.tensor(labels)
    optimizer = torch.optim.SGD(network.parameters(), LR, momentum=MU)
    for batch in torch.split(torch.randperm(len(x)), BATCH):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images[batch]), targets[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


if __name__ == "__main__":
    main()
