"""S3's errors made ours, in one place, and those of the HTTP client.

Sources: Amazon S3 API Reference, "Error responses"; what SeaweedFS, MinIO and R2 answer instead. The code in the body decides
before the status: `ExpiredToken` comes with 400, and an answer of status 200 can carry an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from pyreqwest import exceptions as http

from backends.escape import plain
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    ObjectMissing,
    ShortBody,
    SourceChanged,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
    UploadGone,
)
from backends.stores.s3_xml import ErrorBody, parse_error

_BUSY = {
    "SlowDown",
    "ServiceUnavailable",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "OperationAborted",
    "ConditionalRequestConflict",
}
_DENIED = {
    "AccessDenied": "the store's rights lack this action",
    "AllAccessDisabled": "the provider has closed this account or bucket",
    "AccountProblem": "the provider has closed this account",
    "ExpiredToken": "the session's credentials have ended: get new ones",
    "InvalidAccessKeyId": "the server does not know this access key: look at access_key and endpoint",
    "InvalidToken": "session_token does not belong to this access key",
    "RequestTimeTooSkewed": "this machine's clock is off: set it",
    "SignatureDoesNotMatch": "secret_key does not belong to this access key",
}
_ENDED = {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"}
_CHECKSUM = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
_UPLOAD = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "EntityTooLarge"}
_REGION = {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_AGAIN = {"InternalError", "RequestTimeout", "IncompleteBody"}


class BucketMissing(StoreError):
    """The bucket itself is not there."""

    code = "bucket_missing"


class Unsupported(StoreError):
    """The server does not know what was asked: `NotImplemented`, or a header that it refuses."""

    code = "store_unsupported"


def from_answer(status: int, headers: Mapping[str, str], body: bytes, *, store: str, what: str) -> StoreError:
    """The error that an answer means. `what` is the action with its object, already escaped."""
    found = parse_error(body.strip()) or ErrorBody("", "")
    code, message = found.code, plain(found.message, 300)
    said = f"{plain(code, 80)}: {message}" if code and message else plain(code, 80) or f"status {status}"
    text = f"{store}: {what}: {said}"
    if code in _BUSY or (status in (429, 503) and code not in _DENIED):
        return StoreBusy(store, retry_after(headers))
    if code in _REGION or 300 <= status < 400:
        return StoreError(text, hint=_region_hint(headers))
    if code in _UPLOAD:
        return UploadGone(text, hint="begin the upload anew")
    if code in _CHECKSUM:
        return ChecksumRefused(text, hint="the bytes were damaged on the way: send them again")
    if code in _FULL or status == 507:
        return StoreFull(text, hint="make room or raise the quota")
    if code == "NoSuchBucket":
        return BucketMissing(text, hint="make the bucket, or look at url and endpoint of the store")
    if code == "KeyTooLongError":
        return KeyRefused(text, hint="S3 keys hold 1,024 bytes")
    if code == "NotImplemented" or status == 501:
        return Unsupported(text)
    return _by_status(status, code, text)


def may_have_ended(status: int, body: bytes) -> bool:
    """Does this refusal mean that the keys hold no longer? One to a HEAD does not say why: it may."""
    if status not in (400, 401, 403):
        return False
    found = parse_error(body.strip())
    return found is None or found.code in _ENDED if body else True


def _by_status(status: int, code: str, text: str) -> StoreError:
    if code in _DENIED or status in (401, 403):
        return StoreDenied(text, hint=_DENIED.get(code, "look at the store's credentials and rights"))
    if status == 404:
        return ObjectMissing(text)
    if status == 412:
        return SourceChanged(text, hint="it is read anew in the next round")
    if status == 416:
        return SourceChanged(text, hint="it has become shorter; it is read anew in the next round")
    if code in _AGAIN or status >= 500:
        return StoreUnreachable(text)
    return StoreError(text)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds from `Retry-After` (a number or a date), between 0.1 and 300; 1 where there is none."""
    value = headers.get("retry-after", "").strip()
    try:
        return min(max(float(value), 0.1), 300.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("date", ""))
        return min(max((moment - now).total_seconds(), 0.1), 300.0)
    except (ValueError, TypeError):
        return 1.0


def _region_hint(headers: Mapping[str, str]) -> str:
    region = headers.get("x-amz-bucket-region")
    return f"the bucket is in region {plain(region, 40)}: set region" if region else "look at region and endpoint of the store"


def from_http(error: http.PyreqwestError, *, store: str, what: str, reading: bool) -> StoreError:
    """What the HTTP client could not do. A body that broke off while reading is `ShortBody`."""
    if isinstance(error, http.RequestTimeoutError):  # also where it waited for an answer it says that it connected
        return StoreUnreachable(f"{store}: {what}: no answer in time", hint="look at endpoint and network")
    if isinstance(error, http.ConnectError):
        return StoreUnreachable(f"{store}: {what}: no connection: {_cause(error)}", hint="look at endpoint and network")
    if isinstance(error, http.BuilderError):
        return StoreError(f"{store}: {what}: cannot be asked: {_cause(error)}")
    if reading and isinstance(error, http.ReadError | http.BodyDecodeError):
        return ShortBody(f"{store}: {what}: the answer broke off: {_cause(error)}")
    return StoreUnreachable(f"{store}: {what}: {_cause(error)}")


def _cause(error: http.PyreqwestError) -> str:
    """The innermost cause: the outer ones repeat the address, which may hold a signed query."""
    details = getattr(error, "details", None)
    causes = details.get("causes") if isinstance(details, dict) else None
    return plain(causes[-1]["message"], 200) if causes else type(error).__name__
