"""S3's errors made ours, in one place, and what comes of a request without an answer.

Sources: Amazon S3 API Reference, "Error responses"; what SeaweedFS, MinIO and R2 answer instead. The code in the body decides
before the status: `ExpiredToken` comes with 400, and an answer of status 200 can carry an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from backends.escape import plain
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    KeysRefused,
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
from backends.stores.http1 import BrokeOff, CannotBeSaid, HttpError, NoAnswerInTime, NoConnection, NotTrusted
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
_RIGHTS = {"AccessDenied"}  # of the credentials, and not the credentials themselves
_ENDED = {"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired"}
_CHECKSUM = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}
_UPLOAD = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}
_FULL = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "EntityTooLarge"}
_REGION = {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_REFUSED = {
    "InvalidObjectState": "it is in an archive tier: restore it first (`aws s3api restore-object`), or exclude it"
}  # the object's own
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
    if code in _REFUSED:
        return StoreError(text, hint=_REFUSED[code])
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
        kind = StoreDenied if code in _RIGHTS or (status == 403 and code not in _DENIED) else KeysRefused
        return kind(text, hint=_DENIED.get(code, "look at the store's credentials and rights"))
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
    from email.utils import parsedate_to_datetime  # with all of email: only for who is told a date

    try:
        moment = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("date", ""))
        return min(max((moment - now).total_seconds(), 0.1), 300.0)
    except (ValueError, TypeError):
        return 1.0


def _region_hint(headers: Mapping[str, str]) -> str:
    region = headers.get("x-amz-bucket-region")
    return f"the bucket is in region {plain(region, 40)}: set region" if region else "look at region and endpoint of the store"


def from_http(error: HttpError, *, store: str, what: str, reading: bool) -> StoreError:
    """What no answer came to. A body that broke off while reading is `ShortBody`."""
    if isinstance(error, NoAnswerInTime):
        return StoreUnreachable(f"{store}: {what}: {error.said}", hint="look at endpoint and network")
    if isinstance(error, NoConnection):
        return StoreUnreachable(f"{store}: {what}: no connection: {error.said}", hint="look at endpoint and network")
    if isinstance(error, NotTrusted):
        hint = "name the file of its authority in AWS_CA_BUNDLE or SSL_CERT_FILE"
        return StoreError(f"{store}: {what}: the server's certificate is not trusted: {error.said}", hint=hint)
    if isinstance(error, CannotBeSaid):
        return StoreError(f"{store}: {what}: cannot be asked, its metadata or key cannot be carried: {error.said}")
    if reading and isinstance(error, BrokeOff):
        return ShortBody(f"{store}: {what}: the answer broke off: {error.said}")
    return StoreUnreachable(f"{store}: {what}: {error.said}")
