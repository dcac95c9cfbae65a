"""The process of one S3 store: ministack 1.4.21 on a socket that the sandbox has bound.

Its own command line binds 0.0.0.0 by default and chooses its port late; with the socket inherited there is no race and nothing
else listens. The environment (`SERVICES=s3`, `SFTP_ENABLED=0`, `IOT_MTLS_ENABLED=0`, …) is set by `backends.sandbox.stores`.
"""

from __future__ import annotations

import asyncio
import sys

from backends.sandbox.parent import die_with_parent


def main(argv: list[str]) -> None:
    """`store_child PARENT-PID SOCKET-FD`: serve until ended."""
    die_with_parent(int(argv[0]))
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"fd://{int(argv[1])}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main(sys.argv[1:])
