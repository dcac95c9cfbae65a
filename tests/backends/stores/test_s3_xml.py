from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores import s3_xml
from backends.stores.base import PartInfo
from backends.stores.s3_xml import BadXml
from backends.stores.sigv4 import encode

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
URL = "<EncodingType>url</EncodingType>"
ENTRY = "<Contents><Key>{}</Key><LastModified>2026-11-23T19:28:51.835Z</LastModified><ETag>&quot;abc&quot;</ETag><Size>{}</Size></Contents>"


def page(
    *entries: str, count: int | None = None, truncated: str = "false", token: str = "", end: str = "</ListBucketResult>"
) -> bytes:
    told = f"<KeyCount>{len(entries) if count is None else count}</KeyCount>"
    token = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return f"{HEAD}{URL}{told}<IsTruncated>{truncated}</IsTruncated>{token}{''.join(entries)}{end}".encode()


def test_a_page_gives_its_objects() -> None:
    found = s3_xml.parse_list(page(ENTRY.format("a%0Ab", 7), ENTRY.format("c+d%2B", 0)))
    assert [(o.key, o.size, o.etag) for o in found.objects] == [("a\nb", 7, "abc"), ("c d+", 0, "abc")]
    assert found.token is None
    assert found.objects[0].mtime is not None
    assert found.objects[0].mtime.isoformat() == "2026-11-23T19:28:51.835000+00:00"


def test_a_page_that_goes_on_gives_its_token() -> None:
    assert s3_xml.parse_list(page(ENTRY.format("a", 1), truncated="true", token="t&amp;1")).token == "t&1"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=5))
def test_no_key_is_lost_or_changed(keys: list[str]) -> None:
    found = s3_xml.parse_list(page(*(ENTRY.format(encode(k, "/"), 1) for k in keys)))
    assert [o.key for o in found.objects] == keys


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (page(ENTRY.format("a", 1), end=""), "does not end"),
        (page(ENTRY.format("a", 1))[:-30], "does not end"),
        (page(ENTRY.format("a", 1), truncated="true"), "no token"),
        (page(ENTRY.format("a", 1), count=2), "says 2 keys and holds 1"),
        (page(ENTRY.format("a", 1), truncated=""), "whether it goes on"),
        (page("<Contents><Key>a</Key></Contents>"), "no key or no size"),
        (page("<Contents><Key>a</Key><Size>-1</Size></Contents>"), "no key or no size"),
        (page("<Contents><Key>a</Key><Size>1</Size>"), "broken"),
        (page(ENTRY.format("%FF", 1)), "not UTF-8"),
        (b"\xff", "not UTF-8"),
        (b"", "does not end"),
        (b"<html>proxy</html>", "does not end"),
    ],
)
def test_a_page_that_cannot_be_trusted_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BadXml, match=reason):
        s3_xml.parse_list(body)


@given(st.integers(0, 400))
def test_a_page_cut_anywhere_is_refused(cut: int) -> None:
    whole = page(ENTRY.format("a", 1), ENTRY.format("b", 2))
    with pytest.raises(BadXml):
        s3_xml.parse_list(whole[: min(cut, len(whole) - 1)])


@given(st.binary(max_size=200))
def test_error_bodies_of_any_kind_never_raise(body: bytes) -> None:
    assert s3_xml.parse_error(body) is None or b"<Error" in body


def test_error_bodies_tell_code_and_message() -> None:
    found = s3_xml.parse_error(b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>a &lt; b</Message></Error>")
    assert found == s3_xml.ErrorBody("SlowDown", "a < b")


def test_error_bodies_with_entities_of_their_own_are_not_read() -> None:
    body = b'<!DOCTYPE x [<!ENTITY a "boom">]><Error><Code>&a;</Code></Error>'
    assert s3_xml.parse_error(body) is None


def test_uploads_and_parts_come_with_their_markers() -> None:
    uploads = s3_xml.parse_uploads(
        f"<ListMultipartUploadsResult>{URL}<IsTruncated>true</IsTruncated><NextKeyMarker>b+c</NextKeyMarker>"
        "<NextUploadIdMarker>u2</NextUploadIdMarker><Upload><Key>b+c</Key><UploadId>u2</UploadId></Upload>"
        "</ListMultipartUploadsResult>".encode()
    )
    assert uploads == s3_xml.UploadPage([("b c", "u2")], "b c", "u2")
    parts = s3_xml.parse_parts(
        b"<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>"
        b'<Part><PartNumber>1</PartNumber><ETag>"e"</ETag><Size>5</Size><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME></Part>'
        b"</ListPartsResult>"
    )
    assert parts == s3_xml.PartPage([(PartInfo(1, "e", 5), "AAAAAAAAAAA=")], "1")


@pytest.mark.parametrize("parse", [s3_xml.parse_uploads, s3_xml.parse_parts, s3_xml.parse_upload_id, s3_xml.parse_complete])
@pytest.mark.parametrize("body", [b"", b"<Error/>", b"<ListPartsResult><Part></ListPartsResult>", b"\xff"])
def test_other_answers_that_are_not_whole_are_refused(parse, body: bytes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadXml):
        parse(body)


def test_the_completing_document_has_parts_with_their_sums() -> None:
    body = s3_xml.complete_document([(PartInfo(1, "e&1", 5), "AAAAAAAAAAA="), (PartInfo(2, "e2", 5), None)]).decode()
    assert (
        '<Part><ETag>"e&amp;1"</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME><PartNumber>1</PartNumber></Part>' in body
    )
    assert '<Part><ETag>"e2"</ETag><PartNumber>2</PartNumber></Part>' in body
