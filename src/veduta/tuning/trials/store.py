"""What a study keeps of its trials besides the journal: scores of each, weights of the best so far.

So a search that was killed needs no finished trial again. What reads back other than it was
written, or other than the journal says, is as good as not there: its trial is run again.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from veduta.networks.backbones import headless
from veduta.networks.catalogue.model import Options
from veduta.networks.catalogue.registry import with_options
from veduta.networks.freezing import Tail, TailNetwork
from veduta.networks.heads import Head, HeadNetwork
from veduta.runs.files import write_arrays, write_atomically
from veduta.runs.journal import Event
from veduta.runtime.disk import digest_of
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.state import Finished

WEIGHTS, DESCRIBED = ".safetensors", "network"
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged .npz file may raise."""

SIZES = 8  # bytes of the length of the header, at the start of a safetensors file


def write_scores(path: Path, end: Finished) -> None:
    """What a trial said of every validation image: logits at its best epoch, hits at each."""
    write_arrays(
        path,
        val_logits=end.val_logits.numpy(),
        best_epoch=np.array(end.outcome.best_epoch),
        hits=np.packbits(end.hits, axis=1),
        images=np.array(len(end.outcome.hits)),
    )


def read_scores(path: Path, event: Event) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """What `write_scores` wrote: logits and hits, where they agree with the journal.

    Args:
        path: where.
        event: "trial finished" of the trial.

    Returns:
        (images, classes) and (epochs, images); None where they do not agree.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes())) as kept:  # a damaged file would stay open
            images, best = int(kept["images"]), int(kept["best_epoch"])
            logits = kept["val_logits"]
            hits = np.unpackbits(kept["hits"], axis=1, count=images).astype(bool)
    except DAMAGED:
        return None
    says = images, best, len(logits), len(hits)
    if says != (event["images"], event["best_epoch"], images, event["epochs"]):
        return None
    return (logits, hits) if hits[best - 1].sum() == event["hits"] else None


def write_weights(folder: Path, end: Finished) -> str:
    """The network of a trial as one file; its SHA-256."""
    path = folder / f"{end.outcome.trial}{WEIGHTS}"
    tensors = {name: t.detach().contiguous() for name, t in end.network.state_dict().items()}
    described: dict[str, Any] = {"head": end.network.head.as_dict()}
    if isinstance(end.network, TailNetwork):
        tail = end.network.tail
        options = tail.model.options and asdict(tail.model.options)
        described["tail"] = [tail.model.name, options, tail.frozen]
    words = {DESCRIBED: json.dumps(described)}  # one, for several come in any order
    write_atomically(path, save(tensors, words))
    return digest_of(path)


def read_finished(folder: Path, outcome: Outcome, event: Event) -> Finished | None:
    """A trial as it ended, whole; None where a file of it is missing or was altered."""
    scores = read_scores(folder / f"{outcome.trial}.npz", event)
    path = folder / f"{outcome.trial}{WEIGHTS}"
    if scores is None or not path.is_file() or digest_of(path) != event.get("weights"):
        return None
    data = path.read_bytes()
    header = json.loads(data[SIZES : SIZES + int.from_bytes(data[:SIZES], "little")])
    network = _described(json.loads(header["__metadata__"][DESCRIBED]))
    tensors = load(data)
    dtype = next(t.dtype for t in tensors.values() if t.is_floating_point())
    network.to(dtype).load_state_dict(tensors, assign=True)
    network.to(memory_format=torch.channels_last)
    return Finished(outcome, network, torch.from_numpy(scores[0]), scores[1])


def _described(words: Mapping[str, Any]) -> HeadNetwork:
    """A network of the kind that `write_weights` wrote; its weights are to be filled in."""
    head = words["head"]
    network = HeadNetwork(Head(**{**head, "hidden": tuple(head["hidden"])}))
    if "tail" not in words:
        return network
    name, options, frozen = words["tail"]
    if options is not None:
        options = Options(**{**options, "channels": tuple(options["channels"])})
    model = with_options(name, options)
    return TailNetwork(network, Tail(model, headless(model), frozen))


def forget_weights(folder: Path, best: str) -> None:
    """Remove the weights of all trials but the best."""
    for path in folder.glob(f"*{WEIGHTS}"):
        if path.stem != best:
            path.unlink()
