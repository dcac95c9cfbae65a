"""`docs/rollback.md`, "A record, by hand": its lines, word by word, against a real Knot. Its batch is tried in `test_route53`."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

from tests.backends.traffic.conftest import need
from tests.backends.traffic.test_rfc2136 import held, route, serial
from tests.conftest import ROOT
from tests.peers.knot import knot, knotd_path
from tests.peers.name_server import LEGACY, TARGET, Server, Zone

SECTION = (ROOT / "docs" / "rollback.md").read_text().partition("\n## A record, by hand\n")[2]
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", SECTION, re.MULTILINE)]


def block(beginning: str) -> str:
    (found,) = [b.strip("\n") + "\n" for b in BLOCKS if b.strip().startswith(beginning)]
    return found


def run(text: str, server: Server) -> subprocess.CompletedProcess[str]:
    """The lines of the page, with this test's server and files in them."""
    here = (
        ("@10.0.0.53", f"@{server.address} -p {server.port}"),
        ("server 10.0.0.53", f"server {server.address} {server.port}"),
        ("/var/tmp/tsig.key", str(server.folder / "tsig.key")),
        ("/etc/cutover/tsig", str(server.folder / "key")),
    )
    for old, new in here:
        text = text.replace(old, new)
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=30, check=False)


async def test_the_lines_bring_a_record_home_and_refuse_to_overwrite(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    need(shutil.which("nsupdate"), "nsupdate (bind9-dnsutils)")
    async with knot(tmp_path, Zone((f"chat 60 IN A {TARGET}",))) as server:
        chat = route(server)
        assert (await asyncio.to_thread(run, block("umask"), server)).returncode == 0
        seen = await asyncio.to_thread(run, block("dig"), server)
        assert re.search(rf"chat\.example\.net\.\s+60\s+IN\s+A\s+{TARGET}", seen.stdout), seen
        done = await asyncio.to_thread(run, block("nsupdate"), server)
        assert done.returncode == 0, done
        assert await held(server) == (LEGACY,)
        assert (await chat.read()).is_at(0)
        before = await serial(server)
        again = await asyncio.to_thread(run, block("nsupdate"), server)
        assert "NXRRSET" in again.stdout + again.stderr
        assert again.returncode != 0
        assert await serial(server) == before
