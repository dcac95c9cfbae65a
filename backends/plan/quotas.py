"""What somebody has to grant before target can be grown to: quotas of Kubernetes, a partition of Slurm, of an AWS account."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from backends.plan.parts import Number, Part, Text
from backends.plan.ways import KubeName, SlurmName

QUOTA_KINDS = ("kubernetes", "slurm", "aws")
OF_PARTITIONS = ("nodes", "cpus", "gpus", "hours")

Amount = Annotated[Number, Field(gt=0, allow_inf_nan=False)]


class KubernetesQuota(Part):
    """The ResourceQuotas of a namespace; `needs` by their own names, `requests.nvidia.com/gpu` for one."""

    namespace: KubeName | None = None  # default: the context's
    kubeconfig: Text | None = None
    context: Text | None = None


class SlurmQuota(Part):
    """The limits of a partition, and of an account's associations (of a `user` in it, too); `needs` are of `OF_PARTITIONS`. `host`: where Slurm's
    commands run; default: the engine's machine."""

    partition: SlurmName
    account: SlurmName | None = None
    user: SlurmName | None = None
    host: str | None = None


class AwsQuota(Part):
    """Service Quotas of an account and a region; `needs` by the quota's code, `L-417A185B` (vCPUs of P instances) for one. Credentials: AWS's usual chain."""

    service: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}$")] = "ec2"
    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None


class Quota(Part):
    """Exactly one of `QUOTA_KINDS`."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    kubernetes: KubernetesQuota | None = None
    slurm: SlurmQuota | None = None
    aws: AwsQuota | None = None
    needs: dict[Text, Amount]

    @property
    def kinds(self) -> list[str]:
        """Those of `QUOTA_KINDS` that are given."""
        return [kind for kind in QUOTA_KINDS if getattr(self, kind) is not None]
