"""Against the worked examples of the S3 API Reference, and against botocore's signer as an independent computation."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.sigv4 import UNSIGNED, Credentials, Scope, canonical_query, encode_path, sign

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AT = datetime(2013, 5, 24, tzinfo=UTC)
EMPTY = hashlib.sha256(b"").hexdigest()
HOST = "examplebucket.s3.amazonaws.com"

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def signature(method: str, path: str, query: str, headers: dict[str, str], payload: str) -> str:
    signed = sign(
        method,
        path,
        query,
        {"host": HOST, **headers},
        credentials=EXAMPLE,
        scope=Scope("us-east-1"),
        at=AT,
        payload=payload,
    )
    return signed["authorization"].rpartition("Signature=")[2]


def test_the_reference_get_of_a_range_is_signed_as_printed() -> None:
    found = signature("GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY)
    assert found == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"


def test_the_reference_put_is_signed_as_printed() -> None:
    headers = {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"}
    payload = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    found = signature("PUT", encode_path("/test$file.text"), "", headers, payload)
    assert found == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ([("lifecycle", "")], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ([("prefix", "J"), ("max-keys", "2")], "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_the_reference_queries_are_signed_as_printed(params: list[tuple[str, str]], expected: str) -> None:
    assert signature("GET", "/", canonical_query(params), {}, EMPTY) == expected


def botocore_headers(method: str, url: str, headers: dict[str, str], token: str | None) -> str:
    request = AWSRequest(method=method, url=url, headers=headers)
    request.context["timestamp"] = "20130524T000000Z"
    request.context["payload_signing_enabled"] = False
    credentials = BotoCredentials(EXAMPLE.access_key, EXAMPLE.secret_key, token)
    auth = _At(credentials, "s3", "eu-west-1")
    auth.add_auth(request)
    return str(request.headers["Authorization"])


class _At(S3SigV4Auth):  # type: ignore[misc]
    """botocore's signer at a given moment, leaving the body unsigned."""

    def add_auth(self, request: AWSRequest) -> None:
        self._modify_request_before_signing(request)
        canonical = self.canonical_request(request)
        self._inject_signature_to_request(request, self.signature(self.string_to_sign(request, canonical), request))

    def payload(self, request: AWSRequest) -> str:
        return UNSIGNED

    def _set_necessary_date_headers(self, request: AWSRequest) -> None:
        request.headers["X-Amz-Date"] = "20130524T000000Z"


@given(
    keys,
    st.dictionaries(keys, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=4),
    st.dictionaries(st.sampled_from(["x-amz-meta-a", "range", "content-type"]), st.text("ab  z", min_size=1), max_size=3),
    st.sampled_from([None, "token/with+odd="]),
)
def test_botocore_computes_the_same_for_any_key_and_query(
    key: str, query: dict[str, str], headers: dict[str, str], token: str | None
) -> None:
    path = "/" + encode_path(key)
    text = canonical_query(query.items())
    url = f"https://{HOST}{path}{'?' + text if text else ''}"
    credentials = Credentials(EXAMPLE.access_key, EXAMPLE.secret_key, token)
    ours = sign(
        "PUT", path, text, {"host": HOST, **headers}, credentials=credentials, scope=Scope("eu-west-1"), at=AT, payload=UNSIGNED
    )
    theirs = botocore_headers("PUT", url, headers, token)
    assert ours["authorization"].rpartition("Signature=")[2] == theirs.rpartition("Signature=")[2]


@given(keys)
def test_a_path_loses_nothing_of_a_key(key: str) -> None:
    path = encode_path(key)
    assert path.isascii()
    assert unquote_to_bytes(path).decode() == key
    assert path.count("/") == key.count("/")


@pytest.mark.parametrize("key", ["a//b", "a/./b", "../x", "a b", "a+b", "%2F", "~", "a\nb", "😀" * 256, "é", "e\u0301"])
def test_odd_keys_have_paths_of_their_own(key: str) -> None:
    assert unquote_to_bytes(encode_path(key)) == key.encode()


def test_a_secret_is_in_no_repr() -> None:
    shown = repr(Credentials("AKIAIOSFODNN7EXAMPLE", "very-secret", "token-secret"))
    assert "secret" not in shown
    assert "AKIA" not in shown
