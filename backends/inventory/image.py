"""Which framework a container image brings, as its name says; a version only where the makers' own tags are versions."""

from __future__ import annotations

import re

from backends.inventory.seen import Told
from backends.inventory.written import quoted
from backends.live.image_name import image_name

# Packages of Python, and what a plan calls the framework.
FRAMEWORKS = {"vllm": "vllm", "torch": "pytorch", "tensorflow": "tensorflow", "jax": "jax"}
_WORDS = ("vllm", "pytorch", "tensorflow", "jax", "tritonserver", "sglang", "text-generation-inference")
# Their tags begin with the framework's version; NVIDIA's (24.05-py3) are months.
_BY_VERSION = ("pytorch/pytorch", "tensorflow/tensorflow", "vllm/vllm-openai", "lmsysorg/sglang")
_VERSION = re.compile(r"v?(\d{1,4}\.\d{1,4}(?:\.\d{1,4})?)(?![\d.])")
_CUDA = re.compile(r"cuda-?(\d{1,2}\.\d{1,2})")


def framework_of_image(image: str, where: str) -> Told | None:
    """The plan's `framework` with its image; None where no part of the name is a framework's."""
    name = image_name(image.replace("#", "/"))  # enroot writes REGISTRY#IMAGE
    if name is None:
        return None
    framework = framework_word(image)
    if framework is None:
        return None
    fields = [f"name: {framework}"]
    version = _VERSION.match(name.reference) if name.repository in _BY_VERSION else None
    cuda = _CUDA.search(name.reference)
    fields += [f"version: {quoted(version[1])}"] if version else []
    fields += [f"cuda: {quoted(cuda[1])}"] if cuda else []
    fields.append(f"image: {quoted(image)}")
    return Told(f"{{{', '.join(fields)}}}", f"image seen: {where}; inferred: the rest from its name")


def framework_word(image: str) -> str | None:
    """The framework that a part of the image's name is."""
    name = image_name(image.replace("#", "/"))
    if name is None:
        return None
    words = [*re.split(r"[/._-]", name.repository), name.repository.rpartition("/")[2]]
    return next((word for word in _WORDS if word in words), None)
