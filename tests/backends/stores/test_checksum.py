from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.stores import checksum
from backends.stores.checksum import Digest


def test_the_published_check_values_come_out() -> None:
    # CRC catalogue: CRC-64/NVME and CRC-32/ISCSI over "123456789".
    assert checksum.crc64nvme(b"123456789") == "ae8b14860a799888"
    assert checksum.crc32c(b"123456789") == "e3069283"
    assert checksum.crc64nvme(b"") == checksum.EMPTY_CRC64NVME


def test_any_buffer_is_taken() -> None:
    data = b"abcdef"
    assert checksum.crc64nvme(memoryview(data)[2:]) == checksum.crc64nvme(bytearray(b"cdef"))


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_parts_join_to_the_sum_of_the_whole(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    joined = checksum.combine_parts((checksum.crc64nvme(p), len(p)) for p in parts)
    assert joined == checksum.crc64nvme(whole)
    crc = checksum.crc32c(b"")
    for part in parts:
        crc = checksum.combine_crc32c(crc, checksum.crc32c(part), len(part))
    assert crc == checksum.crc32c(whole)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_a_digest_is_the_same_in_one_piece_in_two_and_joined(data: bytes, cut: int) -> None:
    first, second = Digest(), Digest()
    first.update(data[:cut])
    second.update(data[cut:])
    first.append(second)
    assert (first.crc64nvme, first.crc32c, first.size) == (checksum.crc64nvme(data), checksum.crc32c(data), len(data))


async def test_large_buffers_sum_to_the_same_in_a_thread() -> None:
    data = bytes(range(256)) * (checksum.IN_THREAD_FROM // 128)
    digest = Digest()
    await digest.update_async(data)
    assert await checksum.crc64nvme_of(data) == checksum.crc64nvme(data) == digest.crc64nvme


@given(st.binary(min_size=8, max_size=8))
def test_header_values_go_there_and_back(raw: bytes) -> None:
    assert checksum.base64_to_hex("crc64nvme", checksum.hex_to_base64(raw.hex())) == raw.hex()


def test_composite_and_broken_header_values_are_no_checksum() -> None:
    whole = checksum.hex_to_base64("00" * 8)
    assert checksum.base64_to_hex("crc64nvme", whole + "-3") is None
    assert checksum.base64_to_hex("crc32c", whole) is None
    assert checksum.base64_to_hex("crc64nvme", "not base64") is None
