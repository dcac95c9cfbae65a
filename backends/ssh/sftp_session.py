"""One SFTP session on a connection: asyncssh's client, with ranges of files read and written by a short way of their own.

Requests of one turn of the event loop go out together, in packets as large as the server takes. What a READ brings is copied once, into
the buffer of its range; what a WRITE takes is sent from where it lies. Blocks are as large as the server allows (OpenSSH: 255 KiB),
several of a range under way. Answers go to who waits for them without a task of their own.

asyncssh lets a server send 32 KiB a packet, and the cost is by packet: OpenSSH sends what the client allows up to its own limit
(channels.c, packet.h `PACKET_MAX_SIZE`). What a client may send is the server's to say: 32 KiB at OpenSSH.

No more is under way than the way needs: sshd holds what waits in buffers that it makes larger, copies and wipes as they fill, which for a server
nearby took a fifth of its CPU down and a sixth up (OpenSSH 9.2). One that is far gets more as soon as that shows.
"""

from __future__ import annotations

import asyncio
import struct
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from typing import cast

import asyncssh
from asyncssh.constants import FXP_DATA, FXP_READ, FXP_STATUS, FXP_WRITE
from asyncssh.packet import PacketDecodeError, SSHPacket
from asyncssh.sftp import MAX_SFTP_PACKET_LEN, SFTPClientHandler
from asyncssh.stream import SSHReader, SSHWriter

from backends.ssh.buffers import Buffers
from backends.ssh.connection import Connection, DirectSession, Piece, channel_room

_PACKET = 128 << 10
_NEAR_WINDOW, _FAR_WINDOW = 2 << 20, 8 << 20  # bytes that the server may send ahead
_FAR_SECONDS = 0.002  # of a round trip: 2 MiB in each are 1 GB a second
_READS = 18  # blocks of one range under way, at most
_TOGETHER = 4  # asked for at once: a request costs the server a packet to open and a call of its own, a few in one do not
_NEAR_WRITES = 2  # blocks of all ranges under way, but one of each at least
_WRITES = 8  # of each range, to a far server: OpenSSH's window takes 2 MiB in all
_HEAD = struct.Struct(">IBI")  # length of what follows, type, id
_DATA_HEAD = 13  # of the answer to a READ: head and length of the data
_OFFSET_SIZE = struct.Struct(">QI")
_JOINED = 4 << 10  # what is shorter is copied together, what is longer is sent from where it lies


async def start_sftp(connection: Connection) -> asyncssh.SFTPClient:
    """As `connection.start_sftp_client()`. Raises as that does."""
    channel, session = await connection.create_session(
        SftpStream, subsystem="sftp", encoding=None, window=_NEAR_WINDOW, max_pktsize=_PACKET
    )
    channel.set_write_buffer_limits(high=0, low=0)
    handler = SftpHandler(connection, channel, cast(SftpStream, session))
    await handler.start()
    handler.take_over()
    connection.create_task(handler.recv_packets(), handler.logger)  # sees the end
    await handler.request_limits()
    return asyncssh.SFTPClient(handler, "utf-8", "strict")


async def read_range(file: asyncssh.SFTPClientFile, offset: int, size: int) -> memoryview:
    """`size` bytes from `offset`; fewer where the file ends before. Raises `asyncssh.SFTPError`, or what ended the session."""
    return await _handler(file).read_range(file.handle, offset, size)


async def write_range(file: asyncssh.SFTPClientFile, offset: int, body: Piece) -> None:
    """All of `body` at `offset`. Raises as `read_range`."""
    await _handler(file).write_range(file.handle, offset, memoryview(body))


def round_trip(client: asyncssh.SFTPClient) -> float | None:
    """The least seconds that an answer has taken."""
    handler = client._handler
    return handler.round_trip if isinstance(handler, SftpHandler) else None


def has_ended(client: asyncssh.SFTPClient) -> bool:
    """Whether the session is known to be over: before those who wait for its channel hear of it."""
    handler = client._handler
    return isinstance(handler, SftpHandler) and handler.has_ended


def _handler(file: asyncssh.SFTPClientFile) -> SftpHandler:
    return cast(SftpHandler, file._handler)


