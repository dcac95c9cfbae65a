"""Stores and datasets: URLs that can be, endpoints that are safe, and no tree copied onto itself."""

from __future__ import annotations

import ipaddress
import posixpath
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.models import Dataset, Lease, Plan, Store
from backends.plan.nearest import name_hint, nearest_name
from backends.plan.problems import Findings
from backends.plan.rules.names import Names

SCHEMES = ("s3", "gs", "az", "file", "ssh")
_OF_S3 = ("region", "profile", "path_style", "access_key")  # fields that mean nothing to the other clouds
_EXAMPLES = {
    "s3": "s3://bucket/prefix/",
    "gs": "gs://bucket/prefix/",
    "az": "az://account/container/prefix/",
    "file": "file:///srv/data/",
    "ssh": "ssh://host/srv/data/",
}


@dataclass(frozen=True, slots=True)
class Tree:
    """Where a store's objects are: two trees of one `home` overlap when one prefix begins the other."""

    home: tuple[str, str, str]
    prefix: str

    def overlaps(self, other: Tree) -> bool:
        a, b = self.prefix, other.prefix
        return self.home == other.home and (a.startswith(b) or b.startswith(a))


def check_stores(plan: Plan, names: Names, findings: Findings) -> None:
    for name, store in plan.stores.items():
        _check_url(("stores", name, "url"), store.url, findings)
        if store.endpoint is not None:
            _check_endpoint(("stores", name, "endpoint"), store, findings)
        _check_cloud(name, store, findings)
    for i, dataset in enumerate(plan.datasets):
        _check_dataset(i, dataset, plan, findings)
    _check_overlaps(plan, findings)
    _check_unused(plan, names, findings)


def _check_url(path: Path, url: str, findings: Findings) -> None:
    parts = split_url(url)
    if parts is None or parts.scheme not in SCHEMES:
        scheme = parts.scheme if parts is not None else ""
        found = f"found `{plain(url, 80)}`, expected a URL of a store: {', '.join(s + '://' for s in SCHEMES)}"
        hint = name_hint(scheme, SCHEMES, "schemes") if scheme else f"such as {_EXAMPLES['s3']}"
        findings.error(path, "store_url", found, hint)
        return
    is_file = parts.scheme == "file"
    has_place = parts.path.startswith("/") if is_file else bool(parts.netloc)
    if parts.scheme == "ssh":
        has_place = bool(parts.hostname) and parts.path.startswith("/")
    if not has_place or (is_file and parts.netloc not in ("", "localhost")):
        example = _EXAMPLES[parts.scheme]
        findings.error(path, "store_url", f"found `{plain(url, 80)}`, expected the form {example}", f"such as {example}")
    if parts.query or parts.fragment:
        message = f"found `{plain(url, 80)}`, expected no `?` or `#` in a store's URL"
        findings.error(path, "store_url", message, "write them percent-encoded, as %3F and %23, where a name has them")


