"""Collect splits, weights and features of a run of Veduta as the job of other tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from benchmarks.workers.job import SPLITS, Job
from veduta.data.folder import read_folder
from veduta.data.pixels import Resize, load_pixels
from veduta.features.engines import choose_engine
from veduta.features.store import Extractor, load_features
from veduta.networks.backbones import build_backbone
from veduta.runs.tables import read_splits
from veduta.runtime.environment import count_cores


def prepare_job(data: Path, folder: Path, *, model: str, size: int, rest: Mapping[str, Any]) -> Job:
    """Return the job of the run in `folder / "run"` with the cache `folder / "cache"`."""
    cache, listing = folder / "cache", read_folder(data)
    backbone = build_backbone(model, image_size=size, cache=cache)
    weights, features = folder / "weights.safetensors", folder / "features.npz"
    save_file(backbone.network.state_dict(), weights)
    table = read_splits(folder / "run" / "splits.csv")
    split_of = dict(zip(table["path"], table["split"], strict=True))
    resize = Resize(size, backbone.preprocessing.filter)
    extractor = Extractor(backbone, choose_engine("auto"), resize, count_cores())
    number = {name: index for index, name in enumerate(listing.classes)}
    images: dict[str, list[tuple[str, int]]] = {}
    arrays: dict[str, Any] = {}
    for split in SPLITS:
        samples = [one for one in listing.samples if split_of.get(one.name) == split]
        labels = [number[str(sample.label)] for sample in samples]
        pixels = load_pixels(samples, resize, cache=cache, threads=count_cores())
        rows = load_features(pixels.images, pixels.rows, extractor, cache=cache)
        assert rows.computed == 0, "all features must be cached"
        images[split] = [(str(s.path.absolute()), n) for s, n in zip(samples, labels, strict=True)]
        arrays |= {split: rows.rows.take(), f"{split}_labels": np.array(labels)}
    np.savez(features, **arrays)
    return Job(
        images=images, classes=len(number), image_size=size, weights=str(weights),
        features=str(features), threads=count_cores(), **rest,
    )  # fmt: skip
