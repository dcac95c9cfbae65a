"""The settings of a bucket: versions, lifecycle rules, encryption. By aioboto3, which speaks them whole.

aioboto3 takes a second to import and another to make a client, and stalls the event loop meanwhile (up to 100 ms at a time), so each
question runs in a thread with a loop of its own and ends with its client. For what is asked once a run, never for objects.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from backends.errors import UsageError
from backends.escape import plain
from backends.stores.errors import StoreDenied, StoreError, StoreUnreachable
from backends.stores.s3_bucket import Bucket, shown
from backends.stores.s3_errors import BucketMissing, Unsupported
from backends.stores.sigv4 import Credentials

T = TypeVar("T")

_SECONDS = 60.0
_RULE = "cutover-expiry-"
_NONE = {"NoSuchLifecycleConfiguration", "ServerSideEncryptionConfigurationNotFoundError"}
_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "XNotImplemented", "MalformedXML"}


class BucketControl:
    """Of one bucket. Raises `StoreDenied`, `Unsupported`, `BucketMissing`, `StoreUnreachable`, else `StoreError`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def versioning(self) -> str:
        """`Enabled`, `Suspended`, or "" where the bucket never had versions."""
        return await self._run("versioning", lambda s3: _versioning(s3, self._bucket.bucket))

    async def lifecycle(self) -> list[dict[str, Any]]:
        """The rules, as S3 has them."""

        async def ask(s3: Any) -> list[dict[str, Any]]:
            return list((await _lifecycle(s3, self._bucket.bucket)).get("Rules", []))

        return await self._run("lifecycle rules", ask)

    async def upload_expiry_days(self, prefix: str) -> int | None:
        """After how many days the bucket ends uploads in parts that were begun below `prefix` (of the bucket) and not completed;
        None where it never does."""
        days = [
            int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
            for rule in await self.lifecycle()
            if rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule and _covers(rule, prefix)
        ]
        return min(days, default=None)

    async def encryption(self) -> str | None:
        """The algorithm by which objects are encrypted by default (`AES256`, `aws:kms`); None where by none."""

        async def ask(s3: Any) -> str | None:
            try:
                told = await s3.get_bucket_encryption(Bucket=self._bucket.bucket)
            except s3.exceptions.ClientError as error:
                if _code(error) in _NONE:
                    return None
                raise
            rules = told.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
            found = [r.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm") for r in rules]
            return next((str(name) for name in found if name), None)

        return await self._run("default encryption", ask)

    async def set_expiry(self, prefix: str, days: int) -> None:
        """Objects below `prefix` (of the bucket) end `days` after they were written, their old versions and uploads that were not
        completed too. One rule of ours a prefix; all others stay as they are, and nothing is written where it stands already."""
        if days < 1 or not prefix:
            raise UsageError(
                f"expiry of {shown(prefix) or 'a whole bucket'} after {days} days", hint="a prefix and 1 or more days"
            )

        async def put(s3: Any) -> None:
            told = await _lifecycle(s3, self._bucket.bucket)
            rules = list(told.get("Rules", []))
            rule = _rule(prefix, days, has_versions=bool(await _versioning(s3, self._bucket.bucket)))
            if any(_is_same(found, rule) for found in rules):
                return
            kept = [found for found in rules if found.get("ID") != rule["ID"]]
            beside = {k: told[k] for k in ("TransitionDefaultMinimumObjectSize",) if k in told}
            await s3.put_bucket_lifecycle_configuration(
                Bucket=self._bucket.bucket, LifecycleConfiguration={"Rules": [*kept, rule]}, **beside
            )
            ids = {found.get("ID") for found in (await _lifecycle(s3, self._bucket.bucket)).get("Rules", [])}
            if not {rule["ID"], *(found.get("ID") for found in kept)} <= ids:
                raise StoreError(f"{self._bucket.name}: the bucket does not show the lifecycle rules that were just put")

        await self._run("an expiry rule", put)

    async def _run(self, what: str, ask: Callable[[Any], Awaitable[T]]) -> T:
        credentials = await self._bucket.credentials.get()
        try:
            async with asyncio.timeout(_SECONDS + 5):
                return await asyncio.to_thread(lambda: asyncio.run(self._ask(what, ask, credentials)))
        except TimeoutError as error:
            raise StoreUnreachable(f"{self._bucket.name}: {what} of the bucket: no answer in time") from error

    async def _ask(self, what: str, ask: Callable[[Any], Awaitable[T]], credentials: Credentials) -> T:
        """In the thread."""
        import aioboto3
        from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
        from botocore.exceptions import BotoCoreError, ClientError

        bucket = self._bucket
        config = AioConfig(
            connect_timeout=10,
            read_timeout=20,
            retries={"total_max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path" if bucket.by_path else "virtual"},
            proxies={} if bucket.address.is_loopback else None,
        )
        session = aioboto3.Session(
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token,
            region_name=bucket.region,
        )
        try:
            async with asyncio.timeout(_SECONDS), session.client("s3", endpoint_url=bucket.endpoint, config=config) as s3:
                return await ask(s3)
        except ClientError as error:
            raise self._error(what, error) from error
        except BotoCoreError as error:
            raise StoreUnreachable(f"{bucket.name}: {what} of the bucket: {plain(str(error), 200)}") from error

    def _error(self, what: str, error: Any) -> StoreError:
        code, message = _code(error), plain(str(error.response.get("Error", {}).get("Message", "")), 200)
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        text = f"{self._bucket.name}: {what} of the bucket: {plain(code, 80)}: {message}"
        if code in ("NoSuchBucket", "404"):
            return BucketMissing(text, hint="make the bucket, or look at url and endpoint of the store")
        if code in _UNKNOWN or status in (405, 501):
            return Unsupported(text)
        if status in (401, 403):
            return StoreDenied(text, hint="look at the store's credentials and rights")
        return StoreUnreachable(text) if status >= 500 else StoreError(text)


async def _versioning(s3: Any, bucket: str) -> str:
    return str((await s3.get_bucket_versioning(Bucket=bucket)).get("Status", ""))


async def _lifecycle(s3: Any, bucket: str) -> dict[str, Any]:
    try:
        return dict(await s3.get_bucket_lifecycle_configuration(Bucket=bucket))
    except s3.exceptions.ClientError as error:
        if _code(error) in _NONE:
            return {}
        raise


def _rule(prefix: str, days: int, *, has_versions: bool) -> dict[str, Any]:
    name = hashlib.sha256(prefix.encode("utf-8")).hexdigest()[:16]
    rule: dict[str, Any] = {
        "ID": f"{_RULE}{name}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Expiration": {"Days": days},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }
    if has_versions:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": 1}
    return rule


def _is_same(found: dict[str, Any], rule: dict[str, Any]) -> bool:
    return all(found.get(field) == rule[field] for field in ("ID", "Status", "Expiration")) and _prefix_of(found) == _prefix_of(
        rule
    )


def _prefix_of(rule: dict[str, Any]) -> str | None:
    """None where the rule is bound to more than a prefix (tags, sizes)."""
    if "Filter" not in rule:
        return str(rule.get("Prefix", ""))
    by = rule["Filter"]
    return str(by.get("Prefix", "")) if set(by) <= {"Prefix"} else None


def _covers(rule: dict[str, Any], prefix: str) -> bool:
    bound = _prefix_of(rule)
    return bound is not None and prefix.startswith(bound)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
