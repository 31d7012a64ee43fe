"""Train fastai's ResNet-18 from random weights as in its guide: `vision_learner`, one cycle.

After every epoch it writes the seconds since the start of the process and the accuracy on the
validation images. It ends when the target is reached or the budget is spent.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from fastai.callback import schedule  # noqa: F401 (gives learners their fit_one_cycle)
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback, CancelFitException
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import IndexSplitter
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from fastai.vision.augment import Resize, aug_transforms
from fastai.vision.data import ImageBlock
from fastai.vision.learner import vision_learner
from torchvision.models import resnet18

Pairs = list[tuple[str, int]]


class EpochWriter(Callback):  # type: ignore[misc]
    """Writes the result of every epoch, and stops the training."""

    order = 60  # after the recorder, which has the metrics of the epoch

    def __init__(self, target: float, budget: float, path: Path) -> None:
        self.target, self.budget, self.path = target, budget, path
        self.points: list[tuple[float, float]] = []
        self.started = float(os.environ["STARTED"])

    def after_epoch(self) -> None:
        """Write one more point."""
        seconds = time.time() - self.started
        self.points.append((seconds, float(self.learn.recorder.values[-1][-1])))
        self.path.write_text(json.dumps(self.points))
        if self.points[-1][1] >= self.target or seconds > self.budget:
            raise CancelFitException


def main() -> None:
    """Train, and write the points."""
    input_path, output_path = map(Path, sys.argv[1:])
    job: dict[str, Any] = json.loads(input_path.read_text())
    torch.set_num_threads(job["threads"])
    set_seed(0)
    train, held = job["images"]["train"], job["images"]["validation"]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(range(job["classes"])))),
        get_x=lambda pair: pair[0],
        get_y=lambda pair: pair[1],
        splitter=IndexSplitter(list(range(len(train), len(train) + len(held)))),
        item_tfms=Resize(job["image_size"]),
        batch_tfms=aug_transforms(),
    )
    loaders = block.dataloaders(
        [*train, *held], bs=job["batch_size"], num_workers=0, device=torch.device("cpu")
    )
    learn = vision_learner(
        loaders, resnet18, pretrained=False, normalize=True, metrics=accuracy, cbs=[ChannelsLast()]
    )
    writer = EpochWriter(job["target"], job["budget"], output_path)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(job["epochs"], job["grid"]["lr"][0], cbs=[writer])


if __name__ == "__main__":
    main()
