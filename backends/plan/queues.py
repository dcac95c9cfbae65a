"""Routes of the plan that are no balancer and no record: a submission queue of Slurm, the weights of a Kubernetes gateway."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from backends.plan.parts import Part, Text, Whole
from backends.plan.ways import KubeName, SlurmName


class SideHosts(Part):
    """A host of each side."""

    legacy: Text
    target: Text


class SlurmRoute(Part):
    """Which partition takes new jobs: all or nothing. `hosts`: where Slurm's commands run; default: the engine's machine."""

    legacy: SlurmName
    target: SlurmName
    hosts: SideHosts | None = None
    queue: Literal["refuse", "hold"] = "refuse"  # the side that takes none: DRAIN, or DOWN


class GatewayRoute(Part):
    """Weights of two backends of a rule of an HTTPRoute (Gateway API v1)."""

    name: KubeName
    legacy: KubeName  # names of backendRefs
    target: KubeName
    namespace: KubeName | None = None
    rule: Annotated[Whole, Field(ge=0, le=15)] = 0  # the place of the rule
    kubeconfig: Text | None = None
    context: Text | None = None
