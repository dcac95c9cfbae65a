"""Prometheus of its own process on the loopback: Debian's package. It scrapes nothing but what a test exposes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.peers.process import first_line, free_ports, running


def prometheus_missing() -> bool:
    return shutil.which("prometheus") is None or shutil.which("promtool") is None


@contextlib.asynccontextmanager
async def prometheus(
    folder: Path,
    history: str = "",
    scrape: Sequence[int] = (),
    *,
    interval: str = "1s",
) -> AsyncIterator[str]:
    """Its address. `history` is OpenMetrics text whose samples it holds from the beginning; `scrape` ports of the loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    if history:
        source = folder / "history.om"
        source.write_text(history)
        make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(source), str(data)]
        process = await asyncio.create_subprocess_exec(*make, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, said.decode()
    targets = [f"127.0.0.1:{port}" for port in scrape]
    config = folder / "prometheus.yml"
    jobs = [{"job_name": "side", "static_configs": [{"targets": targets}]}] if targets else []
    # JSON is YAML.
    config.write_text(json.dumps({"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}))
    (port,) = free_ports(1)
    argv = [
        str(shutil.which("prometheus")), f"--config.file={config}", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=3650d",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
    ]  # fmt: skip

    async def ready() -> bool:
        return b" 200 " in await first_line(port, "/-/ready")

    async with running(argv, log=folder / "prometheus.log", ready=ready, cwd=folder):
        yield f"http://127.0.0.1:{port}"
