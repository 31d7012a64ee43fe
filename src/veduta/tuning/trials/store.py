"""Weights of the best trial so far, as a file beside the scores of a run.

A file that is missing, damaged, or different from what the journal says is treated as missing: its
trial is run again. With it, a search that was killed repeats no finished trial.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from pydantic import TypeAdapter
from safetensors.torch import load, save

from veduta.config.network_specs import Head
from veduta.networks.backbones import build_headless_network
from veduta.networks.catalogue.model import Options
from veduta.networks.catalogue.registry import configure_model
from veduta.networks.freezing import Tail, TailNetwork
from veduta.networks.heads import HeadNetwork
from veduta.runs.events import TrialFinished
from veduta.runs.scores import find_validation_scores
from veduta.runtime.disk import compute_digest, write_atomically
from veduta.tuning.trials.selection import Outcome
from veduta.tuning.trials.state import FinishedTrial

SUFFIX = ".safetensors"
DESCRIPTION = "network"  # key of the description of the network in the header of the file
LENGTH_BYTES = 8  # at the start of a safetensors file: length of its header, little endian

_HEAD, _OPTIONS = TypeAdapter(Head), TypeAdapter(Options)


def save_weights(folder: Path, finished: FinishedTrial) -> str:
    """Write the network of a trial as one file and return its SHA-256."""
    path = folder / f"{finished.outcome.trial}{SUFFIX}"
    network = finished.network
    tensors = {name: t.detach().contiguous() for name, t in network.state_dict().items()}
    description: dict[str, object] = {"head": asdict(network.head)}
    if isinstance(network, TailNetwork):
        tail = network.tail
        options = tail.model.options and asdict(tail.model.options)
        description["tail"] = [tail.model.name, options, tail.frozen_stages]
    metadata = {DESCRIPTION: json.dumps(description)}  # one key, as several have no fixed order
    write_atomically(path, save(tensors, metadata))
    return compute_digest(path)


def load_finished_trial(
    folder: Path, outcome: Outcome, event: TrialFinished
) -> FinishedTrial | None:
    """Return a finished trial; None where one of its files is missing or was changed.

    Args:
        folder: folder of the scores and weights.
        outcome: the outcome of the trial.
        event: its event in the journal.
    """
    scores = find_validation_scores(folder / f"{outcome.trial}.npz", event)
    path = folder / f"{outcome.trial}{SUFFIX}"
    if scores is None or not path.is_file() or compute_digest(path) != event.weights_sha256:
        return None
    data = path.read_bytes()
    header_bytes = int.from_bytes(data[:LENGTH_BYTES], "little")
    header = json.loads(data[LENGTH_BYTES : LENGTH_BYTES + header_bytes])
    network = _build_described(json.loads(header["__metadata__"][DESCRIPTION]))
    tensors = load(data)
    dtype = next(t.dtype for t in tensors.values() if t.is_floating_point())
    network.to(dtype).load_state_dict(tensors, assign=True)
    network.to(memory_format=torch.channels_last)
    logits = torch.from_numpy(scores.logits)
    return FinishedTrial(outcome, network, logits, scores.correct, event.end_reason)


def delete_weights(folder: Path, *, keep: str) -> None:
    """Delete the weights of all trials but one."""
    for path in folder.glob(f"*{SUFFIX}"):
        if path.stem != keep:
            path.unlink()


def _build_described(description: Mapping[str, object]) -> HeadNetwork:
    """Return a network of the kind that `save_weights` described, without its weights."""
    network = HeadNetwork(_HEAD.validate_python(description["head"]))
    if "tail" not in description:
        return network
    name, options, frozen = cast("tuple[str, object, int]", description["tail"])
    model = configure_model(name, None if options is None else _OPTIONS.validate_python(options))
    return TailNetwork(network, Tail(model, build_headless_network(model), frozen))
