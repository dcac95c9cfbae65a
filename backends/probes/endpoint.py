"""One request to a URL: does a side's data plane answer? Silence is told apart from a refusal and from a wrong answer."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass
from typing import Literal

import aiohttp

from backends.escape import plain

Kind = Literal["ok", "wrong", "refused", "timeout", "unreachable"]
MAX_BODY = 1 << 20


@dataclass(frozen=True, slots=True)
class EndpointResult:
    """`answered`: something spoke there. `kind` is `wrong` for any answer that is not a success or a redirection.

    `unreachable` is our own trouble as likely as the side's: no name, no route, a certificate that we do not trust.
    """

    ok: bool
    status: int | None
    seconds: float
    error: str | None
    answered: bool
    kind: Kind


async def probe_url(url: str, timeout: float) -> EndpointResult:
    """GET `url` on a new connection, at most `timeout` seconds, redirections not followed. Never raises."""
    started = time.monotonic()
    status, kind, error = await _get(url, timeout)
    seconds = time.monotonic() - started
    return EndpointResult(kind == "ok", status, seconds, error, kind in ("ok", "wrong"), kind)


async def _get(url: str, timeout: float) -> tuple[int | None, Kind, str | None]:
    shown = plain(url, 200)
    limit = aiohttp.ClientTimeout(total=timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            await answer.content.read(MAX_BODY)
            if 200 <= answer.status < 400:
                return answer.status, "ok", None
            return answer.status, "wrong", f"{shown} answers {answer.status}"
    except TimeoutError:
        return None, "timeout", f"{shown} does not answer within {timeout:g} s"
    except aiohttp.ClientSSLError as error:
        return None, "unreachable", f"{shown}: TLS failed: {plain(str(error), 200)}"
    except aiohttp.ClientConnectorError as error:
        if error.os_error.errno == errno.ECONNREFUSED:
            return None, "refused", f"{shown} refuses the connection"
        reason = "no such name" if isinstance(error.os_error, socket.gaierror) else str(error.os_error.strerror or error)
        return None, "unreachable", f"{shown} cannot be reached: {plain(reason, 200)}"
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, ConnectionResetError) as error:
        return None, "wrong", f"{shown} ends the connection without an answer: {plain(str(error), 200)}"
    except aiohttp.ClientResponseError as error:
        return None, "wrong", f"{shown} does not speak HTTP: {plain(error.message, 200)}"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return None, "unreachable", f"{shown} cannot be asked: {plain(str(error) or type(error).__name__, 200)}"
