"""The HTTP client of object stores, and how long it waits: answers are never decompressed and redirects never followed, since
both would break what was signed and proven."""

from __future__ import annotations

from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
SLOWEST = 16 * 1024  # bytes a second below which a body counts as stuck


def build_client(*, idle: bool, is_loopback: bool) -> Client:
    """`idle`: no byte for `IDLE_SECONDS` ends a request; for reading only, since the limit would also run while a large body is on
    its way out. A server on the loopback is asked without a proxy."""
    builder = (
        ClientBuilder()
        .http1_only()
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .follow_redirects(False)
        .referer(False)
        .user_agent("cutover")
        .tcp_nodelay(True)
        .pool_max_idle_per_host(512)
        .pool_idle_timeout(timedelta(seconds=20))  # servers close idle connections: be first
        .connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .tcp_user_timeout(timedelta(seconds=IDLE_SECONDS))
    )
    if idle:
        builder = builder.read_timeout(timedelta(seconds=IDLE_SECONDS))
    if is_loopback:
        builder = builder.no_proxy()
    return builder.build()
