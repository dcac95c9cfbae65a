"""pyreqwest's client for object stores, and its errors made ours: answers are never decompressed and redirects never followed, since
both would break what was signed and proven."""

from __future__ import annotations

from datetime import timedelta

from pyreqwest import exceptions as http
from pyreqwest.client import Client, ClientBuilder

from backends.escape import plain
from backends.stores.http1 import BadAnswer, BrokeOff, CannotBeSaid, HttpError, NoAnswerInTime, NoConnection, NotTrusted
from backends.stores.http_limits import CONNECT_SECONDS, IDLE_SECONDS, KEPT_SECONDS
from backends.stores.tls import extra_authorities

_NOT_TRUSTED = "invalid peer certificate"  # how rustls says it


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
        .pool_idle_timeout(timedelta(seconds=KEPT_SECONDS))
        .connect_timeout(timedelta(seconds=CONNECT_SECONDS))
        .tcp_user_timeout(timedelta(seconds=IDLE_SECONDS))
    )
    if idle:
        builder = builder.read_timeout(timedelta(seconds=IDLE_SECONDS))
    for authority in extra_authorities():
        builder = builder.add_root_certificate_pem(authority)
    if is_loopback:
        builder = builder.no_proxy()
    return builder.build()


def as_ours(error: http.PyreqwestError, *, reading: bool) -> HttpError:
    """What the client could not do."""
    if isinstance(error, http.RequestTimeoutError):  # also where it waited for an answer it says that it connected
        return NoAnswerInTime("no answer in time")
    if isinstance(error, http.ConnectError):
        cause = _cause(error)
        return NotTrusted(cause) if cause.startswith(_NOT_TRUSTED) else NoConnection(cause)
    if isinstance(error, http.BuilderError):
        return CannotBeSaid(_cause(error))
    if reading and isinstance(error, http.ReadError | http.BodyDecodeError):
        return BrokeOff(_cause(error))
    return BadAnswer(_cause(error))


def _cause(error: http.PyreqwestError) -> str:
    """The innermost cause: the outer ones repeat the address, which may hold a signed query."""
    details = getattr(error, "details", None)
    causes = details.get("causes") if isinstance(details, dict) else None
    return plain(causes[-1]["message"], 200) if causes else type(error).__name__
