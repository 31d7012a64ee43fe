"""fastai: a Learner per trial, from images as in its guide, and on manually cached features.

Only a part of the grid is run: from images one epoch of one trial, on `job.some` training images;
on features `job.loops` trials. The seconds of the others are extrapolated.
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

from benchmarks.workers.job import SPLITS, Answer, Clock, Job, run_method

VERSIONS = {"fastai": fastai.__version__, "torch": torch.__version__}
Pairs = list[tuple[str, int]]


def search_from_images(job: Job) -> Answer:
    """Search with the frozen body run over all images in every epoch of every trial."""
    torch.set_num_threads(job.threads)
    lengths = {split: len(job.images[split]) for split in ("train", "validation")}
    kept = {split: select_evenly(job.images[split], job.some * n // lengths["train"])
            for split, n in lengths.items()}  # fmt: skip
    model = nn.Sequential(build_body(job), nn.Linear(1280, job.classes))
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
    trials = len(job.list_trials())
    search = epoch * job.epochs * trials
    return Answer(
        added=search - seconds,
        note=f"from {run} images of one epoch: {epoch:.0f} s per epoch, {trials} x {job.epochs}",
        versions=VERSIONS,
        seconds={"search": search},
    )


def search_on_features(job: Job) -> Answer:
    """Run the body once over all images, then train a Learner per trial on the features."""
    torch.set_num_threads(job.threads)
    clock = Clock()
    datasets = {split: TensorDataset(*extract(job, split)) for split in SPLITS}
    seconds = {"features": clock()}
    torch.set_num_threads(1)  # faster: the steps of a linear head are too small to share
    loaders = DataLoaders.from_dsets(
        datasets["train"], datasets["validation"], bs=job.batch_size, num_workers=0, device="cpu"
    )
    trials = select_evenly(job.list_trials(), job.loops)
    clock()
    results = [(trial, *train(job, loaders, trial)) for trial in trials]
    run = clock()
    count = len(job.list_trials())
    seconds["search"] = run * count / len(trials)
    best, validation, head = max(results, key=lambda result: result[1])
    x, y = datasets["test"].tensors
    with torch.inference_mode():
        test = float((head(x).argmax(1) == y).double().mean())
    return Answer(
        validation=validation,
        test=test,
        chosen=str(best),
        added=seconds["search"] - run,
        note=f"from {len(trials)} of {count} trials",
        versions=VERSIONS,
        seconds=seconds,
    )


def train(job: Job, loaders: DataLoaders, trial: dict[str, float]) -> tuple[float, nn.Module]:
    """Train one trial; return validation accuracy after its last epoch, and its head."""
    set_seed(0)
    head = nn.Linear(1280, job.classes)
    learn = Learner(loaders, head, cross_entropy, metrics=accuracy)
    with learn.no_bar(), learn.no_logging():
        learn.fit(job.epochs, lr=trial["lr"], wd=trial["weight_decay"])
    return float(learn.recorder.values[-1][-1]), head


def extract(job: Job, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and labels of a split, loaded by fastai."""
    pairs = job.images[split]
    loader = image_loaders(job, pairs, pairs).valid
    network = build_body(job)
    with torch.inference_mode():
        rows = [network(x.contiguous(memory_format=torch.channels_last)) for x, _ in loader]
    return torch.cat(rows).as_subclass(torch.Tensor), torch.tensor([label for _, label in pairs])


def build_body(job: Job) -> nn.Module:
    """Return the backbone with the weights of the job."""
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    network.load_state_dict(load_file(job.weights))
    return network.eval().to(memory_format=torch.channels_last)


def image_loaders(job: Job, train: Pairs, held: Pairs) -> DataLoaders:
    """Return fastai's loaders of images, normalized for the backbone."""
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


def select_evenly(items: list[Any], count: int) -> list[Any]:
    """Return `count` items, evenly spaced in the list."""
    return [items[number * len(items) // count] for number in range(count)]


if __name__ == "__main__":
    run_method({"images": search_from_images, "features": search_on_features})