class SftpStream(DirectSession):
    """The channel's end here. Until `handler` is set, what comes is for asyncssh's reader."""

    handler: SftpHandler | None = None

    def data_received(self, data: bytes | memoryview, datatype: int | None) -> None:
        if self.handler is not None and datatype is None:
            self.handler.received(memoryview(data))
        else:
            super().data_received(bytes(data), datatype)

    def room_came(self) -> None:
        if self.handler is not None:
            self.handler.flush_soon()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.handler is not None:
            self.handler.is_held = True

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.handler is not None:
            self.handler.is_held = False
            self.handler.flush_soon()


class _Range:
    """A range under way in blocks. `done` ends when all have been answered, or one has failed."""

    def __init__(self, handler: SftpHandler, handle: bytes, offset: int, body: memoryview) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.body = body
        self._handler = handler
        self._handle = len(handle).to_bytes(4, "big") + handle
        self._offset = offset
        self._block = 0
        self._asked = 0
        self._waiting = 0
        self._together = 1

    async def run(self, block: int, together: int = 1) -> None:
        """Blocks of `block` bytes until all is done; asked for when there is room for `together` more."""
        self._block, self._together = block, together
        self._ask_more()
        if not self._waiting:
            return
        await self.done

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def answered(self) -> None:
        """One block has come to its end."""
        self._waiting -= 1
        if self.most - self._waiting >= self._together:
            self._ask_more()
        if not self._waiting and not self.done.done():
            self.done.set_result(None)

    def _ask_more(self) -> None:
        while self._waiting < self.most and self._asked < self.end and not self.done.done():
            at, self._asked = self._asked, min(self._asked + self._block, self.end)
            self._waiting += 1
            try:
                self.ask(at, self._asked - at)
            except (asyncssh.Error, OSError) as error:
                self.fail(error)

    @property
    def end(self) -> int:
        return len(self.body)

    @property
    @abstractmethod
    def most(self) -> int:
        """Blocks that may be under way now."""

    @abstractmethod
    def ask(self, at: int, size: int) -> None: ...

    @abstractmethod
    def status(self, at: int, error: asyncssh.SFTPError | None) -> None: ...


class _Reading(_Range):
    """Blocks may come short, and are asked for again from there; the first end of the file that is met is the end."""

    _end: int | None = None
    most = _READS

    @property
    def end(self) -> int:
        return len(self.body) if self._end is None else self._end

    def ask(self, at: int, size: int) -> None:
        args = self._handle + _OFFSET_SIZE.pack(self._offset + at, size)
        self._handler.ask_block(FXP_READ, (args,), _Block(self, at, size))

    def came(self, block: _Block, size: int) -> None:
        if size == 0:
            self.fail(asyncssh.SFTPBadMessage("a read brought nothing"))
        elif size < block.size:
            try:
                self.ask(block.at + size, block.size - size)
            except (asyncssh.Error, OSError) as error:
                self.fail(error)
        else:
            self.answered()

    def status(self, at: int, error: asyncssh.SFTPError | None) -> None:
        if isinstance(error, asyncssh.SFTPEOFError):
            self._end = min(at, self.end)
            self.answered()
        else:
            self.fail(error or asyncssh.SFTPBadMessage("a read brought no data"))


class _Writing(_Range):
    @property
    def most(self) -> int:
        return self._handler.writes_of_a_range

    def ask(self, at: int, size: int) -> None:
        args = self._handle + _OFFSET_SIZE.pack(self._offset + at, size)
        self._handler.ask_block(FXP_WRITE, (args, self.body[at : at + size]), _Block(self, at, size))

    def status(self, at: int, error: asyncssh.SFTPError | None) -> None:
        if error is not None:
            self.fail(error)
        else:
            self.answered()


class _Block:
    """A part of a range that one request asks for."""

    __slots__ = ("at", "range", "size")

    def __init__(self, of: _Range, at: int, size: int) -> None:
        self.range, self.at, self.size = of, at, size


