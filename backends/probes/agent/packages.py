"""Packages of Python that lie in some folders, by the names of their metadata: nothing is imported, nothing is run."""

import glob
import os
import re

from backends.probes.agent.host import read

PACKAGES = (
    "torch", "tensorflow", "jax", "jaxlib", "vllm", "transformers", "deepspeed", "flash_attn", "xformers", "triton", "accelerate",
    "onnxruntime_gpu", "tensorrt", "cupy_cuda11x", "cupy_cuda12x", "numpy", "nvidia_nccl_cu11", "nvidia_nccl_cu12", "nvidia_nccl_cu13",
)  # fmt: skip
PLACES = (
    "/usr/lib/python3/dist-packages", "/usr/lib/python3*/site-packages", "/usr/local/lib/python3*/*-packages", "/opt/*/lib/python3*/site-packages",
    "/opt/*/envs/*/lib/python3*/site-packages", "/opt/*/*/lib/python3*/site-packages", "/venv/lib/python3*/site-packages",
)  # fmt: skip
MOST_PACKAGES = 200


def packages_in(folders: "list[str]") -> "list[list[object]]":
    """[name, version, CUDA that it was built for, folder]."""
    out = []  # type: list[list[object]]
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            stem, _, ending = name.rpartition(".")
            package, _, version = stem.partition("-")
            package = package.lower().replace("-", "_").replace(".", "_")
            if ending == "dist-info" and package in PACKAGES and version and len(out) < MOST_PACKAGES:
                out.append([package, version, built_for(folder, package, version), folder])
    return sorted(out, key=str)


def built_for(folder: str, package: str, version: str) -> "str | None":
    if package == "torch":
        found = re.search(
            r"^cuda\s*(?::[^=\n]*)?=\s*['\"]([0-9.]+)['\"]", read(os.path.join(folder, "torch", "version.py")), re.M
        )
        if found:
            return found.group(1)
    local = re.search(r"\+cu(\d\d)(\d+)", version)
    return local.group(1) + "." + local.group(2) if local else None


def folders_of(places: "list[str]") -> "list[str]":
    """Patterns as the folders that are there."""
    found = set()  # type: set[str]
    for place in places:
        found.update(os.path.realpath(path) for path in glob.glob(os.path.expanduser(place)))
    return sorted(found)[:MOST_PACKAGES]
