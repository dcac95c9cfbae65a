"""A node of Kubernetes as a host of the plan: its GPUs by capacity and by the labels of NVIDIA's GPU feature discovery and of the clouds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.inventory.pods import GPUS
from backends.inventory.seen import Node, Told
from backends.inventory.untyped import labels, part, parts, quantity, text
from backends.inventory.written import card_name, quoted, size

# label: the value that says spot, in lower case; another value says that it is none
SPOT = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacitytype": "spot",
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "cloud.google.com/gke-provisioning": "spot",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
REGION = "topology.kubernetes.io/region"
_PROVIDERS = {"gce": "gcp", "aws": "aws", "azure": "azure", "oci": "oci", "coreweave": "coreweave"}
_CARDS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "gpu.nvidia.com/model", "cloud.google.com/gke-accelerator", "k8s.amazonaws.com/accelerator",
          "karpenter.k8s.aws/instance-gpu-name")  # fmt: skip


def node_of(found: Any) -> Node:
    own = labels(found, "metadata", "labels")
    name = text(found, "metadata", "name")
    addresses = {text(one, "type"): text(one, "address") for one in parts(found, "status", "addresses")}
    address = addresses.get("InternalIP") or addresses.get("Hostname") or name
    region = own.get(REGION)
    return Node(
        name,
        address or "unknown",
        gpus=_gpus(found, own),
        spot=spot_of(own),
        region=Told(quoted(region), f"seen: the label {REGION} of the node") if region else None,
        notes=tuple(_notes(found, own)),
    )


def provider_of(found: Any) -> str:
    """Of the node's providerID, `gce://…`; empty where it has none."""
    scheme, separator, _ = text(found, "spec", "providerID").partition("://")
    return _PROVIDERS.get(scheme, scheme) if separator else ""


def spot_of(own: Mapping[str, str]) -> Told | None:
    """`true` where a label says so; None where one says that it is none, or where nothing says."""
    for label, value in own.items():
        if SPOT.get(label.lower()) == value.lower():
            return Told("true", f"seen: the label {label}={value} of the node")
    return None


def _gpus(found: Any, own: Mapping[str, str]) -> Told | None:
    capacity = part(found, "status", "capacity")
    resource = next((name for name in GPUS if quantity(capacity.get(name))), "")
    slices = [name for name in capacity if name.startswith("nvidia.com/mig-") and quantity(capacity[name])]
    labelled = quantity(own.get("nvidia.com/gpu.count"))
    count = int(labelled or quantity(capacity.get(resource)) or 0)
    if not count:
        return None
    card = next((own[label] for label in _CARDS if own.get(label)), "")
    label = next((label for label in _CARDS if own.get(label)), "")
    told = [f"capacity {name} {capacity[name]}" for name in ([resource] if resource else []) + slices]
    told += [f"label {label}={card}"] if label else ["which card: no label says"]
    told += [f"label nvidia.com/gpu.count={own['nvidia.com/gpu.count']}"] if labelled else []
    told.append(f"driver {_version(own, 'driver')}, CUDA {_version(own, 'runtime')}")
    named = f"type: {quoted(card_name(card.removesuffix('-SHARED')))}, " if card else ""
    return Told(f"{{{named}count: {count}}}", f"seen: {', '.join(told)}")


def _version(own: Mapping[str, str], what: str) -> str:
    """Of GPU feature discovery: `nvidia.com/cuda.driver-version.full`, before 0.15 in parts (`…cuda.driver.major`, `.minor`, `.rev`)."""
    if full := own.get(f"nvidia.com/cuda.{what}-version.full"):
        return full
    numbers = [own.get(f"nvidia.com/cuda.{what}.{piece}", "") for piece in ("major", "minor", "rev")]
    return ".".join(filter(None, numbers)) or "unknown"


def _notes(found: Any, own: Mapping[str, str]) -> Iterator[str]:
    capacity = part(found, "status", "capacity")
    memory = quantity(capacity.get("memory"))
    info = part(found, "status", "nodeInfo")
    machine = own.get("node.kubernetes.io/instance-type", "")
    cores = f"{capacity['cpu']} cores" if "cpu" in capacity else ""
    told = (text(info, "osImage"), text(info, "architecture"), cores, size(memory) if memory else "")
    yield ", ".join(filter(None, (*told, text(info, "containerRuntimeVersion"), machine))) or "what machine it is: not told"
    if own.get("nvidia.com/mig.strategy") and any(name.startswith("nvidia.com/mig-") for name in capacity):
        yield f"MIG: strategy {own['nvidia.com/mig.strategy']}: its GPUs are given out in slices"
    if (shared := quantity(own.get("nvidia.com/gpu.replicas"))) and shared > 1:
        yield f"each GPU is given out {shared:g} times (time-slicing, nvidia.com/gpu.replicas)"
    if spot_of(own) is None:
        said = next((f"{label}={value}" for label, value in own.items() if label.lower() in SPOT), "")
        yield f"spot: not one, by its label {said}" if said else "spot: not known: no label of the node says"
    if part(found, "spec").get("unschedulable") is True:
        yield "it takes no new pods (unschedulable)"
