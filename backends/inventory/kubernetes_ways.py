"""How clients come to pods: Services that select them, Ingresses and HTTPRoutes that lead to these, and the names that people use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backends.inventory.kubernetes import KubernetesSeen
from backends.inventory.untyped import labels, part, parts, text, texts, whole

_EXTERNAL_DNS = "external-dns.alpha.kubernetes.io/hostname"


class Ways:
    """Looked up by namespace: objects lead to what is in their own."""

    def __init__(self, seen: KubernetesSeen) -> None:
        self._services = seen.lists.get("services", [])
        self._names: dict[tuple[str, str], list[str]] = {}  # (namespace, service): how it is led to
        self.entries = tuple(dict.fromkeys((*self._ingresses(seen), *self._routes(seen), *self._balanced())))

    def services(self, namespace: str, own: Mapping[str, str]) -> list[str]:
        """In words, those that select pods with these labels, and what leads to them."""
        out = []
        for found in self._services:
            selector = labels(found, "spec", "selector")
            if text(found, "metadata", "namespace") != namespace or not selector or not selector.items() <= own.items():
                continue
            name = text(found, "metadata", "name")
            ports = ", ".join(str(number) for port in parts(found, "spec", "ports") if (number := whole(port, "port")))
            ways = "".join(f"; {way}" for way in self._names.get((namespace, name), ()))
            out.append(
                f"Service {namespace}/{name} ({text(found, 'spec', 'type') or 'ClusterIP'}, port {ports or 'unknown'}){ways}"
            )
        return out

    def _ingresses(self, seen: KubernetesSeen) -> Iterator[str]:
        for found in seen.lists.get("ingresses", ()):
            namespace, name = text(found, "metadata", "namespace"), text(found, "metadata", "name")
            default = text(found, "spec", "defaultBackend", "service", "name")
            led = [("any host", default)] if default else []
            for rule in parts(found, "spec", "rules"):
                for path in parts(rule, "http", "paths"):
                    where = f"{text(rule, 'host') or 'any host'}{text(path, 'path')}"
                    led.append((where, text(path, "backend", "service", "name")))
            yield from self._lead(f"Ingress {namespace}/{name}", namespace, led)

    def _routes(self, seen: KubernetesSeen) -> Iterator[str]:
        for found in seen.lists.get("httproutes", ()):
            namespace, name = text(found, "metadata", "namespace"), text(found, "metadata", "name")
            hosts = ", ".join(texts(found, "spec", "hostnames")) or "any host"
            gateways = ", ".join(text(one, "name") for one in parts(found, "spec", "parentRefs"))
            led = [(hosts, text(one, "name")) for rule in parts(found, "spec", "rules") for one in parts(rule, "backendRefs")]
            yield from self._lead(f"HTTPRoute {namespace}/{name} of Gateway {gateways or 'unknown'}", namespace, led)

    def _lead(self, what: str, namespace: str, led: list[tuple[str, str]]) -> Iterator[str]:
        for where, service in dict.fromkeys(led):
            if service:
                self._names.setdefault((namespace, service), []).append(f"{what} ({where})")
                yield f"{what}: {where} to Service {namespace}/{service}"

    def _balanced(self) -> Iterator[str]:
        for found in self._services:
            namespace, name = text(found, "metadata", "namespace"), text(found, "metadata", "name")
            for one in parts(found, "status", "loadBalancer", "ingress"):
                if address := text(one, "hostname") or text(one, "ip"):
                    self._names.setdefault((namespace, name), []).append(f"load balancer {address}")
                    yield f"Service {namespace}/{name}: load balancer {address}"
            if own := text(found, "metadata", "annotations", _EXTERNAL_DNS):
                yield f"Service {namespace}/{name}: DNS name {own} (external-dns)"


def gateways_of(seen: KubernetesSeen) -> Iterator[str]:
    """Addresses and host names of Gateways, in words."""
    for found in seen.lists.get("gateways", ()):
        addresses: list[Any] = [text(one, "value") for one in parts(found, "status", "addresses")]
        hosts = [text(one, "hostname") for one in parts(found, "spec", "listeners") if text(one, "hostname")]
        told = ", ".join(filter(None, (*addresses, *dict.fromkeys(hosts))))
        yield f"Gateway {text(found, 'metadata', 'namespace')}/{text(found, 'metadata', 'name')}: {told or 'no address'}"


def claims_of(seen: KubernetesSeen, used: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """PersistentVolumeClaims that workloads use, by (namespace, name): size, class, and what the volume behind is."""
    volumes = {text(found, "metadata", "name"): found for found in seen.lists.get("persistentvolumes", ())}
    claims = {
        (text(f, "metadata", "namespace"), text(f, "metadata", "name")): f for f in seen.lists.get("persistentvolumeclaims", ())
    }
    for (namespace, name), by in used.items():
        found = claims.get((namespace, name), {})
        asked = part(found, "status", "capacity").get("storage") or part(found, "spec", "resources", "requests").get("storage")
        modes, kind = ", ".join(texts(found, "spec", "accessModes")), text(found, "spec", "storageClassName")
        told = [f"size {asked}" if isinstance(asked, str) else "size not told", modes, f"class {kind}" if kind else ""]
        told.append(_behind(volumes.get(text(found, "spec", "volumeName"), {})))
        yield f"PersistentVolumeClaim {namespace}/{name}: {', '.join(filter(None, told))}; of {by}"


def _behind(volume: dict[str, Any]) -> str:
    if server := text(volume, "spec", "nfs", "server"):
        return f"nfs {server}:{text(volume, 'spec', 'nfs', 'path')}"
    if driver := text(volume, "spec", "csi", "driver"):
        return f"{driver} {text(volume, 'spec', 'csi', 'volumeHandle')}"
    return text(volume, "spec", "hostPath", "path") or text(volume, "spec", "local", "path")
