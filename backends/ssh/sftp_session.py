"""One SFTP session on a connection, with larger packets and a wider window than asyncssh asks for.

asyncssh lets a server send 32 KiB a packet, and its cost is by packet. OpenSSH sends what the client allows (its own limit is 256 KiB;
channels.c, packet.h `PACKET_MAX_SIZE`). What a client may send is the server's to say: 32 KiB at OpenSSH.
"""

from __future__ import annotations

import asyncio

import asyncssh
from asyncssh.sftp import start_sftp_client

_PACKET = 128 << 10
_WINDOW = 8 << 20


async def start_sftp(connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
    """As `connection.start_sftp_client()`, which takes neither size. Raises as that does."""
    writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None, window=_WINDOW, max_pktsize=_PACKET)
    loop = asyncio.get_running_loop()
    return await start_sftp_client(connection, loop, "replace", reader, writer, "utf-8", "strict", 3)
