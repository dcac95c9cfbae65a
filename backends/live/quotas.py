"""What target's authorities grant, held against what the plan says is needed, while there is time to ask for more.

Kubernetes: `status.hard` and `status.used` of each ResourceQuota of the namespace (API reference, ResourceQuota v1). Slurm: `scontrol show partition`,
`sacctmgr show assoc`.
AWS: Service Quotas' GetServiceQuota, else GetAWSDefaultServiceQuota where the account has no value of its own; what is in use there is not told by it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from backends.children import Children
from backends.errors import CouldNot, CutoverError
from backends.escape import plain
from backends.kubernetes.client import KubernetesClient, object_path
from backends.live.found import Found
from backends.plan.models import Plan
from backends.plan.quotas import AwsQuota, KubernetesQuota, Quota, SlurmQuota
from backends.slurm.partition import ask_slurm
from backends.ssh.place import Places
from backends.ssh.pool import SshPool

LIMIT = 30.0
_OF_ASSOCIATION = ("Account", "ParentName", "User", "GrpTRES", "MaxTRES", "MaxWall")
_QUANTITY = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)(?:[eE]([+-]?[0-9]{1,2})|(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?")
_SUFFIX = (
    {"m": 1e-3}
    | {s: 1e3 ** (i + 1) for i, s in enumerate("kMGTPE")}
    | {f"{s}i": 1024.0 ** (i + 1) for i, s in enumerate("KMGTPE")}
)
_SPAN = re.compile(r"(?:(\d{1,5})-)?(\d{1,4}):(\d\d):(\d\d)", re.ASCII)


class QuotaError(CouldNot):
    """What is granted could not be asked."""

    code = "quota_unknown"


async def try_quota(plan: Plan, index: int, pool: SshPool, children: Children, base: Path) -> list[Found]:
    """What one quota does not grant. Never raises for it."""
    spec = plan.quotas[index]
    try:
        async with asyncio.timeout(LIMIT):
            return list(await _ask(spec, index, pool, children, base))
    except TimeoutError:
        return [
            _of(
                spec,
                index,
                "quota_unknown",
                "cannot be asked",
                f"nobody answers within {LIMIT:.0f} s",
                "network, address, credentials",
            )
        ]
    except CutoverError as error:
        return [_of(spec, index, "quota_unknown", "cannot be asked", error.message, error.hint or "rights of who asks")]


async def _ask(spec: Quota, index: int, pool: SshPool, children: Children, base: Path) -> Iterator[Found]:
    if spec.kubernetes is not None:
        return judge_kubernetes(spec, index, await _resource_quotas(spec.kubernetes, base))
    if spec.slurm is not None:
        return await _ask_slurm(spec, spec.slurm, index, Places((spec.slurm.host,), pool, children, base))
    assert spec.aws is not None
    granted = await asyncio.to_thread(_service_quotas, spec.aws, tuple(spec.needs))
    return _judge(spec, index, granted, "the account is granted", "ask for more by Service Quotas: an increase takes days")


# Kubernetes


async def _resource_quotas(spec: KubernetesQuota, base: Path) -> list[Any]:
    client = KubernetesClient(spec.kubeconfig, spec.context, base)
    try:
        namespace = spec.namespace or await client.namespace()
        items = (await client.get(object_path("api/v1", "resourcequotas", namespace))).get("items")
    finally:
        await client.close()
    return items if isinstance(items, list) else []


def judge_kubernetes(spec: Quota, index: int, items: list[Any]) -> Iterator[Found]:
    """A namespace without a quota of a thing limits nothing of it."""
    for item in items:
        status, meta = _dict(_dict(item).get("status")), _dict(_dict(item).get("metadata"))
        hard, used = _dict(status.get("hard")), _dict(status.get("used"))
        name = plain(str(meta.get("name")), 80)
        for thing, need in spec.needs.items():
            most, taken = quantity(hard.get(thing)), quantity(used.get(thing))
            if most is None:
                continue
            if most < need:
                told = f"ResourceQuota {name} grants {most:g}, {need:g} are needed"
                yield _of(
                    spec, index, "quota", f"grants too little {plain(thing, 80)}", told, "ask who keeps the cluster for more"
                )
            elif taken is not None and most - taken < need:
                told = f"ResourceQuota {name} grants {most:g}, {taken:g} are in use, {need:g} are needed"
                cure = "ask for more, or see what uses it: kubectl describe quota"
                yield _of(spec, index, "quota_used", f"has too little {plain(thing, 80)} left", told, cure, is_error=False)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def quantity(value: object) -> float | None:
    """A quantity of Kubernetes: `16`, `500m`, `64Gi`, `1e3`."""
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    power = 10.0 ** int(found[2]) if found[2] else _SUFFIX.get(found[3] or "", 1.0)
    return float(found[1]) * power


# Slurm


async def _ask_slurm(spec: Quota, slurm: SlurmQuota, index: int, places: Places) -> Iterator[Found]:
    found = list(judge_partition(spec, index, await ask_slurm(places, ("scontrol", "-o", "show", "partition", slurm.partition))))
    if slurm.account is not None:
        argv = ("sacctmgr", "--noheader", "--parsable2", "show", "assoc", f"format={','.join(_OF_ASSOCIATION)}")
        found += judge_associations(spec, index, await ask_slurm(places, argv))
    return iter(found)


def judge_associations(spec: Quota, index: int, text: str) -> Iterator[Found]:
    """`text` is what `sacctmgr -nP show assoc` printed in `_OF_ASSOCIATION`. What binds an account binds those below it: the parents' own limits of groups
    count, each told by the account that it is of. sacctmgr: an empty limit is none."""
    assert spec.slurm is not None
    rows = [
        dict(zip(_OF_ASSOCIATION, line.strip().split("|"), strict=True))
        for line in text.splitlines()
        if line.count("|") == len(_OF_ASSOCIATION) - 1
    ]
    accounts = {row["Account"]: row for row in reversed(rows) if not row["User"]}
    if spec.slurm.account not in accounts:
        told = f"sacctmgr shows no account {spec.slurm.account}"
        yield _of(spec, index, "quota", "is of an account that is not there", told, "sacctmgr add account, or the account's name")
        return
    bound = [row for row in rows if row["User"] and (row["User"], row["Account"]) == (spec.slurm.user, spec.slurm.account)]
    if spec.slurm.user is not None and not bound:
        told = f"sacctmgr shows no user {spec.slurm.user} in account {spec.slurm.account}"
        yield _of(spec, index, "quota", "is of a user who may not submit there", told, "sacctmgr add user, with the account")
    name: str | None = spec.slurm.account
    while name in accounts and accounts[name] not in bound:  # a ring of parents would be an answer that is none
        bound.append(accounts[name])
        name = accounts[name]["ParentName"]
    for row in bound:
        granted: dict[str, float | None] = {"hours": _hours(row["MaxWall"])}
        for thing, tres in (("nodes", "node"), ("cpus", "cpu"), ("gpus", "gres/gpu")):
            limits = [most for column in ("GrpTRES", "MaxTRES") if (most := _limit(row[column], tres)) is not None]
            granted[thing] = min(limits, default=None)
        whose = f"user {plain(row['User'], 60)} in account" if row["User"] else "account"
        yield from _judge(
            spec,
            index,
            granted,
            f"{whose} {plain(row['Account'], 60)} is allowed",
            "ask who keeps the cluster for a higher limit",
        )


def _limit(text: str, name: str) -> float | None:
    """Of `cpu=64,gres/gpu=8`; None where it limits nothing of that name."""
    parts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    return float(parts[name]) if re.fullmatch(r"\d{1,9}", parts.get(name, ""), re.ASCII) else None


def judge_partition(spec: Quota, index: int, text: str) -> Iterator[Found]:
    """`text` is what `scontrol -o show partition` printed."""
    assert spec.slurm is not None
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    if words.get("PartitionName") != spec.slurm.partition:
        raise QuotaError(f"scontrol answered `{plain(text.strip(), 120)}`, which is no partition {spec.slurm.partition}")
    granted = {
        "nodes": _least(words, "MaxNodes", "TotalNodes"),
        "cpus": _least(words, "TotalCPUs"),
        "gpus": _tres(words.get("TRES", ""), "gres/gpu"),
        "hours": _hours(words.get("MaxTime", "")),
    }
    yield from _judge(
        spec, index, granted, f"partition {spec.slurm.partition} gives", "ask who keeps the cluster, or name another partition"
    )
    if words.get("State") not in (None, "UP"):
        told = f"partition {spec.slurm.partition} is {plain(words['State'], 40)}"
        yield _of(
            spec,
            index,
            "quota_closed",
            "is of a partition that starts nothing now",
            told,
            "scontrol update: State=UP, when it is time",
            is_error=False,
        )


def _least(words: Mapping[str, str], *names: str) -> float | None:
    known = [float(text) for name in names if re.fullmatch(r"\d{1,9}", text := words.get(name, ""), re.ASCII)]
    return min(known) if known else None


def _tres(text: str, name: str) -> float | None:
    """Of `cpu=64,mem=…,gres/gpu=8`; 0 where the partition tells of its resources and this is none of them."""
    parts = dict(part.split("=", 1) for part in text.split(",") if "=" in part)
    if not parts:
        return None
    return float(parts[name]) if re.fullmatch(r"\d{1,9}", parts.get(name, ""), re.ASCII) else 0.0


def _hours(text: str) -> float | None:
    found = _SPAN.fullmatch(text)
    return int(found[1] or 0) * 24 + int(found[2]) + int(found[3]) / 60 if found is not None else None


# AWS


def _service_quotas(spec: AwsQuota, codes: tuple[str, ...]) -> dict[str, float | None]:
    """Blocking: botocore takes about a second to begin."""
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    config = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 2, "mode": "standard"})
    out: dict[str, float | None] = {}
    try:
        session = botocore.session.Session(profile=spec.profile)
        client = session.create_client("service-quotas", region_name=spec.region, endpoint_url=spec.endpoint, config=config)
        for code in codes:
            asked = {"ServiceCode": spec.service, "QuotaCode": code}
            try:
                told = client.get_service_quota(**asked)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "NoSuchResourceException":
                    raise
                told = client.get_aws_default_service_quota(**asked)
            value = told.get("Quota", {}).get("Value")
            out[code] = float(value) if isinstance(value, (int, float)) else None
    except NoCredentialsError as error:
        raise QuotaError("AWS: no credentials found", hint="log in with aws, or name a profile") from error
    except ClientError as error:
        told = error.response.get("Error", {})
        message = f"AWS says {plain(str(told.get('Code', '')), 60)}: {plain(str(told.get('Message', '')), 200)}"
        raise QuotaError(message, hint="it takes servicequotas:GetServiceQuota; the code and the region") from error
    except BotoCoreError as error:
        raise QuotaError(f"AWS: {plain(str(error), 200)}", hint="region, profile, endpoint, the network") from error
    return out


def _judge(spec: Quota, index: int, granted: Mapping[str, float | None], whose: str, cure: str) -> Iterator[Found]:
    for thing, need in spec.needs.items():
        most = granted.get(thing)
        if most is not None and most < need:
            yield _of(
                spec, index, "quota", f"grants too little: {plain(thing, 60)}", f"{whose} {most:g}, {need:g} are needed", cure
            )


def _of(spec: Quota, index: int, code: str, message: str, evidence: str, cure: str, *, is_error: bool = True) -> Found:
    return Found(
        "error" if is_error else "warning", code, f"quota {spec.name} {message}", evidence, cure, ("quotas", index), "target"
    )
