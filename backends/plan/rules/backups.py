"""Backups: a kind that legacy's store can have, and a place that nothing else is copied into or out of."""

from __future__ import annotations

from backends.escape import plain
from backends.plan.backups import Backup
from backends.plan.document import Path
from backends.plan.models import Plan, Store
from backends.plan.problems import Findings
from backends.plan.rules.names import Names, refer
from backends.plan.rules.stores import tree_of


def check_backups(plan: Plan, names: Names, findings: Findings) -> None:
    seen: set[str] = set()
    for i, backup in enumerate(plan.backups):
        path: Path = ("backups", i)
        if backup.dataset in seen:
            message = f"found a second backup of `{plain(backup.dataset, 80)}`, expected one for each dataset"
            findings.error((*path, "dataset"), "two_backups", message, "leave one out")
        seen.add(backup.dataset)
        if backup.to is not None:
            refer((*path, "to"), backup.to, names.stores, "stores", findings)
        if backup.every is not None and backup.every <= 0:
            findings.error((*path, "every"), "value", "found no time between two backups, expected some", "every: 1d")
        _check_keep(path, backup, findings)
        _check_command(path, backup, findings)
        source = next((plan.stores.get(d.from_) for d in plan.datasets if d.name == backup.dataset), None)
        if source is not None:
            _check_place(path, backup, plan, source, findings)


def _check_keep(path: Path, backup: Backup, findings: Findings) -> None:
    if backup.keep is None:
        return
    if backup.kind != "snapshot":
        message = (
            f"found keep with kind: {backup.kind}, expected it only with kind: snapshot: Cutover removes what it copied itself"
        )
        findings.error((*path, "keep"), "keep_not_here", message, "leave it out")
    elif backup.keep < 1:
        findings.error(
            (*path, "keep"), "value", f"found {backup.keep}, expected at least 1: the newest good one stays", "keep: 3"
        )


def _check_command(path: Path, backup: Backup, findings: Findings) -> None:
    if backup.kind == "command" and backup.command is None:
        message = "found kind: command without a command, expected what makes the copy"
        findings.error(path, "no_command", message, 'command: [./snapshot, "{place}"]')
    elif backup.kind == "command" and not any("{place}" in word for word in backup.command or ()):
        message = "found no `{place}` in the command, expected it where the URL of the snapshot's folder belongs"
        findings.error((*path, "command"), "no_place", message, 'such as [./snapshot, "{place}"]')
    elif backup.kind != "command" and backup.command is not None:
        message = f"found a command with kind: {backup.kind}, expected it only with kind: command"
        findings.error((*path, "command"), "command_not_here", message, "leave it out")


def _check_place(path: Path, backup: Backup, plan: Plan, store: Store, findings: Findings) -> None:
    scheme = store.url.partition("://")[0]
    if backup.kind == "versioned" and scheme == "s3":
        if backup.to is not None:
            message = "found `to` with versions, expected it only with snapshots: versions stay in their own bucket"
            findings.error((*path, "to"), "place_not_here", message, "leave it out")
        return
    if backup.kind == "versioned" and scheme in ("gs", "az"):
        message = f"found kind: versioned with {scheme}://, expected a bucket of S3"
        findings.error((*path, "kind"), "no_versions", message, "kind: snapshot, with `to`")
        return
    if backup.kind == "versioned":
        message = "found kind: versioned of a tree of files, which keeps no versions: snapshots of it are taken"
        findings.warning((*path, "kind"), "no_versions", message, "kind: snapshot, with `to`")
    elif backup.to is None:
        _check_beside(path, store, findings)
    if backup.to is None:
        return
    place = tree_of(plan, backup.to)
    for dataset in plan.datasets if place is not None else ():
        for name in (dataset.from_, dataset.hub, dataset.to):
            tree = tree_of(plan, name) if name is not None else None
            if place is not None and tree is not None and place.overlaps(tree):
                message = f"the place of the backup overlaps `{plain(name or '', 80)}`, a store of `{dataset.name}`"
                findings.error((*path, "to"), "overlap", message, "give the backups a place of their own")
                return


def _check_beside(path: Path, store: Store, findings: Findings) -> None:
    if store.is_whole_bucket:
        message = "found no `to`, and the whole bucket is the dataset: there is no place beside it"
        findings.error(path, "no_place", message, "to: a store of the plan")
        return
    message = "found no `to`: snapshots lie beside legacy's tree, and are lost with its disk"
    findings.warning(path, "backup_beside", message, "to: a store elsewhere")
