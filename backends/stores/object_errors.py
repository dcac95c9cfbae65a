"""Errors of Google Cloud Storage and Azure Blob made ours, in one place.

Sources: Cloud Storage, "HTTP status and error codes for XML"; Azure Storage REST, "Common REST API error codes" and "Blob service
error codes". The code decides before the status: Azure tells a lease that is held with the 412 of a condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backends.escape import plain
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    KeysRefused,
    ObjectMissing,
    SourceChanged,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
    UploadGone,
)
from backends.stores.object_client import Answer
from backends.stores.s3_errors import BucketMissing, retry_after
from backends.stores.s3_xml import ErrorBody, parse_error


@dataclass(frozen=True, slots=True)
class Codes:
    """What a service's codes mean. `denied` and `refused` (the object's state forbids it) map a code to a hint; `rights` are those of `denied` that
    say that these credentials may not do this, and not that they are none."""

    busy: frozenset[str]
    denied: Mapping[str, str]
    damaged: frozenset[str]
    upload: frozenset[str]
    full: frozenset[str]
    bucket: frozenset[str]
    key: frozenset[str]
    changed: frozenset[str]
    refused: Mapping[str, str] = field(default_factory=dict)
    rights: frozenset[str] = frozenset()


GCS = Codes(
    busy=frozenset({"SlowDown", "ServiceUnavailable", "TooManyRequests", "RateLimitExceeded", "OperationAborted"}),
    denied={
        "AccessDenied": "the store's rights lack this action",
        "AuthenticationRequired": "the credentials have ended or are none: look at them",
        "ExpiredToken": "the credentials have ended: get new ones",
        "InvalidSecurity": "the credentials are not valid: look at them",
        "AccountProblem": "the provider has closed this account",
        "UserProjectMissing": "the bucket makes the requester pay, which Cutover does not",
    },
    damaged=frozenset({"BadDigest", "InvalidDigest", "XGoogContentSHA256Mismatch"}),
    upload=frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"}),
    full=frozenset({"EntityTooLarge", "QuotaExceeded", "StorageQuotaExceeded"}),
    bucket=frozenset({"NoSuchBucket"}),
    key=frozenset({"KeyTooLongError", "InvalidObjectName", "InvalidURI"}),
    changed=frozenset({"PreconditionFailed", "InvalidRange"}),
    refused={"ObjectUnderActiveHold": "release the object's hold", "RetentionPolicyNotMet": "the bucket retains its objects"},
    rights=frozenset({"AccessDenied"}),
)

AZURE = Codes(
    busy=frozenset({"ServerBusy"}),
    denied={
        "AuthenticationFailed": "the key, signature or token does not fit this account, or this machine's clock is off",
        "AuthorizationFailure": "the account's network rules or the credentials' rights forbid it",
        "AuthorizationPermissionMismatch": "the role Storage Blob Data Contributor is needed (Reader to read)",
        "AuthorizationProtocolMismatch": "the signature does not allow this protocol",
        "InsufficientAccountPermissions": "the store's rights lack this action",
        "InvalidAuthenticationInfo": "the credentials have ended or are none: look at them",
        "AccountIsDisabled": "the provider has closed this account",
        "KeyBasedAuthenticationNotPermitted": "the account takes no shared key: log in with az login, or give a SAS",
    },
    damaged=frozenset({"Md5Mismatch", "Crc64Mismatch", "InvalidMd5"}),
    upload=frozenset({"InvalidBlockList"}),
    full=frozenset({"RequestBodyTooLarge", "AccountCapacityExceeded", "BlobTooLarge"}),
    bucket=frozenset({"ContainerNotFound", "ContainerBeingDeleted"}),
    key=frozenset({"InvalidUri", "InvalidResourceName", "OutOfRangeInput", "InvalidBlobName"}),
    changed=frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", "InvalidRange"}),
    refused={
        "BlobArchived": "it is in the archive tier: rehydrate it",
        "BlobImmutableDueToPolicy": "a policy of the container forbids to change it",
        "InvalidBlobOrBlock": "another program has begun this blob in blocks of its own: they go after a week",
        "InvalidBlobType": "a page or append blob of this name stands in the way",
        "LeaseIdMissing": "somebody holds a lease on it: break the lease",
        "SnapshotsPresent": "it has snapshots",
        "EmptyMetadataKey": "its metadata has names that Azure does not take",
        "InvalidMetadata": "its metadata has names that Azure does not take",
    },
    rights=frozenset({"AuthorizationPermissionMismatch", "InsufficientAccountPermissions"}),
)


def gcs_error(answer: Answer, *, store: str, what: str) -> StoreError:
    """The error that an answer of Google Cloud Storage means. `what` is the action with its object, already escaped."""
    return _error(answer, store, what, GCS)


def azure_error(answer: Answer, *, store: str, what: str) -> StoreError:
    """The error that an answer of Azure Blob means."""
    return _error(answer, store, what, AZURE)


def _error(answer: Answer, store: str, what: str, codes: Codes) -> StoreError:
    found = parse_error(bytes(answer.body).removeprefix(b"\xef\xbb\xbf").strip()) or ErrorBody("", "")
    code = found.code or answer.headers.get("x-ms-error-code", "")  # HEAD has no body
    message = plain(found.message.partition("\n")[0], 300)
    said = f"{plain(code, 80)}: {message}" if code and message else plain(code, 80) or f"status {answer.status}"
    text = f"{store}: {what}: {said}"
    if code in codes.denied or answer.status == 401:
        kind = StoreDenied if code in codes.rights else KeysRefused
        return kind(text, hint=codes.denied.get(code, "look at the store's credentials"))
    if code in codes.busy or answer.status in (429, 503):
        return StoreBusy(store, retry_after(answer.headers))
    if code in codes.changed:
        return SourceChanged(text, hint="it is read anew in the next round")
    if code in codes.refused:
        return StoreError(text, hint=codes.refused[code])
    if code in codes.upload:
        return UploadGone(text, hint="begin the upload anew")
    if code in codes.damaged:
        return ChecksumRefused(text, hint="the bytes were damaged on the way: send them again")
    if code in codes.full or answer.status == 507:
        return StoreFull(text, hint="make room or raise the quota")
    if code in codes.bucket:
        return BucketMissing(text, hint="make the bucket or container, or look at url, account and endpoint of the store")
    if code in codes.key:
        return KeyRefused(text, hint="this store cannot hold the name")
    return _by_status(answer.status, text)


def _by_status(status: int, text: str) -> StoreError:
    if status == 403:
        return StoreDenied(text, hint="look at the store's credentials and rights")
    if status == 404:
        return ObjectMissing(text)
    if status in (412, 416):
        return SourceChanged(text, hint="it is read anew in the next round")
    if status in (408, 409) or status >= 500:
        return StoreUnreachable(text)
    return StoreError(text)