def split_url(url: str) -> SplitResult | None:
    """The URL's parts, None where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _check_endpoint(path: Path, store: Store, findings: Findings) -> None:
    endpoint = store.endpoint or ""
    if "${" in endpoint:
        return
    parts = split_url(endpoint)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        found = f"found `{plain(endpoint, 80)}`, expected a URL such as https://objects.example.net"
        findings.error(path, "endpoint", found, "http:// or https://, a host, and a port where it has its own")
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        message = f"found plain http to {plain(parts.hostname, 80)}: data and signatures cross the network in the clear"
        findings.warning(path, "plain_http", message, "use https")
    if not store.url.startswith(("s3://", "gs://", "az://")):
        findings.error(path, "endpoint", "found an endpoint, expected one only with s3://, gs:// and az://", "leave it out")


def _check_cloud(name: str, store: Store, findings: Findings) -> None:
    """What only one cloud knows, and what the form of an Azure URL lacks."""
    scheme = store.url.partition("://")[0]
    if store.account is not None and scheme != "az":
        findings.error(
            ("stores", name, "account"), "store_field", "found an account, expected one only with az://", "leave it out"
        )
    if scheme == "az" and store.account is None and not _below(store.url):
        found = f"found `{plain(store.url, 80)}`, which names no container"
        findings.error(("stores", name, "url"), "store_url", found, f"the form is {_EXAMPLES['az']}, or give `account`")
    if scheme not in ("gs", "az"):
        return
    for field in _OF_S3:
        if getattr(store, field) is not None:
            message = f"found `{field}`, expected it only with s3://"
            findings.error(("stores", name, field), "store_field", message, "give secret_key or session_token, or leave it out")
    if store.secret_key is not None and store.session_token is not None:
        message = "found session_token beside secret_key, expected one of them"
        findings.error(("stores", name, "session_token"), "store_field", message, "leave one out")


def _below(url: str) -> str:
    """What follows the first name of a URL."""
    return url.partition("://")[2].partition("/")[2].strip("/")


def _check_dataset(i: int, dataset: Dataset, plan: Plan, findings: Findings) -> None:
    path: Path = ("datasets", i)
    if dataset.from_ == dataset.to:
        message = f"found `{plain(dataset.to, 80)}` as `from` and as `to`: the dataset would be copied onto itself"
        findings.error((*path, "to"), "copied_onto_itself", message, "name target's own store")
    else:
        source, goal = tree_of(plan, dataset.from_), tree_of(plan, dataset.to)
        if source and goal and source.overlaps(goal):
            message = f"the stores `{dataset.from_}` and `{dataset.to}` overlap: the dataset would be copied onto itself"
            findings.error((*path, "to"), "copied_onto_itself", message, "give target a place of its own")
    _check_hub(path, dataset, plan, findings)
    if dataset.objects == 0 and dataset.size:
        findings.warning(
            (*path, "objects"),
            "estimate",
            "found a size and 0 objects, expected at least one object",
            "leave objects out: they are listed",
        )


def _check_hub(path: Path, dataset: Dataset, plan: Plan, findings: Findings) -> None:
    hub = dataset.hub
    if hub is None:
        if dataset.compress == "zstd":
            message = "found compress: zstd without a hub: objects are compressed on their way to a hub only"
            findings.warning((*path, "compress"), "compress_without_hub", message, "name a hub, or leave compress out")
        return
    if hub in (dataset.from_, dataset.to):
        message = f"found `{plain(hub, 80)}` as the hub and as one of its ends"
        findings.error((*path, "hub"), "copied_onto_itself", message, "name another store, or leave the hub out")
        return
    tree = tree_of(plan, hub)
    if tree is None:
        return
    ends = [(other, end) for other in plan.datasets for end in (other.from_, other.to)]
    for other, end in ends:
        theirs = tree_of(plan, end)
        if theirs is not None and tree.overlaps(theirs):
            message = f"the hub `{plain(hub, 80)}` overlaps `{plain(end, 80)}`, a store of `{other.name}`: it would be copied too"
            findings.error((*path, "hub"), "overlap", message, "give the hub a place of its own")
            return


def _check_overlaps(plan: Plan, findings: Findings) -> None:
    """Two datasets that write into one tree, or one that writes where another is read."""
    for i, dataset in enumerate(plan.datasets):
        goal = tree_of(plan, dataset.to)
        for other in plan.datasets[:i] if goal else ():
            theirs = tree_of(plan, other.to)
            if goal and theirs and goal.overlaps(theirs):
                message = f"the datasets `{other.name}` and `{dataset.name}` are copied into overlapping stores"
                findings.error(("datasets", i, "to"), "overlap", message, "give each a prefix of its own")
        for other in plan.datasets if goal else ():
            source = tree_of(plan, other.from_)
            if other is not dataset and goal and source and goal.overlaps(source):
                message = f"`{dataset.name}` is copied into the store that `{other.name}` is read from"
                findings.error(("datasets", i, "to"), "overlap", message, "give it a prefix of its own")


def tree_of(plan: Plan, store_name: str) -> Tree | None:
    """Where the store's objects are; None where its URL is none."""
    store = plan.stores.get(store_name)
    parts = split_url(store.url) if store is not None else None
    if store is None or parts is None or parts.scheme not in SCHEMES:
        return None
    if parts.scheme in ("file", "ssh"):
        # A tree's prefix is a folder: whole segments.
        folder = posixpath.normpath("/" + unquote(parts.path).lstrip("/")).rstrip("/") + "/"
        return Tree((parts.scheme, parts.netloc.rpartition("@")[2], ""), folder)
    endpoint = (store.endpoint or "").rstrip("/")
    if parts.scheme == "az" and store.account is not None:
        return Tree(("az", store.account, endpoint), f"{parts.netloc}/{parts.path.lstrip('/')}")
    return Tree((parts.scheme, parts.netloc, endpoint), parts.path.lstrip("/"))


def _check_unused(plan: Plan, names: Names, findings: Findings) -> None:
    named = {d.from_ for d in plan.datasets} | {d.to for d in plan.datasets} | {d.hub for d in plan.datasets}
    named |= {b.to for b in plan.backups}
    named |= {plan.lease.store} if isinstance(plan.lease, Lease) else set()
    # A name that is not known is told already, with the store that it may have meant: that one is not called unused too.
    used = named | {nearest_name(name, names.stores) for name in named if name is not None and name not in names.stores}
    for name in plan.stores:
        if name not in used and name in names.stores:
            message = f"the store `{plain(name, 80)}` is used by no dataset and no backup"
            findings.note(("stores", name), "unused_store", message, f"a dataset with from: {plain(name, 80)}, or leave it out")
