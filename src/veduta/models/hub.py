"""Where pretrained weights are, for a model whose weights no Python package brings."""

import re

from veduta.models.model import Model

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

    >>> from veduta.models.imagenet import VGG16
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
