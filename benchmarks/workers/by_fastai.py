"""fastai: a Learner a trial, from images as its guide has it, and on features cached by hand.

Not all of the grid is run: of the way from images one epoch of one trial, on `job.some` training
images; of the way on features `job.loops` trials. What the rest would take is extrapolated.
"""

from functools import partial
from typing import Any

import fastai
import timm
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.training import BnFreeze
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import IndexSplitter, Normalize
from fastai.learner import Learner
from fastai.metrics import accuracy
from fastai.torch_core import params, set_seed
from fastai.vision.augment import Resize, ResizeMethod
from fastai.vision.data import ImageBlock
from PIL.Image import Resampling
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from benchmarks.workers.job import PARTS, Answer, Clock, Job, serve

VERSIONS = {"fastai": fastai.__version__, "torch": torch.__version__}
Pairs = list[tuple[str, int]]


def images(job: Job) -> Answer:
    """Every epoch of every trial reads all images and runs the frozen body over them."""
    torch.set_num_threads(job.threads)
    lengths = {part: len(job.images[part]) for part in ("train", "validation")}
    kept = {part: spread(job.images[part], job.some * n // lengths["train"])
            for part, n in lengths.items()}  # fmt: skip
    model = nn.Sequential(body(job), nn.Linear(1280, job.classes))
    learn = Learner(
        image_loaders(job, kept["train"], kept["validation"]), model, cross_entropy,
        splitter=lambda net: [params(net[0]), params(net[1])],
        train_bn=False, metrics=accuracy, cbs=[BnFreeze(), ChannelsLast()],
    )  # fmt: skip
    learn.freeze()
    with torch.inference_mode():
        model(learn.dls.one_batch()[0])  # warm
    clock = Clock()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, lr=job.grid["lr"][0], wd=job.grid["weight_decay"][0])
    seconds = clock()
    run = sum(len(pairs) for pairs in kept.values())
    epoch = seconds * sum(lengths.values()) / run
    trials = len(job.trials())
    search = epoch * job.epochs * trials
    return Answer(
        added=search - seconds,
        note=f"from {run} images of one epoch: {epoch:.0f} s an epoch, {trials} x {job.epochs}",
        versions=VERSIONS,
        seconds={"search": search},
    )


def features(job: Job) -> Answer:
    """The body once over all images, then a Learner a trial on what it gave."""
    torch.set_num_threads(job.threads)
    clock = Clock()
    parts = {part: TensorDataset(*extract(job, part)) for part in PARTS}
    seconds = {"features": clock()}
    torch.set_num_threads(1)  # quicker: the steps of a linear head are too small to share
    loaders = DataLoaders.from_dsets(
        parts["train"], parts["validation"], bs=job.batch_size, num_workers=0, device="cpu"
    )
    trials = spread(job.trials(), job.loops)
    clock()
    found = [(trial, *train(job, loaders, trial)) for trial in trials]
    run = clock()
    every = len(job.trials())
    seconds["search"] = run * every / len(trials)
    best, right, head = max(found, key=lambda trial: trial[1])
    x, y = parts["test"].tensors
    with torch.inference_mode():
        test = float((head(x).argmax(1) == y).double().mean())
    return Answer(
        validation=right,
        test=test,
        chosen=str(best),
        added=seconds["search"] - run,
        note=f"from {len(trials)} of {every} trials",
        versions=VERSIONS,
        seconds=seconds,
    )


def train(job: Job, loaders: DataLoaders, trial: dict[str, float]) -> tuple[float, nn.Module]:
    """One trial: accuracy on validation after its last epoch, and its head."""
    set_seed(0)
    head = nn.Linear(1280, job.classes)
    learn = Learner(loaders, head, cross_entropy, metrics=accuracy)
    with learn.no_bar(), learn.no_logging():
        learn.fit(job.epochs, lr=trial["lr"], wd=trial["weight_decay"])
    return float(learn.recorder.values[-1][-1]), head


def extract(job: Job, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and labels of a part, read by fastai's own loader."""
    pairs = job.images[part]
    loader = image_loaders(job, pairs, pairs).valid
    network = body(job)
    with torch.inference_mode():
        rows = [network(x.contiguous(memory_format=torch.channels_last)) for x, _ in loader]
    return torch.cat(rows).as_subclass(torch.Tensor), torch.tensor([label for _, label in pairs])


def body(job: Job) -> nn.Module:
    """The backbone with the weights that everyone has."""
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    network.load_state_dict(load_file(job.weights))
    return network.eval().to(memory_format=torch.channels_last)


def image_loaders(job: Job, train: Pairs, held: Pairs) -> DataLoaders:
    """Loaders of images by fastai, normalised as the backbone wants them."""
    resize = partial(Resize, job.image_size, ResizeMethod.Squish)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=list(range(job.classes)))),
        get_x=lambda pair: pair[0],
        get_y=lambda pair: pair[1],
        splitter=IndexSplitter(list(range(len(train), len(train) + len(held)))),
        item_tfms=resize(resamples=(Resampling.BICUBIC, Resampling.NEAREST)),
        batch_tfms=Normalize.from_stats([0.5] * 3, [0.5] * 3, cuda=False),
    )
    return block.dataloaders(
        [*train, *held], bs=job.batch_size, num_workers=job.threads, device=torch.device("cpu")
    )


def spread(items: list[Any], count: int) -> list[Any]:
    """`count` items, evenly over the list."""
    return [items[number * len(items) // count] for number in range(count)]


if __name__ == "__main__":
    serve({"images": images, "features": features})
