"""Where a run ran: what of it may explain a difference, in the order of likelihood."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from backends.escape import plain
from backends.listed import listed
from backends.ssh.errors import SshError
from backends.ssh.pool import SshPool
from backends.validation.causes import Cause

_SECONDS = 60.0
# Constant text; the interpreter of the command comes as an argument, "" where it is no Python.
_SCRIPT = r"""
printf 'os=%s\n' "$(uname -sr)"
printf 'cpu=%s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)"
printf 'cores=%s\n' "$(getconf _NPROCESSORS_ONLN)"
if command -v nvidia-smi >/dev/null 2>&1; then
  printf 'gpus=%s\n' "$(nvidia-smi --query-gpu=name --format=csv,noheader | tr '\n' ',')"
  printf 'driver=%s\n' "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)"
fi
env | grep -E '^(CUDA_|CUBLAS_|NVIDIA_|NCCL_|OMP_|MKL_|OPENBLAS_|TORCH|PYTORCH_|TF_|XLA_|JAX_)' | sed 's/^/env./'
if [ -n "$1" ]; then "$1" -c '
import platform, importlib.metadata as m
print("python=" + platform.python_version())
for n in (
    "torch", "numpy", "jax", "jaxlib", "tensorflow", "transformers", "accelerate", "deepspeed", "flash-attn", "triton", "datasets",
    "tokenizers", "lightning", "bitsandbytes", "transformer-engine", "nvidia-cudnn-cu12", "nvidia-cublas-cu12", "nvidia-nccl-cu12",
):
    try:
        print("version." + n + "=" + m.version(n))
    except m.PackageNotFoundError:
        pass
'; fi
"""
_ORDER: tuple[str, ...] = (
    r"version\.(torch|jax|jaxlib|tensorflow)$",
    r"version\.",
    r"env\..*(TF32|PRECISION|CUBLAS|DETERMINISTIC)",
    r"env\.",
)
_ORDER += (r"python$", r"gpus$", r"driver$", r"cpu$", r"cores$", r"os$")
_MOST = 200


Difference = tuple[str, str | None, str | None]  # a fact, legacy's, target's


async def environment(pool: SshPool, host: str, argv: Sequence[str]) -> dict[str, str]:
    """Facts by name: `os`, `cpu`, `cores`, `gpus`, `driver`, `python`, `version.torch`, `env.NAME`. Empty where the host does not tell."""
    program = argv[0] if re.search(r"(?:^|/)python[\d.]*$", argv[0]) else ""
    try:
        said = await pool.run(host, ["sh", "-c", _SCRIPT, "sh", program], timeout=_SECONDS, limit=1 << 16)
    except SshError:
        return {}
    facts: dict[str, str] = {}
    for line in said.stdout.decode("utf-8", "backslashreplace").splitlines()[:_MOST]:
        name, equals, value = line.partition("=")
        if equals and value.strip(" ,"):
            facts[plain(name, 60)] = plain(value.strip(" ,"), 200)
    return facts


def unlike(legacy: Mapping[str, str], target: Mapping[str, str]) -> list[Difference]:
    """(fact, legacy's, target's) where they are not the same, the likeliest cause of a difference first."""
    names = [n for n in legacy.keys() | target.keys() if legacy.get(n) != target.get(n)]

    def rank(name: str) -> tuple[int, str]:
        return next((at for at, pattern in enumerate(_ORDER) if re.match(pattern, name)), len(_ORDER)), name

    return [(name, legacy.get(name), target.get(name)) for name in sorted(names, key=rank)]


MACHINES = "the machines differ"
_MEANS = (  # what a difference is, the likeliest cause first
    ("versions of the framework differ", r"version\.(torch|jax|jaxlib|tensorflow)$"),
    ("versions of other libraries differ", r"version\.|python$"),
    ("the seeds differ", r"env\..*SEED"),
    ("flags of precision differ (TF32 and the like)", r"env\..*(TF32|PRECISION|CUBLAS|DETERMINISTIC|BF16|FP16|FP8)"),
    ("other settings of the environment differ", r"env\."),
    (MACHINES, r"(gpus|driver|cpu|cores|os)$"),
)


def causes_in(differences: Sequence[Difference]) -> tuple[Cause, ...]:
    """What the differences may be the cause of, the likeliest first, each with its evidence."""
    left, causes = list(differences), []
    for cause, pattern in _MEANS:
        meant = [d for d in left if re.match(pattern, d[0])]
        left = [d for d in left if d not in meant]
        if meant:
            causes.append(Cause(cause, in_words(meant)))
    return tuple(causes)


def in_words(differences: Sequence[Difference], most: int = 4) -> str:
    """`torch 2.3 → 2.4, cpu …`; empty where nothing differs."""
    shown = [f"{n.removeprefix('version.').removeprefix('env.')} {a or 'none'} → {b or 'none'}" for n, a, b in differences]
    return listed(shown, most)
