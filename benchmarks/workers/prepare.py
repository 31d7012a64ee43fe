"""Veduta's side of the job: its split, its weights and its features, out of its run and cache."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from benchmarks.workers.job import PARTS, Job
from veduta.data.folder import read_folder
from veduta.data.pixels import Resize, load_pixels
from veduta.features.engines import choose_engine
from veduta.features.store import Extractor, load_features
from veduta.networks.backbones import build_backbone
from veduta.runtime.environment import processors


def prepare(folder: Path, place: Path, *, model: str, size: int, rest: Mapping[str, Any]) -> Job:
    """The job of a run in `place / "run"` with the cache `place / "cache"`; `rest` is as given."""
    cache, found = place / "cache", read_folder(folder)
    backbone = build_backbone(model, image_size=size, cache=cache)
    weights, features = place / "weights.safetensors", place / "features.npz"
    save_file(backbone.network.state_dict(), weights)
    with (place / "run" / "splits.csv").open() as file:
        split = {row["path"]: row["split"] for row in csv.DictReader(file)}
    resize = Resize(size, backbone.preprocessing.filter)
    extractor = Extractor(backbone, choose_engine("auto"), resize, processors())
    number = {name: index for index, name in enumerate(found.classes)}
    parts: dict[str, list[tuple[str, int]]] = {}
    arrays: dict[str, Any] = {}
    for part in PARTS:
        samples = [sample for sample in found.samples if split.get(sample.name) == part]
        labels = [number[str(sample.label)] for sample in samples]
        pixels = load_pixels(samples, resize, cache=cache, threads=processors())
        rows = load_features(pixels.images, pixels.rows, extractor, cache=cache)
        assert rows.computed == 0, "Veduta's features are in its cache"
        parts[part] = [(str(s.path.absolute()), n) for s, n in zip(samples, labels, strict=True)]
        arrays |= {part: rows.rows.take(), f"{part}_labels": np.array(labels)}
    np.savez(features, **arrays)
    return Job(
        images=parts, classes=len(number), image_size=size, weights=str(weights),
        features=str(features), threads=processors(), **rest,
    )  # fmt: skip
