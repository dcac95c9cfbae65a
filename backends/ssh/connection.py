"""asyncssh's client connection (2.24), with less work for each packet of data.

asyncssh puts an empty IGNORE in front of every packet, against an attack on CBC ciphers (RFC 4253 section 9, "IV chosen by the
packet before"); none of the ciphers asked for here is one, and OpenSSH sends none either. It also copies each byte a dozen
times on its way. Data of a channel under AES-GCM goes and comes here by a short way of its own: sealed from the pieces it is made of,
opened where it lies in the buffer, handed on as a view. Everything else, and every error, is asyncssh's: what is not such
data, or does not open, is left in its buffer for it.

This leans on asyncssh's private names; `tests/backends/ssh/test_connection.py` says when they change.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any, cast

import asyncssh
from asyncssh.connection import _connect
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST, MSG_IGNORE
from asyncssh.encryption import GCMEncryption
from asyncssh.stream import SSHClientStreamSession
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backends.ssh.gathering import Gathering

Piece = bytes | memoryview

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # of Linux
_SHORT = 4096  # bytes: what a server says when it is answered; more is a body, acknowledged as it comes
_TAG = 16
_BLOCK = 16
_HEAD = struct.Struct(">IBBII")  # packet length, padding length, type, channel, data length
_DATA_AT = _HEAD.size - 4  # of an opened packet, which lacks its length
_CHANNEL = struct.Struct(">II")


class DirectSession(SSHClientStreamSession[bytes]):
    """A session that takes its data as views also. The bytes below one stay what they are for as long as it is held."""

    def room_came(self) -> None:
        """The server takes more. Not called where `Connection.tells_room` is false."""
        raise NotImplementedError


class _Aead:
    """The key schedule of asyncssh's cipher, made once and not for each packet. Its counter stays asyncssh's own."""

    def __init__(self, encryption: GCMEncryption) -> None:
        self.encryption = encryption
        self.cipher = encryption._cipher
        self.aes = AESGCM(self.cipher._key)


class Connection(asyncssh.SSHClientConnection):
    """As asyncssh's, for as long as its ciphers are not CBC."""

    _sealer: _Aead | None = None
    _opener: _Aead | None = None
    _is_held = False
    gathering: Gathering | None = None  # set while all that it carries is one stream that nobody waits for

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Read at once, or together with other connections. As soon as it carries anything else it is in a hurry."""
        if self.gathering is None or not self.gathering.is_on or len(self._channels) != 1:
            if len(data) < _SHORT:
                self._acknowledge()
            super().data_received(data, datatype)
            return
        self._inpbuf += data
        if not self._is_held:
            self._is_held = True
            self.gathering.soon(self)

    def read_held(self) -> None:
        """Read what was left in the buffer."""
        self._is_held = False
        if self._transport is not None:
            self._recv_data()

    def _acknowledge(self) -> None:
        """Tell the server at once that it came. sshd leaves Nagle's algorithm on (RFC 896) where there is no terminal, so its next short packet
        waits for this; Linux would leave it for 40 ms, which is what the first command after a login took."""
        if _QUICKACK is None or self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")  # through a jump host that of the way to it, which it is as well for
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def connection_lost(self, exc: Exception | None = None) -> None:
        """What its host said last is read first."""
        if self._is_held:
            self.read_held()
        super().connection_lost(exc)

    @property
    def tells_room(self) -> bool:
        """Else only asyncssh learns of it, and sends what was written to the channel."""
        return self._opens() is not None

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype != MSG_IGNORE or b"-cbc" in self._enc_alg_cs:
            super().send_packet(pkttype, *args, handler=handler)

    def send_channel_data(self, channel: asyncssh.SSHClientChannel[bytes], packets: Iterable[tuple[list[Piece], int]]) -> None:
        """Each of `packets` as one of its size, which is at most what `channel_room` says when it is asked for."""
        sealed: list[bytes] = []
        for pieces, size in packets:
            channel._send_window -= size
            sealer = self._seals()
            if sealer is not None and channel._send_chan is not None:
                sealed.extend(self._seal(sealer, channel._send_chan, pieces, size))
                continue
            self._write_out(sealed)
            channel.send_packet(MSG_CHANNEL_DATA, b"".join((size.to_bytes(4, "big"), *pieces)))
        self._write_out(sealed)

    def _seal(self, sealer: _Aead, number: int, pieces: list[Piece], size: int) -> tuple[bytes, bytes]:
        padding = -(10 + size) % _BLOCK
        if padding < 4:
            padding += _BLOCK
        length = 10 + size + padding
        head = _HEAD.pack(length, padding, MSG_CHANNEL_DATA, number, size)
        plain = b"".join((head[4:], *pieces, os.urandom(padding)))
        sealed = sealer.aes.encrypt(sealer.cipher._iv, plain, head[:4])
        sealer.cipher._update_iv()
        self._send_seq = (self._send_seq + 1) & 0xFFFFFFFF
        self._rekey_bytes_sent += length
        return head[:4], sealed

    def _write_out(self, packets: list[bytes]) -> None:
        if packets and self._transport is not None:
            self._transport.writelines(packets)
        packets.clear()

    def _seals(self) -> _Aead | None:
        """What seals a packet now; None where asyncssh has something to say first."""
        encryption = self._send_encryption
        if (
            type(encryption) is not GCMEncryption
            or not self._kex_complete
            or not self._auth_complete
            or self._compressor
            or self._rekey_bytes_sent >= self._rekey_bytes
            or (self._rekey_seconds and time.monotonic() >= self._rekey_time)
        ):
            return None
        if self._sealer is None or self._sealer.encryption is not encryption:
            self._sealer = _Aead(encryption)
        return self._sealer

    def _opens(self) -> _Aead | None:
        encryption = self._recv_encryption
        if type(encryption) is not GCMEncryption or not self._auth_complete or self._decompressor:
            return None
        if self._opener is None or self._opener.encryption is not encryption:
            self._opener = _Aead(encryption)
        return self._opener

    def _recv_pkthdr(self) -> bool:
        """At the start of a packet: takes the data that comes next, leaves what else stands there to asyncssh."""
        opener = self._opens()
        if opener is not None and not self._take_data(opener):
            return False
        return super()._recv_pkthdr()

    def _take_data(self, opener: _Aead) -> bool:
        """Whether a whole packet is left that is not data for a `DirectSession`."""
        held = memoryview(self._inpbuf)
        at, end = 0, len(held)
        try:
            while end - at >= 4 + _TAG:
                head = held[at : at + 4]
                size = 4 + int.from_bytes(head, "big") + _TAG
                if size - 4 - _TAG > self._max_recv_pktlen:
                    return True
                if end - at < size:
                    return False
                try:
                    plain = opener.aes.decrypt(opener.cipher._iv, held[at + 4 : at + size], head)
                except (InvalidTag, ValueError):
                    return True
                if not self._give(plain):
                    return True
                opener.cipher._update_iv()
                self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
                at += size
            return False
        finally:
            if at:
                self._inpbuf = bytes(held[at:])

    def _give(self, plain: bytes) -> bool:
        if len(plain) < _DATA_AT or plain[1] not in (MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST):
            return False
        number, size = _CHANNEL.unpack_from(plain, 2)
        channel = self._channels.get(number)
        if channel is None or channel._recv_state != "open" or not isinstance(channel._session, DirectSession):
            return False
        if plain[1] == MSG_CHANNEL_WINDOW_ADJUST:
            if _DATA_AT + plain[0] != len(plain):
                return False
            channel._send_window += size
            channel._session.room_came()
            return True
        if size > channel._recv_window or _DATA_AT + size + plain[0] != len(plain):
            return False
        channel._accept_data(cast(bytes, memoryview(plain)[_DATA_AT : _DATA_AT + size]))
        return True


def channel_room(channel: asyncssh.SSHClientChannel[bytes]) -> int:
    """Bytes that the server takes in one packet now."""
    return 0 if channel._send_buf else min(channel._send_window, channel._send_pktsize)


async def connect(
    host: str, port: Any, *, tunnel: asyncssh.SSHClientConnection | None, config: list[str], **options: Any
) -> Connection:
    """`asyncssh.connect()`, which makes no other connections than its own."""
    loop = asyncio.get_running_loop()
    made = await asyncssh.SSHClientConnectionOptions.construct(
        None, config=config, host=host, port=port, tunnel=tunnel, **options
    )
    opening = _connect(made, config, loop, 0, None, lambda: Connection(loop, made, wait="auth"), "Opening SSH connection to")
    return await asyncio.wait_for(opening, timeout=made.connect_timeout)
