"""Objects of a Kubernetes API server, by its HTTP: read, listed, changed only as they were read.

A change is a JSON merge patch that carries `metadata.resourceVersion` and `metadata.uid`: the server refuses it (409) where somebody has
changed or replaced the object since it was read (Kubernetes API concepts, "Resource versions").
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from backends.escape import plain
from backends.kubernetes.errors import ApiDenied, KubernetesError, ObjectChanged, ObjectMissing
from backends.kubernetes.kubeconfig import Cluster, kubeconfig_path, load_cluster
from backends.sending import before_sending

TIMEOUT = 10.0
MAX_ANSWER = 16 << 20
TRIES = 5  # of a change that others get in the way of
_MERGE = "application/merge-patch+json"

Object = dict[str, Any]


def object_path(api: str, plural: str, namespace: str, name: str = "") -> str:
    """`/apis/apps/v1/namespaces/ml/deployments/chat`; without a name, of the list."""
    path = f"/{api}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{path}/{quote(name, safe='')}" if name else path


class KubernetesClient:
    """One context of a kubeconfig, read when it is first needed and again when its credentials are refused."""

    def __init__(self, kubeconfig: str | None, context: str | None, base: Path) -> None:
        self._path = kubeconfig_path(kubeconfig, base)
        self._context = context
        self._cluster: Cluster | None = None
        self._session: aiohttp.ClientSession | None = None

    async def namespace(self) -> str:
        """The context's own. Raises `KubernetesError`."""
        return (await self._open())[0].namespace

    async def context(self) -> str:
        """Its name. Raises `KubernetesError`."""
        return (await self._open())[0].context

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object:
        """One object or list. Raises `KubernetesError`."""
        try:
            return await self._ask("GET", path, params=params)
        except ApiDenied:
            await self.close()  # a token may have been renewed in the file
            return await self._ask("GET", path, params=params)

    async def change(self, path: str, decide: Callable[[Object], Object | None]) -> Object:
        """Read, decide, write what was decided if nothing has changed since; begin again where something has.

        `decide` gets the object and returns the patch, None where nothing is to be done; what it raises is raised. Raises `ObjectChanged`
        where others keep changing it.
        """
        for _ in range(TRIES):
            found = await self.get(path)
            patch = decide(found)
            if patch is None:
                return found
            meta = found.get("metadata")
            if not isinstance(meta, dict) or not isinstance(meta.get("resourceVersion"), str):
                raise KubernetesError(f"{path}: it has no resourceVersion, and is not changed without")
            known = {key: meta[key] for key in ("resourceVersion", "uid") if key in meta}
            try:
                return await self._ask("PATCH", path, body={**patch, "metadata": known})
            except ObjectChanged:
                continue
        raise ObjectChanged(
            f"{path}: others changed it {TRIES} times between our look and our write", hint="see who does, then again"
        )

    async def close(self) -> None:
        session, self._session, self._cluster = self._session, None, None
        if session is not None:
            await session.close()

    async def _open(self) -> tuple[Cluster, aiohttp.ClientSession]:
        if self._cluster is None:
            self._cluster = await asyncio.to_thread(load_cluster, self._path, self._context)
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self._cluster, self._session

    async def _ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Object | None = None
    ) -> Object:
        cluster, session = await self._open()
        headers = {"Accept": "application/json"}
        if cluster.token is not None:
            headers["Authorization"] = f"Bearer {cluster.token}"
        if body is not None:
            headers["Content-Type"] = _MERGE
        await before_sending()
        try:
            async with session.request(
                method,
                cluster.server + path,
                params=params,
                data=json.dumps(body) if body is not None else None,
                headers=headers,
                ssl=cluster.ssl if cluster.ssl is not None else True,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                allow_redirects=False,
            ) as answer:
                data = await _read_all(answer, path)
                return _object_of(answer.status, data, f"{method} {path}", cluster)
        except TimeoutError as error:
            raise KubernetesError(
                f"{plain(cluster.server, 120)} does not answer within {TIMEOUT:g} s ({method} {path})"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = plain(str(error), 200)
            raise KubernetesError(f"cannot ask {plain(cluster.server, 120)}: {reason}", where=str(self._path)) from error


async def _read_all(answer: aiohttp.ClientResponse, path: str) -> bytes:
    data = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MAX_ANSWER:
            raise KubernetesError(f"{path}: the answer is longer than {MAX_ANSWER} bytes")
    return bytes(data)


def _object_of(status: int, data: bytes, what: str, cluster: Cluster) -> Object:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if status in (200, 201) and isinstance(value, dict):
        return value
    said = value.get("message") if isinstance(value, dict) else None
    words = plain(said if isinstance(said, str) else data[:200], 300)
    text = f"{what} (context {plain(cluster.context, 80)}) answered {status}: {words}"
    if status == 404:
        raise ObjectMissing(text, hint="see the names in the plan: kubectl get them")
    if status == 409:
        raise ObjectChanged(text)
    if status in (401, 403):
        raise ApiDenied(text, hint="the token must be allowed to get and patch it, and to list pods; see docs/plan.md")
    raise KubernetesError(text)
