from __future__ import annotations

import pytest

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
from backends.stores.s3_errors import BucketMissing, Unsupported, from_answer, retry_after
from backends.transfer.in_a_row import OF_THE_STORE


def said(status: int, code: str = "", message: str = "", **headers: str) -> StoreError:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode() if code else b""
    return from_answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body, store="corpus", what="PUT k")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "", StoreBusy),
        (503, "SlowDown", StoreBusy),
        (429, "", StoreBusy),
        (400, "RequestLimitExceeded", StoreBusy),
        (403, "", StoreDenied),
        (403, "AccessDenied", StoreDenied),
        (403, "KMS.DisabledException", StoreDenied),
        (401, "", KeysRefused),
        (400, "ExpiredToken", KeysRefused),
        (403, "SignatureDoesNotMatch", KeysRefused),
        (404, "", ObjectMissing),
        (404, "NoSuchKey", ObjectMissing),
        (404, "NoSuchBucket", BucketMissing),
        (404, "NoSuchUpload", UploadGone),
        (400, "InvalidPart", UploadGone),
        (412, "PreconditionFailed", SourceChanged),
        (416, "InvalidRange", SourceChanged),
        (400, "BadDigest", ChecksumRefused),
        (400, "XAmzContentChecksumMismatch", ChecksumRefused),
        (400, "KeyTooLongError", KeyRefused),
        (507, "", StoreFull),
        (400, "QuotaExceeded", StoreFull),
        (500, "InternalError", StoreUnreachable),
        (502, "", StoreUnreachable),
        (400, "RequestTimeout", StoreUnreachable),
        (501, "NotImplemented", Unsupported),
        (400, "InvalidRequest", StoreError),
        (403, "InvalidObjectState", StoreError),
        (301, "PermanentRedirect", StoreError),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(status: int, code: str, kind: type[StoreError]) -> None:
    assert type(said(status, code)) is kind


def test_an_archived_object_is_its_own_failure_and_not_the_stores() -> None:
    error = said(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
    assert not isinstance(error, OF_THE_STORE), "many of them in a row end no round"
    assert "restore it first" in error.hint


def test_a_wrong_region_names_the_right_one() -> None:
    assert "eu-north-1" in said(301, "PermanentRedirect", x_amz_bucket_region="eu-north-1").hint


def test_what_a_server_says_is_shown_without_its_escapes() -> None:
    message = said(400, "InvalidRequest", "a\x07b&#27;[31m\nred \u202e").message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0", 0.1), ("99999", 300.0), ("", 1.0), ("soon", 1.0), ("Mon, 23 Nov 2026 19:00:05 GMT", 5.0)],
)
def test_retry_after_is_read_in_both_forms_and_bounded(value: str, seconds: float) -> None:
    headers = {"retry-after": value, "date": "Mon, 23 Nov 2026 19:00:00 GMT"}
    assert retry_after(headers) == seconds
    busy = said(503, "SlowDown", retry_after="7")
    assert isinstance(busy, StoreBusy)
    assert busy.retry_after == 7.0