class SftpHandler(SFTPClientHandler):
    """asyncssh's handler of requests and answers, sending and receiving by itself."""

    def __init__(self, connection: Connection, channel: asyncssh.SSHClientChannel[bytes], session: SftpStream) -> None:
        self.is_held = False  # until the server takes more
        self.round_trip: float | None = None
        self._connection = connection
        self._channel = channel
        self._session = session
        self._queue: deque[Piece] = deque()
        self._is_flushing = False
        self._blocks: dict[int, _Block] = {}
        self._held = bytearray()  # the beginning of an answer
        self._into: memoryview | None = None  # where the data that comes next belongs
        self._of: tuple[_Block, int] | None = None
        self._buffers = Buffers()
        self._writing = 0  # ranges
        super().__init__(asyncio.get_running_loop(), "replace", SSHReader(session, channel), SSHWriter(session, channel), 3)

    def take_over(self) -> None:
        """From here on answers come to `received`, and not through asyncssh's reader."""
        self._session.handler = self

    # -- ranges

    async def read_range(self, handle: bytes, offset: int, size: int) -> memoryview:
        if self.is_far:
            self._channel._init_recv_window = _FAR_WINDOW  # told to the server with what it sends next
        reading = _Reading(self, handle, offset, self._buffers.take(size))
        await reading.run(self.limits.max_read_len, _TOGETHER)
        return reading.body[: reading.end].toreadonly()

    async def write_range(self, handle: bytes, offset: int, body: memoryview) -> None:
        self._writing += 1
        try:
            await _Writing(self, handle, offset, body).run(self.limits.max_write_len)
        finally:
            self._writing -= 1

    @property
    def writes_of_a_range(self) -> int:
        """Blocks that each range may have under way now."""
        return _WRITES if self.is_far else max(1, _NEAR_WRITES // max(1, self._writing))

    @property
    def is_far(self) -> bool:
        """Whether answers come late because of the way, and not of what is to do."""
        return self.round_trip is not None and self.round_trip > _FAR_SECONDS

    def ask_block(self, kind: int, args: Sequence[Piece], block: _Block) -> None:
        number = self._next_pktid
        self._next_pktid = (number + 1) & 0xFFFFFFFF
        self._blocks[number] = block
        try:
            self._send(kind, number.to_bytes(4, "big"), *args)
        except BaseException:
            del self._blocks[number]
            raise

    # -- sending

    async def _make_request(self, pkttype: int | bytes, *args: bytes) -> object:
        begun = time.monotonic()
        try:
            return await super()._make_request(pkttype, *args)
        finally:
            taken = time.monotonic() - begun
            if self.round_trip is None or taken < self.round_trip:
                self.round_trip = taken

    def send_packet(self, pkttype: int, pktid: int | None, *args: bytes) -> None:
        self._send(pkttype, *args)

    def _send(self, kind: int, *args: Piece) -> None:
        if self._writer is None:
            raise asyncssh.SFTPNoConnection("Connection not open")
        if self._channel.is_closing():
            raise asyncssh.SFTPConnectionLost("Connection closing")
        length = 1 + sum(map(len, args))
        head = length.to_bytes(4, "big") + bytes((kind,))
        if length < _JOINED:
            self._queue.append(b"".join((head, *args)))
        else:
            self._queue.append(head)
            self._queue.extend(args)
        self.flush_soon()

    def flush(self) -> None:
        """Send what waits, as far as the server takes it now."""
        self._is_flushing = False
        if self.is_held or self._channel.is_closing():
            return
        self._connection.send_channel_data(self._channel, self._packets())
        if self._queue and not self._connection.tells_room:
            pieces, _ = self._take(self._channel._send_pktsize)
            self._channel.write(b"".join(pieces))  # goes when it can, and `resume_writing` follows

    def flush_soon(self) -> None:
        """Once for all of this turn."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self.flush)

    def _packets(self) -> Iterator[tuple[list[Piece], int]]:
        while self._queue and (room := channel_room(self._channel)):
            yield self._take(room)

    def _take(self, room: int) -> tuple[list[Piece], int]:
        pieces: list[Piece] = []
        left = room
        while left and self._queue:
            piece = self._queue.popleft()
            if len(piece) > left:
                view = memoryview(piece)
                self._queue.appendleft(view[left:])
                piece = view[:left]
            pieces.append(piece)
            left -= len(piece)
        return pieces, room - left

    # -- receiving

    def received(self, data: memoryview) -> None:
        """What the server sends, cut anywhere. An answer that makes no sense ends the session."""
        try:
            while data:
                data = self._go_on(data) if self._into is not None else self._begin(data)
        except (PacketDecodeError, asyncssh.SFTPBadMessage) as error:
            self._end(asyncssh.SFTPBadMessage(str(error)))

    def _go_on(self, data: memoryview) -> memoryview:
        """More of the data of a READ."""
        into, of = cast(memoryview, self._into), cast(tuple[_Block, int], self._of)
        size = min(len(into), len(data))
        into[:size] = data[:size]
        self._into = into[size:]
        if size == len(into):
            self._into = self._of = None
            block, came = of
            cast(_Reading, block.range).came(block, came)
        return data[size:]

    def _begin(self, data: memoryview) -> memoryview:
        """An answer from its first byte, or from where the last piece ended. What is held is never more than one answer."""
        held = self._held
        if not held:
            used = self._answer(data)
            if not used:
                held += data
                return data[:0]
            return data[used:]
        missing = self._wanted() - len(held)
        held += data[:missing]
        if len(data) >= missing and self._answer(memoryview(bytes(held))):
            held.clear()
        return data[missing:]

    def _wanted(self) -> int:
        """Bytes to hold before what is held can be looked at again: its length, its head, the whole."""
        if len(self._held) < 4:
            return 4
        whole = 4 + int.from_bytes(self._held[:4], "big")
        return whole if len(self._held) >= _DATA_HEAD else min(_DATA_HEAD, max(whole, _HEAD.size))

    def _answer(self, data: memoryview) -> int:
        """Bytes used: 0 where the answer is not whole, and is no data of a READ either."""
        if len(data) < _HEAD.size:
            return 0
        length, kind, number = _HEAD.unpack_from(data)
        if not 5 <= length <= MAX_SFTP_PACKET_LEN:
            raise asyncssh.SFTPBadMessage("answer of an impossible size")
        block = self._blocks.get(number)
        if block is not None and kind == FXP_DATA:
            if len(data) < _DATA_HEAD:
                return 0
            size = int.from_bytes(data[9:_DATA_HEAD], "big")
            if size > block.size or length != _DATA_HEAD - 4 + size or not isinstance(block.range, _Reading):
                raise asyncssh.SFTPBadMessage("a read brought more than was asked for")
            del self._blocks[number]
            if size:
                self._into, self._of = block.range.body[block.at : block.at + size], (block, size)
            else:
                block.range.came(block, 0)
            return _DATA_HEAD
        if len(data) < 4 + length:
            return 0
        packet = SSHPacket(bytes(data[9 : 4 + length]))
        if block is not None:
            del self._blocks[number]
            self._status(block, kind, packet)
        else:
            self._wake(kind, number, packet)
        return 4 + int(length)

    def _status(self, block: _Block, kind: int, packet: SSHPacket) -> None:
        if kind != FXP_STATUS:
            raise asyncssh.SFTPBadMessage(f"unexpected answer of type {kind}")
        block.range.status(block.at, asyncssh.SFTPError.construct(packet, "replace"))

    def _wake(self, kind: int, number: int, packet: SSHPacket) -> None:
        waiter = self._requests.pop(number, None)
        if waiter is None:
            raise asyncssh.SFTPBadMessage("answer to nothing that was asked")
        if not waiter.done():
            waiter.set_result((kind, packet))

    # -- the end

    @property
    def has_ended(self) -> bool:
        return self._writer is None or self._channel.is_closing()

    def _end(self, error: Exception) -> None:
        """All who wait are told; the channel is closed."""
        blocks, self._blocks = list(self._blocks.values()), {}
        if self._of is not None:
            blocks.append(self._of[0])
        self._into = self._of = None
        self._held.clear()
        self._queue.clear()
        self._buffers.let_go()
        for block in blocks:
            block.range.fail(error)
        waiters, self._requests = list(self._requests.values()), {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # seen, where a request could not be sent and nobody waits
        self._session.handler = None
        self._channel.close()

    async def _cleanup(self, exc: Exception | None) -> None:
        self._end(exc or asyncssh.SFTPConnectionLost("Connection closed"))
        await super()._cleanup(exc)
