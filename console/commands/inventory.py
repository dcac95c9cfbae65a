"""`cutover inventory [USER@]HOST[:PORT]...|slurm|kubernetes`: what runs on legacy, as a draft of a plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.transfer_bar import run, with_ssh
from console.output import command_body, emit_json, json_option, say, tell

if TYPE_CHECKING:
    from backends.inventory.look import HostSeen
    from backends.inventory.seen import Legacy, Node
    from backends.ssh.models import SshHost, SshSettings


@click.command(
    "inventory",
    epilog="Example: cutover inventory ops@10.0.0.11 10.0.0.12 --provider gcp -o draft.yaml\n\nExit code: 0 all hosts were seen, 1 one was not.",
)
@click.argument("what", nargs=-1, required=True, metavar="[USER@]HOST[:PORT]...|slurm [LOGIN]|kubernetes")
@click.option("--name", default="draft", show_default=True, help="The migration's name in the draft.")
@click.option("--provider", help="Legacy's provider, where nothing there tells it.")
@click.option("--kubeconfig", metavar="FILE", help="Of kubernetes: default $KUBECONFIG, else ~/.kube/config.")
@click.option("--context", metavar="NAME", help="Of kubernetes: default the file's current one.")
@click.option("--namespace", metavar="NAME", help="Of kubernetes: this one only; default all.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the draft there; never over a file.")
@json_option
@with_ssh
@command_body
def command(
    what: tuple[str, ...],
    name: str,
    provider: str | None,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    output: Path | None,
    as_json: bool,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Look at legacy and write a draft of a plan: GPUs, drivers, frameworks, what works there, what it reads.

    Hosts are looked at over SSH, Slurm by its commands on the host LOGIN (default: here), Kubernetes by its API server. Nothing is changed
    there. Of environments only names are read out, and of what looks like a secret a hash. Each inferred field says from what.
    """
    from backends.inventory.draft import draft, work_names
    from backends.ssh.models import SshSettings

    if not re.fullmatch(r"[a-z0-9-]{1,40}", name):
        raise UsageError(f"not a migration's name: {plain(name, 60)}", where="--name", hint="1 to 40 of a-z, 0-9 and -")
    if output is not None and output.exists():
        raise UsageError("there is a file already", where=str(output), hint="another -o")
    is_of_kubernetes = what[0] == "kubernetes"
    if not is_of_kubernetes and (kubeconfig or context or namespace):
        raise UsageError("--kubeconfig, --context and --namespace are of `cutover inventory kubernetes`")
    settings = SshSettings().over(ssh_config, known_hosts)
    errors: list[tuple[str, str]] = []
    if is_of_kubernetes:
        legacy, hosts = _kubernetes(what[1:], kubeconfig, context, namespace)
    elif what[0] == "slurm":
        legacy, hosts = _slurm(what[1:], settings)
    else:
        legacy, hosts, errors = _of_hosts(what, settings)
    text = draft(legacy, name=name, provider=provider)
    if output is not None:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    if as_json:
        emit_json({"plan": text, "hosts": hosts, "workloads": work_names(legacy)})
    elif output is None:
        say(text.rstrip("\n"))
    for host, error in errors:
        tell(f"cutover: {plain(host)}: {plain(error)}")
    return 1 if errors else 0


def _of_hosts(words: tuple[str, ...], settings: SshSettings) -> tuple[Legacy, list[dict[str, Any]], list[tuple[str, str]]]:
    from backends.inventory.hosts import legacy_of_hosts
    from backends.inventory.look import look_at
    from backends.ssh.pool import SshPool

    chosen = _hosts(words)

    seen: list[HostSeen] = []

    async def look() -> None:
        async with SshPool(settings, chosen) as pool:
            seen.extend(await look_at(pool, chosen))

    run(look())
    return legacy_of_hosts(seen), [_object(one) for one in seen], [(one.host.name, one.error) for one in seen if one.error]


def _slurm(words: tuple[str, ...], settings: SshSettings) -> tuple[Legacy, list[dict[str, Any]]]:
    from backends.inventory.slurm import SlurmSeen, look_at_slurm
    from backends.inventory.slurm_work import legacy_of_slurm
    from backends.ssh.pool import SshPool

    if len(words) > 1:
        raise UsageError(f"one login host tells of all of Slurm, found {len(words)}", hint="cutover inventory slurm [USER@]HOST")
    chosen = _hosts(words)

    seen: list[SlurmSeen] = []

    async def look() -> None:
        async with SshPool(settings, chosen) as pool:
            seen.append(await look_at_slurm(pool, chosen[0] if chosen else None))

    run(look())
    legacy = legacy_of_slurm(seen[0])
    return legacy, [_node(node) for node in legacy.nodes]


def _kubernetes(
    words: tuple[str, ...], kubeconfig: str | None, context: str | None, namespace: str | None
) -> tuple[Legacy, list[dict[str, Any]]]:
    from backends.inventory.kubernetes import KubernetesSeen, look_at_kubernetes
    from backends.inventory.kubernetes_legacy import legacy_of_kubernetes
    from backends.kubernetes.client import KubernetesClient

    if words:
        raise UsageError(f"found {plain(words[0], 60)} after kubernetes", hint="--context NAME says which cluster")
    client = KubernetesClient(kubeconfig, context, Path.cwd())
    seen: list[tuple[KubernetesSeen, str]] = []

    async def look() -> None:
        try:
            seen.append((await look_at_kubernetes(client, namespace), await client.context()))
        finally:
            await client.close()

    run(look())
    legacy = legacy_of_kubernetes(*seen[0])
    return legacy, [_node(node) for node in legacy.nodes]


def _hosts(words: tuple[str, ...]) -> list[SshHost]:
    """Named so that a plan takes the names: by the alias or address, a port behind a dash."""
    from dataclasses import replace

    from backends.ssh.models import parse_destination

    out: list[SshHost] = []
    for word in dict.fromkeys(words):
        host = parse_destination(word, word)
        name = host.address if host.port is None else f"{host.address}-{host.port}"
        name = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")[:64]
        if any(name == other.name for other in out):
            raise UsageError(f"{plain(word, 100)} is named twice")
        out.append(replace(host, name=name))
    return out


def _node(node: Node) -> dict[str, Any]:
    """One that a cluster told of; `gpus` as the draft has them."""
    return {
        "name": node.name,
        "ok": True,
        "error": None,
        "address": node.address,
        "gpus": node.gpus.value if node.gpus is not None else None,
        "spot": node.spot is not None,
        "notes": list(node.notes),
    }


def _object(seen: HostSeen) -> dict[str, Any]:
    return {
        "name": seen.host.name,
        "ok": not seen.error,
        "error": seen.error or None,
        "driver": seen.view.driver if seen.view is not None else None,
        "gpus": [g.name for g in seen.view.gpus] if seen.view is not None else [],
        "processes": [
            {"pid": p.pid, "user": p.user, "program": p.program, "script": p.script, "job": p.job, "gpus": list(p.gpus),
             "memory": p.memory, "peak": p.peak, "hours": p.hours, "container": p.container, "ports": list(p.ports), "stores": list(p.stores), "environment": list(p.environment)}
            for p in seen.processes
        ],
        "containers": [
            {"id": c.id, "name": c.name, "pod": c.pod or None, "image": c.image, "digests": list(c.digests), "by": c.by,
             "packages": {p.name: p.version for p in c.packages}}
            for c in seen.running.containers
        ],
        "mounts": [{"path": m.path, "kind": m.kind, "size": m.size, "used": m.used} for m in seen.mounts],
    }  # fmt: skip
